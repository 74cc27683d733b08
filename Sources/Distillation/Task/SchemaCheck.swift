internal import Inference
package import Tokenizers

/// Holds values against a JSON Schema: the part of it that answers can be constrained to.
package struct SchemaCheck: Sendable {
    /// Where a value is not as the schema says.
    package struct Mismatch: Error, Sendable, Hashable {
        /// Keys and places that lead there.
        package var path: [String]
        /// What is there.
        fileprivate var found: String
        /// What may be there; empty where nothing more is to be said.
        fileprivate var expected: [String]

        package var message: String {
            let place = "'\(path.joined(separator: "."))' \(found)"
            return expected.isEmpty ? place : "\(place), expected \(expected.joined(separator: " or "))"
        }
    }

    private let root: JSONValue
    /// Patterns and formats, by their schema's text.
    private let forms: [String: Constraint]

    private static let depthLimit = 200

    package init(_ schema: JSONValue) {
        root = schema
        var forms: [String: Constraint] = [:]
        Self.collect(schema, into: &forms)
        self.forms = forms
    }

    private static func collect(_ value: JSONValue, into forms: inout [String: Constraint]) {
        switch value {
        case .array(let values): for value in values { collect(value, into: &forms) }
        case .object(let members):
            if let form = form(value) { forms[form.text] = try? Constraint(jsonSchema: form) }
            for member in members { collect(member.value, into: &forms) }
        default: break
        }
    }

    /// What a schema of strings says besides their lengths.
    private static func form(_ schema: JSONValue) -> JSONValue? {
        let own = ["pattern", "format"].compactMap { key in
            schema[key]?.stringValue.map { (key: key, value: JSONValue.string($0)) }
        }
        return own.isEmpty ? nil : .object([("type", .string("string"))] + own)
    }

    /// The value with its keys in the schema's order, and constants as the schema writes them.
    package func fitted(_ value: JSONValue) throws(Mismatch) -> JSONValue {
        try fitted(value, root, ["output"], depth: 0)
    }

    private func mismatch(_ path: [String], _ value: JSONValue, _ expected: String) -> Mismatch {
        Mismatch(path: path, found: "is \(value.excerpt)", expected: [expected])
    }

    private func fitted(
        _ value: JSONValue, _ schema: JSONValue, _ path: [String], depth: Int
    ) throws(Mismatch) -> JSONValue {
        guard depth < Self.depthLimit else { throw mismatch(path, value, "fewer levels") }
        guard case .object = schema else {
            if schema == .bool(false) { throw mismatch(path, value, "nothing") }
            return value
        }
        if let reference = schema["$ref"]?.stringValue {
            guard let target = root.part(at: reference) else { throw mismatch(path, value, reference) }
            return try fitted(value, target, path, depth: depth + 1)
        }
        if let constant = schema["const"] {
            guard constant == value else { throw mismatch(path, value, constant.text) }
            return constant
        }
        if case .array(let values)? = schema["enum"] {
            guard let same = values.first(where: { $0 == value }) else {
                throw mismatch(path, value, "one of: " + values.prefix(20).map(\.text).joined(separator: ", "))
            }
            return same
        }
        for keyword in ["anyOf", "oneOf"] {
            guard case .array(let schemas)? = schema[keyword] else { continue }
            return try any(value, schemas, path, depth: depth)
        }
        return try typed(value, schema, path, depth: depth)
    }

    /// What the first schema makes of it that it fits. Otherwise the mismatch that lies deepest is told: it is of the one
    /// that was meant.
    private func any(
        _ value: JSONValue, _ schemas: [JSONValue], _ path: [String], depth: Int
    ) throws(Mismatch) -> JSONValue {
        var deepest: Mismatch?
        for schema in schemas {
            do { return try fitted(value, schema, path, depth: depth + 1) } catch {
                guard let other = deepest, error.path.count <= other.path.count else {
                    deepest = error
                    continue
                }
                if error.path == other.path, error.found == other.found {
                    deepest?.expected += error.expected.filter { !other.expected.contains($0) }
                }
            }
        }
        throw deepest ?? mismatch(path, value, "nothing")
    }

    private func typed(
        _ value: JSONValue, _ schema: JSONValue, _ path: [String], depth: Int
    ) throws(Mismatch) -> JSONValue {
        var types: [String] = []
        switch schema["type"] {
        case .string(let type)?: types = [type]
        case .array(let list)?: types = list.compactMap(\.stringValue)
        default: types = Self.implied(by: schema).map { [$0] } ?? []
        }
        let own = Self.type(of: value)
        guard types.isEmpty || types.contains(own) || own == "integer" && types.contains("number") else {
            let names = types.map {
                ["array", "integer", "object"].contains($0) ? "an \($0)" : $0 == "null" ? $0 : "a \($0)"
            }
            throw mismatch(path, value, names.joined(separator: " or "))
        }
        switch value {
        case .object(let members): return try object(members, schema, path, depth: depth)
        case .array(let values): return try array(values, schema, path, depth: depth)
        case .string(let text): try check(text, schema, path)
        case .number(let text): try check(number: text, schema, path)
        case .bool, .null: break
        }
        return value
    }

    private static func type(of value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool: "boolean"
        case .number(let text): text.contains { ".eE".contains($0) } ? "number" : "integer"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    /// The type a schema means that names none.
    private static func implied(by schema: JSONValue) -> String? {
        [
            ("properties", "object"), ("additionalProperties", "object"), ("items", "array"), ("pattern", "string"),
            ("minLength", "string"), ("maxLength", "string"), ("format", "string"), ("minimum", "number"),
            ("maximum", "number"),
        ].first { schema[$0.0] != nil }?.1
    }

    private func object(
        _ members: [(key: String, value: JSONValue)], _ schema: JSONValue, _ path: [String], depth: Int
    ) throws(Mismatch) -> JSONValue {
        var properties: [(key: String, value: JSONValue)] = []
        if case .object(let list)? = schema["properties"] { properties = list }
        let given = Dictionary(members.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
        if case .array(let names)? = schema["required"] {
            for name in names.compactMap(\.stringValue) where given[name] == nil {
                throw Mismatch(path: path + [name], found: "is missing", expected: [])
            }
        }
        var result: [(key: String, value: JSONValue)] = []
        for property in properties {
            guard let value = given[property.key] else { continue }
            result.append(
                (property.key, try fitted(value, property.value, path + [property.key], depth: depth + 1)))
        }
        let known = Set(properties.map(\.key))
        for member in members where !known.contains(member.key) {
            let others = schema["additionalProperties"] ?? .bool(true)
            guard others != .bool(false) else {
                throw Mismatch(
                    path: path + [member.key], found: "is not allowed",
                    expected: ["only: " + properties.map(\.key).joined(separator: ", ")])
            }
            result.append((member.key, try fitted(member.value, others, path + [member.key], depth: depth + 1)))
        }
        return .object(result)
    }

    private func array(
        _ values: [JSONValue], _ schema: JSONValue, _ path: [String], depth: Int
    ) throws(Mismatch) -> JSONValue {
        try check(Double(values.count), schema, ("minItems", "maxItems"), .array(values), "items", path)
        var result: [JSONValue] = []
        for (place, value) in values.enumerated() {
            result.append(
                try fitted(value, schema["items"] ?? .bool(true), path + [String(place)], depth: depth + 1))
        }
        return .array(result)
    }

    private func check(_ text: String, _ schema: JSONValue, _ path: [String]) throws(Mismatch) {
        let value = JSONValue.string(text)
        try check(
            Double(text.unicodeScalars.count), schema, ("minLength", "maxLength"), value, "characters", path)
        if let form = Self.form(schema), let constraint = forms[form.text], !constraint.matches(value.text.utf8) {
            throw mismatch(path, value, (schema["pattern"] ?? schema["format"])?.stringValue ?? "")
        }
    }

    private func check(
        number text: String, _ schema: JSONValue, _ path: [String]
    ) throws(Mismatch) {
        let value = JSONValue.number(text)
        guard let number = Double(text) else { return }
        try check(number, schema, ("minimum", "maximum"), value, "", path)
        if let least = Self.number(schema["exclusiveMinimum"]), number <= least {
            throw mismatch(path, value, "more than \(least)")
        }
        if let most = Self.number(schema["exclusiveMaximum"]), number >= most {
            throw mismatch(path, value, "less than \(most)")
        }
        if let step = Self.number(schema["multipleOf"]), step > 0, number.remainder(dividingBy: step) != 0 {
            throw mismatch(path, value, "a multiple of \(step)")
        }
    }

    /// - Parameter keywords: of the least and the most that `number` may be.
    private func check(
        _ number: Double, _ schema: JSONValue, _ keywords: (least: String, most: String), _ value: JSONValue,
        _ unit: String, _ path: [String]
    ) throws(Mismatch) {
        func words(_ limit: Double) -> String {
            let text = limit == limit.rounded() && abs(limit) < 1e15 ? String(Int(limit)) : String(limit)
            return unit.isEmpty ? text : text + " " + unit
        }
        if let least = Self.number(schema[keywords.least]), number < least {
            throw mismatch(path, value, "at least " + words(least))
        }
        if let most = Self.number(schema[keywords.most]), number > most {
            throw mismatch(path, value, "at most " + words(most))
        }
    }

    private static func number(_ value: JSONValue?) -> Double? {
        if case .number(let text)? = value { return Double(text) }
        return nil
    }
}

extension JSONValue {
    /// Its text, so far as an error can show it.
    package var excerpt: String {
        let text = text
        return text.count <= 80 ? text : text.prefix(79) + "…"
    }
}
