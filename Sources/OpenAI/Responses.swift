/// Tokens of a request and its answer.
public struct Usage: Codable, Sendable, Hashable {
    public struct PromptDetails: Codable, Sendable, Hashable {
        public var cachedTokens: Int
        enum CodingKeys: String, CodingKey { case cachedTokens = "cached_tokens" }
    }

    public var promptTokens: Int
    public var completionTokens: Int
    public var totalTokens: Int
    public var promptTokensDetails: PromptDetails?

    public init(promptTokens: Int, completionTokens: Int, cachedTokens: Int) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
        totalTokens = promptTokens + completionTokens
        promptTokensDetails = PromptDetails(cachedTokens: cachedTokens)
    }

    enum CodingKeys: String, CodingKey {
        case promptTokens = "prompt_tokens"
        case completionTokens = "completion_tokens"
        case totalTokens = "total_tokens"
        case promptTokensDetails = "prompt_tokens_details"
    }
}

/// A token of an answer with its log-probability, as chats report it.
public struct TokenLogProbability: Codable, Sendable, Hashable {
    public struct Alternative: Codable, Sendable, Hashable {
        public var token: String
        public var logprob: Double
        public var bytes: [UInt8]

        public init(token: String, logprob: Double, bytes: [UInt8]) {
            self.token = token
            self.logprob = logprob
            self.bytes = bytes
        }
    }

    public var token: String
    public var logprob: Double
    public var bytes: [UInt8]
    public var topLogprobs: [Alternative]

    public init(token: String, logprob: Double, bytes: [UInt8], topLogprobs: [Alternative]) {
        self.token = token
        self.logprob = logprob
        self.bytes = bytes
        self.topLogprobs = topLogprobs
    }

    enum CodingKeys: String, CodingKey {
        case token, logprob, bytes
        case topLogprobs = "top_logprobs"
    }
}

/// The answer to a chat, whole (`chat.completion`) or a part of it (`chat.completion.chunk`).
public struct ChatCompletion: Codable, Sendable {
    /// A tool's call; in a part of an answer with its place among the calls.
    public struct ToolCall: Codable, Sendable, Hashable {
        public var index: Int?
        public var id: String
        public var type = "function"
        public var function: ChatAnswer.ToolCall

        public init(index: Int? = nil, id: String, function: ChatAnswer.ToolCall) {
            self.index = index
            self.id = id
            self.function = function
        }
    }

    public struct Message: Codable, Sendable, Hashable {
        public var role: String?
        public var content: String?
        public var toolCalls: [ToolCall]?

        public init(role: String? = nil, content: String? = nil, toolCalls: [ToolCall]? = nil) {
            self.role = role
            self.content = content
            self.toolCalls = toolCalls
        }

        enum CodingKeys: String, CodingKey {
            case role, content
            case toolCalls = "tool_calls"
        }
    }

    public struct LogProbabilities: Codable, Sendable, Hashable {
        public var content: [TokenLogProbability]
        public init(content: [TokenLogProbability]) { self.content = content }
    }

    public struct Choice: Codable, Sendable {
        public var index: Int
        public var message: Message?
        public var delta: Message?
        public var logprobs: LogProbabilities?
        public var finishReason: String?

        public init(
            index: Int, message: Message? = nil, delta: Message? = nil, logprobs: LogProbabilities? = nil,
            finishReason: String? = nil
        ) {
            self.index = index
            self.message = message
            self.delta = delta
            self.logprobs = logprobs
            self.finishReason = finishReason
        }

        enum CodingKeys: String, CodingKey {
            case index, message, delta, logprobs
            case finishReason = "finish_reason"
        }
    }

    public var id: String
    public var object: String
    public var created: Int
    public var model: String
    public var choices: [Choice]
    public var usage: Usage?

    public init(id: String, object: String, created: Int, model: String, choices: [Choice], usage: Usage? = nil) {
        self.id = id
        self.object = object
        self.created = created
        self.model = model
        self.choices = choices
        self.usage = usage
    }
}

/// The answer to a completion, whole or a part of it (`text_completion`).
public struct Completion: Codable, Sendable {
    public struct LogProbabilities: Codable, Sendable, Hashable {
        public var tokens: [String] = []
        public var tokenLogprobs: [Double?] = []
        public var topLogprobs: [[String: Double]?] = []
        public var textOffset: [Int] = []

        public init() {}

        enum CodingKeys: String, CodingKey {
            case tokens
            case tokenLogprobs = "token_logprobs"
            case topLogprobs = "top_logprobs"
            case textOffset = "text_offset"
        }
    }

    public struct Choice: Codable, Sendable {
        public var index: Int
        public var text: String
        public var logprobs: LogProbabilities?
        public var finishReason: String?

        public init(index: Int, text: String, logprobs: LogProbabilities? = nil, finishReason: String? = nil) {
            self.index = index
            self.text = text
            self.logprobs = logprobs
            self.finishReason = finishReason
        }

        enum CodingKeys: String, CodingKey {
            case index, text, logprobs
            case finishReason = "finish_reason"
        }
    }

    public var id: String
    public var object = "text_completion"
    public var created: Int
    public var model: String
    public var choices: [Choice]
    public var usage: Usage?

    public init(id: String, created: Int, model: String, choices: [Choice], usage: Usage? = nil) {
        self.id = id
        self.created = created
        self.model = model
        self.choices = choices
        self.usage = usage
    }
}

/// `GET /v1/models`.
public struct ModelList: Codable, Sendable {
    public struct Model: Codable, Sendable {
        public var id: String
        public var object = "model"
        public var created: Int
        public var ownedBy: String

        public init(id: String, created: Int, ownedBy: String) {
            self.id = id
            self.created = created
            self.ownedBy = ownedBy
        }

        enum CodingKeys: String, CodingKey {
            case id, object, created
            case ownedBy = "owned_by"
        }
    }

    public var object = "list"
    public var data: [Model]

    public init(data: [Model]) { self.data = data }
}
