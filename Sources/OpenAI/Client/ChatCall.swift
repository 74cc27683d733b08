public import Tokenizers

/// A chat as this program asks for it.
public struct ChatCall: Sendable {
    public var messages: [ChatMessage]
    public var maximumTokens: Int
    /// nil: the endpoint's own.
    public var temperature: Double?
    public var seed: Int?
    /// Log-probabilities of the answer's tokens, with so many alternatives; nil: none.
    public var topLogProbabilities: Int?
    public var format = ResponseFormat.text
    public var stop: [String] = []
    public var streams = false
    /// Whether the limit is called `max_completion_tokens`, as newer models of OpenAI want it.
    public var limitsCompletion = false

    public init(messages: [ChatMessage], maximumTokens: Int, temperature: Double? = 0) {
        self.messages = messages
        self.maximumTokens = maximumTokens
        self.temperature = temperature
    }

    /// The request's body. The same call is the same text.
    public func body(model: String) -> String {
        var members: [(key: String, value: JSONValue)] = [
            ("model", .string(model)),
            (
                "messages",
                .array(
                    messages.map { .object([("role", .string($0.role)), ("content", .string($0.content))]) })
            ),
            (limitsCompletion ? "max_completion_tokens" : "max_tokens", .number(String(maximumTokens))),
        ]
        if let temperature {
            members.append(
                ("temperature", .number(temperature == 0 ? "0" : String(temperature))))
        }
        if let seed { members.append(("seed", .number(String(seed)))) }
        if let topLogProbabilities {
            members.append(("logprobs", .bool(true)))
            members.append(("top_logprobs", .number(String(topLogProbabilities))))
        }
        switch format {
        case .text: break
        case .jsonObject: members.append(("response_format", .object([("type", .string("json_object"))])))
        case .jsonSchema(let schema):
            members.append(
                (
                    "response_format",
                    .object([
                        ("type", .string("json_schema")),
                        (
                            "json_schema",
                            .object([
                                ("name", .string("answer")), ("schema", schema), ("strict", .bool(schema.isStrict)),
                            ])
                        ),
                    ])
                ))
        case .regularExpression(let expression):
            members.append(
                ("response_format", .object([("type", .string("regex")), ("regex", .string(expression))])))
        }
        if !stop.isEmpty { members.append(("stop", .array(stop.map { .string($0) }))) }
        if streams {
            members.append(("stream", .bool(true)))
            members.append(("stream_options", .object([("include_usage", .bool(true))])))
        }
        return JSONValue.object(members).text
    }
}

extension JSONValue {
    /// Whether a schema is one that OpenAI's `strict` takes: every object names all its keys, requires them and allows no
    /// others.
    fileprivate var isStrict: Bool {
        switch self {
        case .array(let values): return values.allSatisfy(\.isStrict)
        case .object(let members):
            if self["type"] == .string("object") || self["properties"] != nil {
                guard self["additionalProperties"] == .bool(false), case .object(let properties)? = self["properties"],
                    case .array(let required)? = self["required"], required.count == properties.count
                else { return false }
            }
            return members.allSatisfy { $0.key == "enum" || $0.key == "const" || $0.value.isStrict }
        default: return true
        }
    }
}
