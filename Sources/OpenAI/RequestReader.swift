internal import Tokenizers

/// Reads a request's fields and says which one is wrong.
struct RequestReader {
    let body: JSONValue

    /// - Throws: ``APIError`` for bodies that are no JSON object.
    init(_ bytes: some Sequence<UInt8>) throws {
        do {
            body = try JSONParser.parse(bytes)
        } catch let failure as JSONParser.Failure {
            throw APIError.invalid("The body is not JSON: \(failure).")
        }
        guard case .object = body else { throw APIError.invalid("The body must be a JSON object.") }
    }

    /// The field; nil where it is left out or null.
    func value(_ key: String) -> JSONValue? {
        guard let value = body[key] else { return nil }
        if case .null = value { return nil }
        return value
    }

    func wrong(_ key: String, _ expected: String) -> APIError {
        .invalid("'\(key)' must be \(expected).", parameter: key)
    }

    func string(_ key: String) throws -> String? {
        guard let value = value(key) else { return nil }
        guard let text = value.stringValue else { throw wrong(key, "a string") }
        return text
    }

    func bool(_ key: String) throws -> Bool? {
        guard let value = value(key) else { return nil }
        guard case .bool(let flag) = value else { throw wrong(key, "true or false") }
        return flag
    }

    func number(_ key: String, _ range: ClosedRange<Double>) throws -> Float? {
        guard let value = value(key) else { return nil }
        guard case .number(let text) = value, let number = Double(text), range.contains(number) else {
            throw wrong(key, "a number from \(Self.short(range.lowerBound)) to \(Self.short(range.upperBound))")
        }
        return Float(number)
    }

    func integer(_ key: String, _ range: ClosedRange<Int>) throws -> Int? {
        guard let value = value(key) else { return nil }
        guard let number = Self.integer(value), range.contains(number) else {
            throw wrong(key, "a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    static func integer(_ value: JSONValue) -> Int? {
        guard case .number(let text) = value else { return nil }
        if let number = Int(text) { return number }
        guard let number = Double(text), number == number.rounded(), number.magnitude < 9e15 else { return nil }
        return Int(number)
    }

    private static func short(_ value: Double) -> String {
        value == value.rounded() ? String(Int(value)) : String(value)
    }

    /// A string, or a list of strings.
    func strings(_ key: String, atMost limit: Int) throws -> [String] {
        guard let value = value(key) else { return [] }
        if let text = value.stringValue { return [text] }
        guard case .array(let values) = value, values.count <= limit else {
            throw wrong(key, "a string or a list of at most \(limit) strings")
        }
        return try values.map {
            guard let text = $0.stringValue else { throw wrong(key, "a string or a list of at most \(limit) strings") }
            return text
        }
    }

    /// What both kinds of requests have.
    func generation() throws -> GenerationFields {
        var fields = GenerationFields()
        fields.model = try string("model")
        fields.maximumTokens =
            try integer("max_completion_tokens", 1...1_000_000) ?? integer("max_tokens", 1...1_000_000)
        fields.temperature = try number("temperature", 0...2) ?? 1
        fields.topP = try number("top_p", 0...1) ?? 1
        fields.count = try integer("n", 1...128) ?? 1
        fields.stop = try strings("stop", atMost: 16).filter { !$0.isEmpty }
        fields.seed = try integer("seed", Int.min...Int.max).map { UInt64(bitPattern: Int64($0)) }
        fields.presencePenalty = try number("presence_penalty", -2...2) ?? 0
        fields.frequencyPenalty = try number("frequency_penalty", -2...2) ?? 0
        fields.topK = try integer("top_k", 0...1_000_000) ?? 0
        fields.minP = try number("min_p", 0...1) ?? 0
        fields.typicalP = try number("typical_p", 0...1) ?? 1
        fields.repetitionPenalty = try number("repetition_penalty", 0.01...100) ?? 1
        fields.priority = try integer("priority", -1000...1000) ?? 0
        fields.streams = try bool("stream") ?? false
        fields.user = try string("user")
        if let options = value("stream_options") {
            guard case .object = options else { throw wrong("stream_options", "an object") }
            if case .bool(true) = options["include_usage"] { fields.includesUsage = true }
        }
        if let bias = value("logit_bias") {
            guard case .object(let members) = bias else { throw wrong("logit_bias", "an object of token numbers") }
            for (key, value) in members {
                guard let token = Int32(key), case .number(let text) = value, let number = Float(text),
                    (-100...100).contains(number)
                else { throw wrong("logit_bias", "an object of token numbers with values from -100 to 100") }
                fields.logitBias[token] = number
            }
        }
        fields.format = try responseFormat()
        return fields
    }

    private func responseFormat() throws -> ResponseFormat {
        guard let value = value("response_format") else { return .text }
        func wrong(_ what: String) -> APIError { .invalid("'response_format' \(what).", parameter: "response_format") }
        guard let type = value["type"]?.stringValue else { throw wrong("must be an object with a 'type'") }
        switch type {
        case "text": return .text
        case "json_object": return .jsonObject
        case "json_schema":
            guard let inner = value["json_schema"], let schema = inner["schema"] else {
                throw wrong("of type json_schema needs 'json_schema' with a 'schema'")
            }
            return .jsonSchema(schema)
        case "regex":
            guard let expression = value["regex"]?.stringValue else { throw wrong("of type regex needs 'regex'") }
            return .regularExpression(expression)
        default: throw wrong("must be of type text, json_object, json_schema or regex, not '\(type)'")
        }
    }
}
