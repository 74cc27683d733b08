public import Tokenizers

/// A model's answer to a chat, as it is kept.
public struct ChatAnswer: Sendable, Hashable, Codable {
    /// A token of the answer.
    public struct Token: Sendable, Hashable, Codable {
        public var text: String
        /// Natural logarithm.
        public var logProbability: Double
        /// The most probable tokens at its place.
        public var alternatives: [Alternative]

        public init(text: String, logProbability: Double, alternatives: [Alternative] = []) {
            self.text = text
            self.logProbability = logProbability
            self.alternatives = alternatives
        }
    }

    public struct Alternative: Sendable, Hashable, Codable {
        public var text: String
        public var logProbability: Double

        public init(text: String, logProbability: Double) {
            self.text = text
            self.logProbability = logProbability
        }
    }

    public struct ToolCall: Sendable, Hashable, Codable {
        public var name: String
        /// As the model wrote them: JSON, if it kept to it.
        public var arguments: String

        public init(name: String, arguments: String) {
            self.name = name
            self.arguments = arguments
        }
    }

    public var text = ""
    /// Why the model would not answer.
    public var refusal: String?
    public var toolCalls: [ToolCall] = []
    /// Empty where the endpoint gives none.
    public var tokens: [Token] = []
    /// `stop`, `length`, `tool_calls`, `content_filter`; nil where the endpoint does not say.
    public var finishReason: String?
    public var model: String?
    /// 0 where the endpoint does not say.
    public var promptTokens = 0
    public var completionTokens = 0

    public init() {}

    /// What was expected of an answer and is not so.
    public struct Malformed: Error, Sendable, Hashable {
        public var message: String
        init(_ message: String) { self.message = message }
    }

    /// Reads a whole answer (`chat.completion`), the first of its choices.
    ///
    /// - Throws: ``Malformed``.
    public init(_ body: JSONValue) throws {
        guard case .array(let choices)? = body["choices"] else { throw Malformed("it has no 'choices'") }
        guard let choice = choices.first else { throw Malformed("'choices' is empty") }
        guard let message = choice["message"], case .object = message else {
            throw Malformed("the choice has no 'message'")
        }
        try add(message)
        finishReason = choice["finish_reason"]?.stringValue
        tokens = Self.tokens(choice["logprobs"])
        readUsage(body)
    }

    mutating func readUsage(_ body: JSONValue) {
        if let name = body["model"]?.stringValue { model = name }
        guard let usage = body["usage"] else { return }
        promptTokens = Self.count(usage["prompt_tokens"]) ?? Self.count(usage["input_tokens"]) ?? promptTokens
        completionTokens =
            Self.count(usage["completion_tokens"]) ?? Self.count(usage["output_tokens"]) ?? completionTokens
    }

    private static func count(_ value: JSONValue?) -> Int? {
        guard let value, let number = RequestReader.integer(value), (0...1_000_000_000).contains(number) else {
            return nil
        }
        return number
    }

    /// Adds a message, or what a chunk says more of one.
    mutating func add(_ message: JSONValue) throws {
        switch message["content"] {
        case .string(let part)?: text += part
        case nil, .null?: break
        case .array(let parts)?:
            for part in parts {
                if let more = part["text"]?.stringValue { text += more }
            }
        default: throw Malformed("'content' is no text")
        }
        if let part = message["refusal"]?.stringValue { refusal = (refusal ?? "") + part }
        if case .array(let calls)? = message["tool_calls"] {
            for (place, call) in calls.enumerated() {
                guard let function = call["function"] else { throw Malformed("a tool call has no 'function'") }
                let index = call["index"].flatMap(RequestReader.integer) ?? place
                guard (0...toolCalls.count).contains(index), index < 128 else {
                    throw Malformed("a tool call has the number \(index)")
                }
                if index == toolCalls.count { toolCalls.append(ToolCall(name: "", arguments: "")) }
                toolCalls[index].name += function["name"]?.stringValue ?? ""
                switch function["arguments"] {
                case .string(let part)?: toolCalls[index].arguments += part
                case .object(let members)?: toolCalls[index].arguments += JSONValue.object(members).text
                default: break
                }
            }
        }
        // What went before tools.
        if let call = message["function_call"], case .object = call {
            if toolCalls.isEmpty { toolCalls.append(ToolCall(name: "", arguments: "")) }
            toolCalls[0].name += call["name"]?.stringValue ?? ""
            toolCalls[0].arguments += call["arguments"]?.stringValue ?? ""
        }
    }

    static func tokens(_ logprobs: JSONValue?) -> [Token] {
        guard case .array(let content)? = logprobs?["content"] else { return [] }
        func number(_ value: JSONValue?) -> Double? {
            guard case .number(let text)? = value, let number = Double(text) else { return nil }
            return min(0, number)
        }
        var result: [Token] = []
        for entry in content {
            guard let text = entry["token"]?.stringValue, let value = number(entry["logprob"]) else { return [] }
            var token = Token(text: text, logProbability: value)
            if case .array(let top)? = entry["top_logprobs"] {
                token.alternatives = top.prefix(20).compactMap { other in
                    guard let text = other["token"]?.stringValue, let value = number(other["logprob"]) else {
                        return nil
                    }
                    return Alternative(text: text, logProbability: value)
                }
            }
            result.append(token)
        }
        return result
    }
}

/// Puts a streamed answer together again.
public struct StreamedAnswer: Sendable {
    private var answer = ChatAnswer()
    private var hasChoice = false
    private var isDone = false

    public init() {}

    /// - Parameter data: of an event.
    /// - Throws: ``AttemptFailure``.
    public mutating func add(_ data: [UInt8]) throws {
        if data.elementsEqual("[DONE]".utf8) {
            isDone = true
            return
        }
        let chunk: JSONValue
        do { chunk = try JSONParser.parse(data) } catch {
            throw AttemptFailure.broken("a part of the stream is no JSON")
        }
        try add(chunk)
    }

    /// - Throws: ``AttemptFailure``.
    public mutating func add(_ chunk: JSONValue) throws {
        if let error = chunk["error"], case .object = error {
            throw AttemptFailure.server(
                status: 500, retryAfter: nil, message: error["message"]?.stringValue ?? "an error in the stream")
        }
        answer.readUsage(chunk)
        // The last chunk with the usage has no choices.
        guard case .array(let choices)? = chunk["choices"], let choice = choices.first(where: { Self.isFirst($0) })
        else {
            return
        }
        hasChoice = true
        do {
            if let delta = choice["delta"] { try answer.add(delta) }
        } catch let error as ChatAnswer.Malformed {
            throw AttemptFailure.broken(error.message)
        }
        answer.tokens += ChatAnswer.tokens(choice["logprobs"])
        if let reason = choice["finish_reason"]?.stringValue { answer.finishReason = reason }
    }

    private static func isFirst(_ choice: JSONValue) -> Bool {
        choice["index"].map { RequestReader.integer($0) ?? 0 } ?? 0 == 0
    }

    /// The answer, when the stream has come to its end.
    /// - Throws: ``AttemptFailure`` `.broken`.
    public func finished() throws -> ChatAnswer {
        guard hasChoice, isDone || answer.finishReason != nil else {
            throw AttemptFailure.broken("the stream ended before its end")
        }
        return answer
    }
}
