internal import Foundation
internal import Tokenizers

/// How a task's requests and answers are written in tokens, for a model that does nothing else.
///
/// A request is `start input end`, the answer follows, and `end` closes it. A label is one token of its own,
/// written `→label`; a set of labels is theirs, in the order of the task's. Inputs, texts and the strings of JSON answers
/// begin with a space, so that a word is the same tokens wherever it stands: copying one is then copying its tokens.
/// Stored with the model as `understudy.json`.
package struct TaskFormat: Sendable, Hashable, Codable {
    package var kind: TaskDefinition.OutputKind
    package var labels: [String]
    /// Whether inputs are brought to lower case first, because no answer has upper case.
    package var lowercases: Bool
    package var startToken: String
    package var endToken: String
    /// The most tokens of an answer.
    package var maximumAnswerTokens: Int
    /// The most tokens of an input; of longer ones the middle is left out.
    package var maximumInputTokens = 480
    /// What JSON answers and tool calls must be; nil: any.
    package var schema: AnswerSchema?

    static func labelToken(_ label: String) -> String { "→" + label }

    /// - Throws: ``TaskError`` when the tokenizer lacks the marks.
    func marks(_ tokenizer: Tokenizer) throws -> (start: Int32, end: Int32) {
        guard let start = tokenizer.id(of: startToken), let end = tokenizer.id(of: endToken) else {
            throw TaskError("the model's tokenizer has no '\(startToken)' or '\(endToken)'")
        }
        return (start, end)
    }

    /// - Parameters:
    ///   - dropout: probability that a merge of the tokenizer is left out; only while training.
    ///   - seed: for the dropout.
    /// - Throws: ``TaskError`` when the tokenizer lacks the marks.
    func prompt(_ input: String, tokenizer: Tokenizer, dropout: Double = 0, seed: UInt64 = 0) throws -> [Int32] {
        let (start, end) = try marks(tokenizer)
        var tokens = tokenizer.encode(
            Self.spaced(lowercases ? input.lowercased() : input), dropout: dropout, seed: seed)
        if tokens.count > maximumInputTokens {
            let head = maximumInputTokens / 2
            tokens = tokens.prefix(head) + tokens.suffix(maximumInputTokens - head)
        }
        return [start] + tokens + [end]
    }

    /// The answer's tokens, and the one that closes it.
    func answerTokens(_ answer: String, tokenizer: Tokenizer) throws -> [Int32] {
        let end = try marks(tokenizer).end
        guard kind.hasLabels else { return tokenizer.encode(Self.written(answer, kind: kind)) + [end] }
        return try kind.labels(of: answer).map { try labelToken($0, tokenizer: tokenizer) } + [end]
    }

    /// - Throws: ``TaskError`` when the tokenizer lacks it.
    func labelToken(_ label: String, tokenizer: Tokenizer) throws -> Int32 {
        guard let token = tokenizer.id(of: Self.labelToken(label)) else {
            throw TaskError("the model has no token for the label '\(label)'")
        }
        return token
    }

    func answer(_ tokens: [Int32], tokenizer: Tokenizer) -> String {
        if kind == .labels {
            let names = tokens.map { tokenizer.decode([$0], skippingSpecials: true) }.filter { !$0.isEmpty }
            return LabelSet.text(names.map { String($0.dropFirst(Self.labelToken("").count)) }, order: labels)
        }
        return Self.read(tokenizer.decode(tokens, skippingSpecials: true), kind: kind)
    }

    private static func spaced(_ text: String) -> String { text.isEmpty ? text : " " + text }

    /// An answer as the model writes it.
    static func written(_ answer: String, kind: TaskDefinition.OutputKind) -> String {
        switch kind {
        case .label, .labels: kind.labels(of: answer).map(labelToken).joined()
        case .text: spaced(answer)
        case .json, .tool: (try? JSONParser.parse(answer.utf8))?.mappingStrings(spaced).text ?? answer
        }
    }

    /// The answer that a model wrote.
    static func read(_ text: String, kind: TaskDefinition.OutputKind) -> String {
        func unspaced(_ text: String) -> String { text.hasPrefix(" ") ? String(text.dropFirst()) : text }
        switch kind {
        case .label, .labels: return text
        case .text: return unspaced(text)
        case .json, .tool: return (try? JSONParser.parse(text.utf8))?.mappingStrings(unspaced).text ?? text
        }
    }
}
