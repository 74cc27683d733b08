internal import LanguageModels
package import Tensors

/// A model on this machine that labels inputs, as every process of a group can open it from its files.
package enum LocalTeacher: Sendable, Codable {
    /// Fitted to the task, one or several that answer together; of each distribution so many tokens are kept.
    case adapted(TaskFormat, alternatives: Int)
    case prompted(Prompt)

    /// What a model is told that is asked as it came.
    package struct Prompt: Sendable, Codable {
        var task: TaskDefinition
        var labels: [String]
        var examples: [Example]
        /// What JSON answers are held to; nil: the task's.
        var schema: AnswerSchema?

        /// - Throws: `ModelError`, ``TaskError``.
        func open(_ path: String, pool: WorkerPool) throws -> PromptedTeacher {
            try PromptedTeacher(
                model: try LanguageModel(contentsOf: path, pool: pool), task: task, labels: labels, examples: examples,
                schema: schema, pool: pool)
        }
    }

    /// - Parameter paths: of the models, as `LanguageModel` opens them; one where it is asked as it came.
    /// - Returns: answers to inputs, in their order.
    /// - Throws: `ModelError`, ``TaskError``.
    package func open(_ paths: [String], pool: WorkerPool) throws -> ([String]) throws -> [TaskAnswer] {
        switch self {
        case .adapted(let format, let alternatives):
            let teacher = try TeacherEnsemble(paths, format: format, pool: pool)
            return { try teacher.answer($0, alternatives: alternatives) }
        case .prompted(let prompt):
            let teacher = try prompt.open(paths[0], pool: pool)
            return { try teacher.answer($0) }
        }
    }
}
