internal import LanguageModels

/// Whoever answers a task's inputs for the student to learn from: a local model, or one behind an endpoint.
protocol Teacher: AnyObject {
    /// What to call it in the proof.
    var name: String { get }

    /// Answers inputs in their order; nil where it has no answer that can be used.
    ///
    /// - Parameter progress: called with the number of answers so far.
    func answers(to inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?]

    /// Answers the test set, for the proof.
    func measured(on inputs: [String], progress: (Double) throws -> Void) async throws -> SystemRun
}

extension PromptedTeacher: Teacher {
    var name: String { "\(model.name) as it came" }

    func answers(to inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?] {
        try withoutActuallyEscaping(progress) { progress in try answer(inputs, progress: progress) }
    }

    func measured(on inputs: [String], progress: (Double) throws -> Void) async throws -> SystemRun {
        let c = model.configuration
        return try withoutActuallyEscaping(progress) { progress in
            try SystemRun.measure(
                name, inputs: inputs, singles: 24, parameters: c.parameterCount,
                activeParameters: c.activeParameterCount, bytes: model.weightBytes, progress: progress
            ) { try answer($0, progress: $1) }
        }
    }
}
