package import Inference
package import LanguageModels
internal import Tokenizers

/// How a model that was trained for a task is asked, and its answers are read.
package struct TaskDialogue: Sendable {
    package let format: TaskFormat
    private let tokenizer: Tokenizer
    private let choices: ChoiceTree?
    private let end: Int32

    /// - Throws: ``TaskError`` when model and format do not fit.
    package init(model: LanguageModel, format: TaskFormat) throws {
        self.format = format
        tokenizer = model.tokenizer
        end = try format.marks(tokenizer).end
        if format.kind == .label {
            let tokens = try format.labels.map { [try format.answerTokens($0, tokenizer: model.tokenizer)[0]] }
            choices = ChoiceTree(tokens, end: end)
        } else {
            choices = nil
        }
    }

    /// - Throws: ``TaskError``.
    package func request(_ input: String, alternatives: Int = 0) throws -> GenerationRequest {
        GenerationRequest(
            prompt: try format.prompt(input, tokenizer: tokenizer), maximumTokens: format.maximumAnswerTokens,
            stopTokens: [end], choices: choices, constraint: format.kind == .json ? .json : nil,
            alternatives: alternatives)
    }

    package func read(_ result: GenerationResult) -> TaskAnswer {
        let output = result.choice.map { format.labels[$0] } ?? format.answer(result.tokens, tokenizer: tokenizer)
        return TaskAnswer(
            output: output, confidence: result.probability, inputTokens: result.promptTokens,
            outputTokens: result.tokens.count, tokens: result.tokens + (result.finish == .stop ? [end] : []),
            alternatives: result.alternatives)
    }
}
