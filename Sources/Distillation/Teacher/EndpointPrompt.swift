internal import Foundation
package import OpenAI
internal import Tokenizers

/// Writes a task's inputs as chats for a teacher behind an endpoint: the instruction with the labels, the nearest gold
/// examples, the input.
package struct EndpointPrompt: Sendable {
    private let endpoint: TaskDefinition.Endpoint
    private let system: String
    private let kind: TaskDefinition.OutputKind
    private let format: ResponseFormat
    private let index: ExampleIndex
    private let maximumTokens: Int
    private let seed: Int
    /// Mean tokens of an answer, guessed from the gold.
    private let meanAnswer: Double

    /// Changes when the same task is asked in other words.
    private static let version = "1"

    package init(_ task: TaskDefinition, endpoint: TaskDefinition.Endpoint, labels: [String], examples: [Example]) {
        self.endpoint = endpoint
        kind = task.kind
        seed = task.training.seed
        var system = task.instruction
        switch task.kind {
        case .label:
            system +=
                "\nAnswer with exactly one of these labels and nothing else:\n"
                + labels.map(task.described).joined(separator: "\n")
        case .labels:
            system +=
                "\nAnswer with a JSON list of those of these labels that apply, [] where none does, and nothing else:\n"
                + labels.map(task.described).joined(separator: "\n")
        case .json where task.schema == nil: system += "\nAnswer with one JSON value and nothing else."
        case .json: system += "\nAnswer with one JSON value of this JSON Schema and nothing else:\n"
        case .tool:
            system += "\nAnswer with one call of a tool as JSON, {\"name\": …, \"arguments\": {…}}, and nothing else."
            if task.schema != nil { system += " Its JSON Schema:\n" }
        case .text: system += "\nAnswer with the result and nothing else."
        }
        if let schema = task.schema { system += schema.rawValue }
        self.system = system
        format = Self.format(task)
        index = ExampleIndex(examples)
        let answers = (task.kind == .label ? labels : examples.map(\.output)).map { Self.tokens($0) }
        let longest = answers.max() ?? 64
        maximumTokens = task.kind == .label ? longest * 2 + 16 : min(4096, longest * 2 + 64)
        meanAnswer = answers.isEmpty ? 32 : Double(answers.reduce(0, +)) / Double(answers.count)
    }

    /// `json_object` wants an object; other JSON values are asked for in words alone, unless there is a schema.
    private static func format(_ task: TaskDefinition) -> ResponseFormat {
        guard task.kind.isJSON else { return .text }
        guard let schema = task.schema?.value else { return .jsonObject }
        return .jsonSchema(task.kind == .tool ? ToolCall.flattened(schema) : schema)
    }

    /// The schema that answers are asked for with; nil: there is none.
    var schema: AnswerSchema? {
        if case .jsonSchema(let schema) = format { AnswerSchema(rawValue: schema.text) } else { nil }
    }

    /// What a text has in tokens, about: four bytes each.
    private static func tokens(_ text: String) -> Int { (text.utf8.count + 3) / 4 }

    /// The chat for an input, with everything an endpoint may be asked for.
    package func call(_ input: String) -> ChatCall {
        var messages = [ChatMessage(role: "system", content: system)]
        // The nearest stands last, beside the question.
        for example in index.nearest(to: input, count: endpoint.examples).reversed() {
            messages.append(ChatMessage(role: "user", content: example.input))
            messages.append(ChatMessage(role: "assistant", content: example.output))
        }
        messages.append(ChatMessage(role: "user", content: input))
        var call = ChatCall(messages: messages, maximumTokens: maximumTokens)
        call.seed = seed
        call.topLogProbabilities = kind == .label ? 20 : 0
        call.format = format
        call.streams = endpoint.streams
        return call
    }

    /// The chats whose answers vote on an input.
    ///
    /// - Parameters:
    ///   - count: 1: the one chat, at temperature 0.
    ///   - temperature: of more than one.
    func calls(_ input: String, count: Int, temperature: Double) -> [ChatCall] {
        let plain = call(input)
        guard count > 1 else { return [plain] }
        return (0..<count).map { number in
            var call = plain
            call.temperature = temperature
            call.seed = seed + number
            return call
        }
    }

    /// The name of the request in the workspace: the same question to the same model is paid once, streamed or not.
    package func key(_ input: String) -> ContentKey { key(of: call(input)) }

    func key(of call: ChatCall) -> ContentKey {
        var plain = call
        plain.streams = false
        return ContentKey.of {
            $0.add("prompt", Self.version)
            $0.add("url", endpoint.url)
            $0.add("body", plain.body(model: endpoint.model))
        }
    }

    /// Tokens of a request and of a usual answer, about.
    package func expectedTokens(_ input: String) -> (input: Int, output: Int) { expectedTokens(call(input)) }

    func expectedTokens(_ call: ChatCall) -> (input: Int, output: Int) {
        (Self.promptTokens(call), Int(meanAnswer.rounded(.up)) + 1)
    }

    /// The most that a request can have in tokens, about: texts that are no English have more tokens.
    static func mostTokens(_ call: ChatCall) -> (input: Int, output: Int) {
        (call.messages.reduce(8) { $0 + ($1.content.utf8.count + 1) / 2 + 8 }, call.maximumTokens)
    }

    static func promptTokens(_ call: ChatCall) -> Int {
        call.messages.reduce(3) { $0 + tokens($1.content) + 4 }
    }
}
