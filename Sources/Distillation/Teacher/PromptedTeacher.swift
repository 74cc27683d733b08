internal import Foundation
internal import Inference
package import LanguageModels
package import Tensors
internal import Tokenizers

/// A model asked as it came: the task's instruction and some examples in its chat template, before every input.
package final class PromptedTeacher {
    package let model: LanguageModel
    private let engine: BatchEngine
    private let prefix: SharedPrefix
    private let tail: [Int32]
    private let kind: TaskDefinition.OutputKind
    private let labels: [String]
    private let choices: ChoiceTree?
    private let constraint: Constraint?
    private let reader: EndpointAnswerReader
    private let hasSchema: Bool
    private let stops: Set<Int32>
    private let maximumTokens: Int

    /// - Parameters:
    ///   - examples: shown before the question, in this order.
    ///   - schema: what JSON answers are held to; nil: the task's.
    /// - Throws: ``TaskError`` when the model has no chat template.
    package init(
        model: LanguageModel, task: TaskDefinition, labels: [String], examples: [Example],
        schema: AnswerSchema? = nil, pool: WorkerPool
    ) throws {
        guard let template = model.chatTemplate else {
            throw TaskError("the teacher \(model.name) has no chat template")
        }
        self.model = model
        self.labels = labels
        kind = task.kind
        reader = EndpointAnswerReader(kind: task.kind, labels: labels, schema: task.schema)
        hasSchema = task.schema != nil
        constraint = Self.constraint(task, labels: labels, schema: task.schema ?? schema)
        engine = BatchEngine(
            model: model, configuration: .init(maximumSequences: 16, maximumBatchTokens: 512), pool: pool)
        let tokenizer = model.tokenizer
        var instruction = task.instruction
        let names = labels.map(task.described).joined(separator: ", ")
        switch kind {
        case .label where !labels.isEmpty: instruction += "\nAnswer with one of: " + names + "."
        case .labels: instruction += "\nAnswer with a JSON list of those that apply: " + names + "."
        case .tool: instruction += "\nAnswer with one tool call: {\"name\": …, \"arguments\": {…}}."
        case .label, .text, .json: break
        }
        if let schema = task.schema { instruction += "\nJSON Schema of the answer: " + schema.rawValue }
        var messages = [ChatMessage(role: "system", content: instruction)]
        for example in examples {
            messages.append(ChatMessage(role: "user", content: example.input))
            messages.append(ChatMessage(role: "assistant", content: example.output))
        }
        let mark = "\u{1}input\u{1}"
        messages.append(ChatMessage(role: "user", content: mark))
        let special = { (token: Int32?) in token.map { tokenizer.decode([$0]) } ?? "" }
        let text = try template.render(
            messages, beginToken: special(tokenizer.definition.beginToken),
            endToken: special(tokenizer.definition.endToken))
        let parts = text.components(separatedBy: mark)
        guard parts.count == 2 else {
            throw TaskError("the chat template of \(model.name) does not write a message exactly once")
        }
        let head = tokenizer.encodeParsingSpecials(parts[0])
        guard head.count + 600 < model.configuration.contextLength else {
            throw TaskError(
                "the instruction and the examples have \(head.count) tokens; the teacher's context is \(model.configuration.contextLength)"
            )
        }
        prefix = try engine.prefix(head)
        tail = tokenizer.encodeParsingSpecials(parts[1])
        var stops: Set<Int32> = []
        for name in ["<|im_end|>", "<|endoftext|>", "<|eot_id|>"] {
            if let id = tokenizer.id(of: name) { stops.insert(id) }
        }
        if let end = tokenizer.definition.endToken { stops.insert(end) }
        self.stops = stops
        let end = stops.min() ?? 0
        let trees = labels.map { tokenizer.encode($0) }
        choices =
            kind != .label || labels.isEmpty || trees.contains(where: \.isEmpty) ? nil : ChoiceTree(trees, end: end)
        maximumTokens = min(128, (examples.map { tokenizer.encode($0.output).count }.max() ?? 32) * 3 / 2 + 8)
    }

    /// What answers are held to while they are written.
    private static func constraint(
        _ task: TaskDefinition, labels: [String], schema: AnswerSchema?
    ) -> Constraint? {
        switch task.kind {
        case .label, .text: return nil
        case .labels: return try? Constraint(jsonSchema: LabelSet.schema(labels))
        case .json: return try? schema?.constraint()
        case .tool: return try? schema?.constraint() ?? Constraint(jsonSchema: ToolCall.schema)
        }
    }

    /// Examples that show as many different answers as fit, chosen by content alone.
    package static func examples(_ train: [Example], count: Int, maximumBytes: Int = 400) -> [Example] {
        let sorted = train.filter { $0.input.utf8.count + $0.output.utf8.count <= maximumBytes }
            .sorted { ContentKey(of: $0.input).hexadecimal < ContentKey(of: $1.input).hexadecimal }
        var chosen: [Example] = []
        var seen: Set<String> = []
        for example in sorted where chosen.count < count {
            let kind = String(example.output.prefix(24))
            if seen.insert(kind).inserted { chosen.append(example) }
        }
        return chosen
    }

    package func answer(_ inputs: [String], progress: ((Int) throws -> Void)? = nil) throws -> [TaskAnswer] {
        let requests = inputs.map { input in
            var tokens = model.tokenizer.encode(input)
            if tokens.count > 480 { tokens = tokens.prefix(240) + tokens.suffix(240) }
            return GenerationRequest(
                prompt: tokens + tail, prefix: prefix, maximumTokens: maximumTokens, stopTokens: stops,
                choices: choices, constraint: constraint)
        }
        return try engine.answer(requests, progress: progress).map { result in
            var output =
                result.choice.map { labels[$0] } ?? model.tokenizer.decode(result.tokens, skippingSpecials: true)
            switch kind {
            case .json where !hasSchema: output = PromptedTeacher.object(in: output)
            // What cannot be read is no answer.
            case .json, .labels, .tool: output = reader.output(written: output) ?? ""
            case .label, .text: break
            }
            return TaskAnswer(
                output: output.trimmingCharacters(in: .whitespacesAndNewlines), confidence: result.probability,
                inputTokens: result.promptTokens, outputTokens: result.tokens.count, tokens: result.tokens,
                alternatives: [])
        }
    }

    /// The first JSON object of a text in compact form; the text when there is none.
    static func object(in text: String) -> String {
        guard let start = text.utf8.firstIndex(of: UInt8(ascii: "{")) else { return text }
        var depth = 0
        var inString = false
        var escaped = false
        for index in text.utf8[start...].indices {
            let byte = text.utf8[index]
            if escaped {
                escaped = false
            } else if inString {
                if byte == UInt8(ascii: "\\") { escaped = true }
                if byte == UInt8(ascii: "\"") { inString = false }
            } else if byte == UInt8(ascii: "\"") {
                inString = true
            } else if byte == UInt8(ascii: "{") {
                depth += 1
            } else if byte == UInt8(ascii: "}") {
                depth -= 1
                if depth == 0 {
                    return (try? JSONParser.parse(text.utf8[start...index]).text) ?? text
                }
            }
        }
        return text
    }
}
