/// One turn of a conversation.
public struct ChatMessage: Sendable, Hashable, Codable {
    /// `system`, `user`, `assistant`, …
    public var role: String
    public var content: String

    public init(role: String, content: String) {
        self.role = role
        self.content = content
    }
}

/// How a model family writes conversations: a Jinja template, of which this runs the part that chat templates use.
///
/// Statements `for` (with `loop`, `if` and `else`), `if`, `set`; output of expressions; comments; white space as Hugging
/// Face sets it (`trim_blocks`, `lstrip_blocks`). Macros, imports and tools are not supported.
public struct ChatTemplate: Sendable {
    public let source: String
    private let nodes: [TemplateNode]

    /// - Throws: `TokenizerError` with the line for templates that break the syntax or use something unsupported.
    public init(_ source: String) throws {
        self.source = source
        var parser = TemplateParser(tokens: try TemplateLexer.tokens(of: source))
        nodes = try parser.parse()
    }

    /// Writes a conversation.
    ///
    /// - Parameters:
    ///   - addGenerationPrompt: whether to end with what comes before the model's turn.
    ///   - beginToken, endToken: what the template knows as `bos_token` and `eos_token`.
    /// - Throws: `TokenizerError` when the template refuses the messages, misuses a value, or runs without end.
    public func render(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = true, beginToken: String = "", endToken: String = ""
    ) throws -> String {
        let list = messages.map {
            TemplateValue.mapping([("role", .string($0.role)), ("content", .string($0.content))])
        }
        var evaluation = TemplateEvaluation(variables: [
            "messages": .list(list), "add_generation_prompt": .bool(addGenerationPrompt),
            "bos_token": .string(beginToken), "eos_token": .string(endToken),
        ])
        try evaluation.run(nodes)
        return evaluation.output
    }
}

/// A value of a template.
indirect enum TemplateValue: Sendable {
    case undefined
    case none
    case bool(Bool)
    case integer(Int)
    case string(String)
    case list([TemplateValue])
    case mapping([(key: String, value: TemplateValue)])

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .integer(let value): value != 0
        case .string(let text): !text.isEmpty
        case .list(let values): !values.isEmpty
        case .mapping(let members): !members.isEmpty
        }
    }

    /// As it is written into the output.
    var text: String {
        switch self {
        case .undefined: ""
        case .none: "None"
        case .bool(let value): value ? "True" : "False"
        case .integer(let value): String(value)
        case .string(let text): text
        case .list(let values): "[" + values.map(\.quoted).joined(separator: ", ") + "]"
        case .mapping(let members):
            "{" + members.map { TemplateValue.string($0.key).quoted + ": " + $0.value.quoted }.joined(separator: ", ")
                + "}"
        }
    }

    private var quoted: String {
        if case .string(let text) = self { return "'" + text.replacing("'", with: "\\'") + "'" }
        return text
    }

    var typeName: String {
        switch self {
        case .undefined: "an undefined value"
        case .none: "none"
        case .bool: "a truth value"
        case .integer: "a number"
        case .string: "text"
        case .list: "a list"
        case .mapping: "a mapping"
        }
    }

    func equals(_ other: TemplateValue) -> Bool {
        switch (self, other) {
        case (.undefined, .undefined), (.none, .none): true
        case (.bool(let a), .bool(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.string(let a), .string(let b)): a.unicodeScalars.elementsEqual(b.unicodeScalars)
        case (.list(let a), .list(let b)): a.count == b.count && zip(a, b).allSatisfy { $0.equals($1) }
        case (.mapping(let a), .mapping(let b)):
            a.count == b.count && a.allSatisfy { own in b.contains { $0.key == own.key && $0.value.equals(own.value) } }
        default: false
        }
    }
}
