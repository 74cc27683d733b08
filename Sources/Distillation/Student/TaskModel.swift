package import Inference
package import LanguageModels
package import Tensors

/// An answer of a model that was trained for the task.
package struct TaskAnswer: Sendable, Codable {
    package var output: String
    /// Probability the model gives to the answer.
    package var confidence: Double
    package var inputTokens: Int
    package var outputTokens: Int
    /// The answer's tokens, the closing one included.
    package var tokens: [Int32]
    /// One for each of `tokens`, where they were asked for and the model chose it; the closing token after a label is
    /// not chosen.
    package var alternatives: [TokenDistribution]

    package init(
        output: String, confidence: Double, inputTokens: Int, outputTokens: Int, tokens: [Int32],
        alternatives: [TokenDistribution]
    ) {
        self.output = output
        self.confidence = confidence
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
        self.tokens = tokens
        self.alternatives = alternatives
    }
}

/// A model that was trained for a task: a student, or an adapted teacher.
package final class TaskModel {
    package let model: LanguageModel
    package let format: TaskFormat
    private let engine: BatchEngine
    private let dialogue: TaskDialogue

    /// - Throws: ``TaskError`` when model and format do not fit.
    package init(model: LanguageModel, format: TaskFormat, pool: WorkerPool) throws {
        self.model = model
        self.format = format
        dialogue = try TaskDialogue(model: model, format: format)
        engine = BatchEngine(
            model: model, configuration: .init(maximumSequences: 32, maximumBatchTokens: 512), pool: pool)
    }

    /// Answers inputs, many at a time, in their order.
    ///
    /// - Parameter alternatives: how many tokens of each distribution to keep.
    package func answer(
        _ inputs: [String], alternatives: Int = 0, progress: ((Int) throws -> Void)? = nil
    ) throws -> [TaskAnswer] {
        let requests = try inputs.map { try dialogue.request($0, alternatives: alternatives) }
        return try engine.answer(requests, progress: progress).map(dialogue.read)
    }
}
