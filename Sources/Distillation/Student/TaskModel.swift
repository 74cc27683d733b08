internal import Foundation
package import Inference
package import LanguageModels
package import Tensors
internal import Tokenizers

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
    private let engine: InferenceEngine
    private let choices: ChoiceTree?
    private let end: Int32

    /// - Throws: ``TaskError`` when model and format do not fit.
    package init(model: LanguageModel, format: TaskFormat, pool: WorkerPool) throws {
        self.model = model
        self.format = format
        engine = InferenceEngine(
            model: model, configuration: .init(maximumSequences: 32, maximumBatchTokens: 512), pool: pool)
        end = try format.marks(model.tokenizer).end
        if format.kind == .label {
            let tokens = try format.labels.map {
                [try format.answerTokens($0, tokenizer: model.tokenizer)[0]]
            }
            choices = ChoiceTree(tokens, end: end)
        } else {
            choices = nil
        }
    }

    /// Answers inputs, many at a time, in their order.
    ///
    /// - Parameter alternatives: how many tokens of each distribution to keep.
    package func answer(
        _ inputs: [String], alternatives: Int = 0, progress: ((Int) throws -> Void)? = nil
    ) throws -> [TaskAnswer] {
        let requests = try inputs.map { input in
            GenerationRequest(
                prompt: try format.prompt(input, tokenizer: model.tokenizer),
                maximumTokens: format.maximumAnswerTokens, stopTokens: [end], choices: choices,
                alternatives: alternatives, isJSON: format.kind == .json)
        }
        return try engine.answer(requests, progress: progress).map { result in
            let output =
                result.choice.map { format.labels[$0] } ?? format.answer(result.tokens, tokenizer: model.tokenizer)
            return TaskAnswer(
                output: output, confidence: result.probability, inputTokens: result.promptTokens,
                outputTokens: result.tokens.count, tokens: result.tokens + (result.finish == .stop ? [end] : []),
                alternatives: result.alternatives)
        }
    }
}
