package import Tokenizers

/// Answers that are calls of a tool.
package enum ToolCall {
    /// What every one looks like.
    package static let schema = object([
        ("name", .object([("type", .string("string")), ("minLength", .number("1"))])),
        ("arguments", .object([("type", .string("object"))])),
    ])

    /// A schema of objects with just these keys.
    package static func object(_ members: [(key: String, value: JSONValue)]) -> JSONValue {
        .object([
            ("type", .string("object")), ("properties", .object(members)),
            ("required", .array(members.map { .string($0.key) })), ("additionalProperties", .bool(false)),
        ])
    }

    /// Brings a call to its one form, `{"name": …, "arguments": {…}}`. Taken are that, OpenAI's
    /// `{"type": "function", "function": {…}}` with its arguments as text, a message or a list with one such call, and
    /// `tool` instead of `name`.
    ///
    /// - Returns: nil where it is no call, or several.
    package static func call(_ value: JSONValue) -> JSONValue? {
        if case .array(let calls) = value { return calls.count == 1 ? call(calls[0]) : nil }
        if let calls = value["tool_calls"] { return call(calls) }
        if let function = value["function"] { return call(function) }
        guard let name = (value["name"] ?? value["tool"])?.stringValue, !name.isEmpty else { return nil }
        var arguments = value["arguments"]
        if let text = arguments?.stringValue {
            arguments = text.isEmpty ? .object([]) : try? JSONParser.parse(text.utf8)
        }
        guard case .object? = arguments, let arguments else { return nil }
        return .object([("name", .string(name)), ("arguments", arguments)])
    }

    /// The schema of calls of these tools: a list as OpenAI's API takes it, or an object with it as `tools`.
    ///
    /// - Returns: nil where it is no such list.
    package static func schema(tools value: JSONValue) -> JSONValue? {
        guard case .array(let tools) = value["tools"] ?? value, !tools.isEmpty else { return nil }
        var calls: [JSONValue] = []
        for (place, tool) in tools.enumerated() {
            let function = tool["function"] ?? tool
            guard let name = function["name"]?.stringValue else { return nil }
            let parameters = function["parameters"] ?? .object([("type", .string("object"))])
            let arguments = parameters.movingReferences(from: "#", to: reference(place))
            calls.append(object([("name", .object([("const", .string(name))])), ("arguments", arguments)]))
        }
        return .object([("anyOf", .array(calls))])
    }

    /// Where the arguments of a call stand in the schema of several.
    private static func reference(_ place: Int) -> String { "#/anyOf/\(place)/properties/arguments" }

    /// The same with an object at its root instead of `anyOf`, which OpenAI's structured outputs do not take there: any
    /// of the names with any of the arguments.
    package static func flattened(_ schema: JSONValue) -> JSONValue {
        guard case .array(let calls)? = schema["anyOf"] else { return schema }
        var names: [JSONValue] = []
        var arguments: [JSONValue] = []
        for (place, call) in calls.enumerated() {
            guard let properties = call["properties"], let name = properties["name"]?["const"],
                let own = properties["arguments"]
            else { return schema }
            names.append(name)
            if arguments.contains(own) { continue }
            arguments.append(
                own.movingReferences(from: reference(place), to: "#/properties/arguments/anyOf/\(arguments.count)"))
        }
        return object([
            ("name", .object([("enum", .array(names))])), ("arguments", .object([("anyOf", .array(arguments))])),
        ])
    }
}

extension JSONValue {
    /// A schema as it reads where another one has it as its part: references within it lead there.
    package func movingReferences(from old: String, to new: String) -> JSONValue {
        switch self {
        case .array(let values): return .array(values.map { $0.movingReferences(from: old, to: new) })
        case .object(let members):
            return .object(
                members.map { member in
                    guard member.key == "$ref", let text = member.value.stringValue,
                        text == old || text.hasPrefix(old + "/")
                    else { return (member.key, member.value.movingReferences(from: old, to: new)) }
                    return (member.key, .string(new + text.dropFirst(old.count)))
                })
        default: return self
        }
    }
}
