package import Inference
package import LanguageModels
internal import Tokenizers

/// How a model that was trained for a task is asked, and its answers are read.
package struct TaskDialogue: Sendable {
    package let format: TaskFormat
    private let tokenizer: Tokenizer
    private let choices: ChoiceTree?
    private let constraint: Constraint?
    private let end: Int32

    /// - Throws: ``TaskError`` when model and format do not fit.
    package init(model: LanguageModel, format: TaskFormat) throws {
        self.format = format
        tokenizer = model.tokenizer
        end = try format.marks(tokenizer).end
        constraint = try Self.constraint(format)
        guard format.kind.hasLabels else {
            choices = nil
            return
        }
        guard !format.labels.isEmpty else { throw TaskError("the model has no labels to choose from") }
        let tokens = try format.labels.map { [tokenizer] in try format.labelToken($0, tokenizer: tokenizer) }
        choices =
            format.kind == .labels ? ChoiceTree(subsetsOf: tokens, end: end) : ChoiceTree(tokens.map { [$0] }, end: end)
    }

    /// What an answer may look like. JSON of a schema is written in the pieces that were learnt.
    private static func constraint(_ format: TaskFormat) throws -> Constraint? {
        guard format.kind.isJSON else { return nil }
        guard let schema = format.schema?.value ?? (format.kind == .tool ? ToolCall.schema : nil) else { return .json }
        do {
            var constraint = try Constraint(jsonSchema: schema, leadingSpace: true)
            constraint.appendsForced = false
            return constraint
        } catch let error as InferenceError {
            throw TaskError("the schema of the answers cannot be used: \(error.message)")
        }
    }

    /// - Throws: ``TaskError``.
    package func request(_ input: String, alternatives: Int = 0) throws -> GenerationRequest {
        GenerationRequest(
            prompt: try format.prompt(input, tokenizer: tokenizer), maximumTokens: format.maximumAnswerTokens,
            stopTokens: [end], choices: choices, constraint: constraint,
            alternatives: alternatives)
    }

    package func read(_ result: GenerationResult) -> TaskAnswer {
        let choice = format.kind == .label ? result.choice : nil
        let output = choice.map { format.labels[$0] } ?? format.answer(result.tokens, tokenizer: tokenizer)
        let isOpen = result.finish == .stop && result.tokens.last != end
        return TaskAnswer(
            output: output, confidence: result.probability, inputTokens: result.promptTokens,
            outputTokens: result.tokens.count, tokens: result.tokens + (isOpen ? [end] : []),
            alternatives: result.alternatives)
    }
}
