public import Tokenizers

/// What the answer must look like.
public enum ResponseFormat: Sendable {
    case text
    case jsonObject
    case jsonSchema(JSONValue)
    /// Not of OpenAI's API.
    case regularExpression(String)
}

/// Fields that chats and completions have in common. `top_k`, `min_p`, `typical_p`, `repetition_penalty` and `priority` are
/// not of OpenAI's API.
public struct GenerationFields: Sendable {
    public var model: String?
    public var maximumTokens: Int?
    public var temperature: Float = 1
    public var topP: Float = 1
    public var topK = 0
    public var minP: Float = 0
    public var typicalP: Float = 1
    public var repetitionPenalty: Float = 1
    public var presencePenalty: Float = 0
    public var frequencyPenalty: Float = 0
    public var logitBias: [Int32: Float] = [:]
    /// `n`: how many answers.
    public var count = 1
    public var stop: [String] = []
    public var seed: UInt64?
    public var priority = 0
    public var streams = false
    public var includesUsage = false
    public var user: String?
    public var format = ResponseFormat.text

    public init() {}
}

/// `POST /v1/chat/completions`.
public struct ChatCompletionRequest: Sendable {
    public var messages: [ChatMessage]
    public var fields: GenerationFields
    /// Log-probabilities of the answer's tokens, with so many alternatives; nil: none.
    public var topLogProbabilities: Int?
    /// Whether `tools` offers any.
    public var offersTools = false
    /// Whether `tool_choice` is `none`.
    public var forbidsTools = false

    /// - Throws: ``APIError`` naming the field that is wrong.
    public init(body: some Sequence<UInt8>) throws {
        let reader = try RequestReader(body)
        fields = try reader.generation()
        guard case .array(let list)? = reader.value("messages"), !list.isEmpty else {
            throw reader.wrong("messages", "a list of at least one message")
        }
        messages = try list.enumerated().map { try Self.message($1, number: $0) }
        let top = try reader.integer("top_logprobs", 0...20)
        if try reader.bool("logprobs") ?? false {
            topLogProbabilities = top ?? 0
        } else if top != nil {
            throw APIError.invalid("'top_logprobs' needs 'logprobs' to be true.", parameter: "top_logprobs")
        }
        switch reader.value("tools") {
        case nil, .null: break
        case .array(let tools): offersTools = !tools.isEmpty
        default: throw reader.wrong("tools", "a list of tools")
        }
        forbidsTools = reader.value("tool_choice")?.stringValue == "none"
        if case .array(let functions)? = reader.value("functions"), !functions.isEmpty {
            throw APIError.invalid("'functions' is not supported; 'tools' is its successor.", parameter: "functions")
        }
    }

    private static func message(_ value: JSONValue, number: Int) throws -> ChatMessage {
        let place = "messages[\(number)]"
        guard let role = value["role"]?.stringValue else {
            throw APIError.invalid("'\(place)' must have a 'role'.", parameter: place)
        }
        switch value["content"] {
        case .string(let text): return ChatMessage(role: role, content: text)
        case .array(let parts):
            let texts = try parts.map { part -> String in
                guard part["type"]?.stringValue == "text", let text = part["text"]?.stringValue else {
                    throw APIError.invalid("'\(place).content' may only have parts of type text.", parameter: place)
                }
                return text
            }
            return ChatMessage(role: role, content: texts.joined())
        case nil, .null: return ChatMessage(role: role, content: "")
        default: throw APIError.invalid("'\(place).content' must be a string or a list of parts.", parameter: place)
        }
    }
}

/// `POST /v1/completions`.
public struct CompletionRequest: Sendable {
    public enum Prompt: Sendable, Hashable {
        case text(String)
        case tokens([Int32])
    }

    public var prompts: [Prompt]
    public var fields: GenerationFields
    /// Whether the answer begins with the prompt; with log-probabilities, the prompt's tokens have theirs.
    public var echoes: Bool
    /// Log-probabilities with so many alternatives; nil: none.
    public var logProbabilities: Int?

    /// - Throws: ``APIError`` naming the field that is wrong.
    public init(body: some Sequence<UInt8>) throws {
        let reader = try RequestReader(body)
        fields = try reader.generation()
        if fields.maximumTokens == nil { fields.maximumTokens = 16 }
        echoes = try reader.bool("echo") ?? false
        logProbabilities = try reader.integer("logprobs", 0...20)
        if try reader.string("suffix") != nil {
            throw APIError.invalid("'suffix' is not supported.", parameter: "suffix")
        }
        if let best = try reader.integer("best_of", 1...128), best != fields.count {
            throw APIError.invalid("'best_of' other than 'n' is not supported.", parameter: "best_of")
        }
        let expected = "a string, a list of strings, or a list of token numbers"
        func tokens(_ values: [JSONValue]) throws -> [Int32] {
            try values.map {
                guard let number = RequestReader.integer($0), let token = Int32(exactly: number) else {
                    throw reader.wrong("prompt", expected)
                }
                return token
            }
        }
        switch reader.value("prompt") {
        case .string(let text): prompts = [.text(text)]
        case .array(let values):
            switch values.first {
            case .string:
                prompts = try values.map {
                    guard let text = $0.stringValue else { throw reader.wrong("prompt", expected) }
                    return .text(text)
                }
            case .number: prompts = [.tokens(try tokens(values))]
            case .array:
                prompts = try values.map {
                    guard case .array(let inner) = $0 else { throw reader.wrong("prompt", expected) }
                    return .tokens(try tokens(inner))
                }
            default: throw reader.wrong("prompt", expected)
            }
        default: throw reader.wrong("prompt", expected)
        }
        guard prompts.count <= 128 else { throw reader.wrong("prompt", "at most 128 prompts") }
    }
}
