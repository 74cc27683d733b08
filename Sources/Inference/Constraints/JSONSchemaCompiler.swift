internal import Tokenizers

/// Turns a JSON Schema into a grammar: the part of it that OpenAI's structured outputs allow, and no keyword ignored that
/// would forbid something.
///
/// Keys are written in the order of `properties`; those not in `required` may be left out. Where `additionalProperties`
/// allows others, they come last.
struct JSONSchemaCompiler {
    private let root: JSONValue
    private var patterns: [Pattern] = []
    /// Rules by the place of their schema (a JSON pointer).
    private var numbers: [String: Int] = [:]
    private var anyValue: Int?
    /// Whether strings are written with a space before them, but for empty ones.
    private let leadingSpace: Bool

    init(_ schema: JSONValue, leadingSpace: Bool = false) {
        root = schema
        self.leadingSpace = leadingSpace
    }

    private static let ignored: Set<String> = [
        "title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "$defs", "definitions",
        "deprecated", "readOnly", "writeOnly", "nullable", "strict",
    ]

    /// All rules; the first is the schema itself.
    mutating func rules() throws -> [Pattern] {
        _ = try rule("#", root)
        return patterns
    }

    private func fail(_ place: String, _ message: String) -> InferenceError {
        InferenceError(.unsupportedConstraint, "JSON schema, \(place): \(message)")
    }

    /// The rule of a schema at a place; made once.
    private mutating func rule(_ place: String, _ schema: JSONValue) throws -> Int {
        if let known = numbers[place] { return known }
        let number = patterns.count
        guard number < 2_000 else { throw fail(place, "more than 2,000 schemas") }
        numbers[place] = number
        patterns.append(.empty)
        patterns[number] = try pattern(schema, place, depth: 0)
        return number
    }

    private mutating func pattern(_ schema: JSONValue, _ place: String, depth: Int) throws -> Pattern {
        guard depth < 60 else { throw fail(place, "nested too deeply") }
        switch schema {
        case .bool(true): return .rule(try any())
        case .bool(false): throw fail(place, "false allows nothing")
        case .object: break
        default: throw fail(place, "expected an object")
        }
        if let reference = schema["$ref"] { return try self.reference(reference, schema, place) }
        if let value = schema["const"] {
            try check(schema, place, allowed: ["const", "type"])
            return .text(written(value))
        }
        if let list = schema["enum"] {
            try check(schema, place, allowed: ["enum", "type"])
            guard case .array(let values) = list, !values.isEmpty else {
                throw fail(place + "/enum", "expected a list")
            }
            guard values.count <= 5_000 else { throw fail(place + "/enum", "more than 5,000 values") }
            return .choice(values.map { .text(written($0)) })
        }
        for keyword in ["anyOf", "oneOf"] {
            guard let list = schema[keyword] else { continue }
            try check(schema, place, allowed: [keyword])
            guard case .array(let schemas) = list, !schemas.isEmpty else {
                throw fail("\(place)/\(keyword)", "expected a list of schemas")
            }
            var choices: [Pattern] = []
            for (index, schema) in schemas.enumerated() {
                choices.append(try pattern(schema, "\(place)/\(keyword)/\(index)", depth: depth + 1))
            }
            return .choice(choices)
        }
        switch schema["type"] {
        case nil:
            // Keywords say which type is meant.
            for (keyword, type) in [
                ("properties", "object"), ("additionalProperties", "object"), ("items", "array"), ("pattern", "string"),
                ("minLength", "string"), ("maxLength", "string"), ("format", "string"), ("minimum", "number"),
                ("maximum", "number"),
            ] where schema[keyword] != nil {
                return try typed(type, schema, place, depth: depth)
            }
            try check(schema, place, allowed: [])
            return .rule(try any())
        case .string(let type): return try typed(type, schema, place, depth: depth)
        case .array(let types):
            guard !types.isEmpty else { throw fail(place + "/type", "expected at least one type") }
            var choices: [Pattern] = []
            for type in types {
                guard let name = type.stringValue else { throw fail(place + "/type", "expected names of types") }
                choices.append(try typed(name, schema, place, isOneOfMany: true, depth: depth))
            }
            return .choice(choices)
        default: throw fail(place + "/type", "expected the name of a type")
        }
    }

    /// A value that is given whole, as it is written.
    private func written(_ value: JSONValue) -> String {
        leadingSpace ? value.mappingStrings { $0.isEmpty ? $0 : " " + $0 }.text : value.text
    }

    private static let keywords: [String: Set<String>] = [
        "object": ["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
        "array": ["items", "minItems", "maxItems", "prefixItems"],
        "string": ["minLength", "maxLength", "pattern", "format"],
        "number": ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
        "integer": ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
        "boolean": [], "null": [],
    ]

    private func check(_ schema: JSONValue, _ place: String, allowed: Set<String>) throws {
        guard case .object(let members) = schema else { return }
        for (key, _) in members where !allowed.contains(key) && !Self.ignored.contains(key) {
            throw fail(place, "'\(key)' is not supported here")
        }
    }

    private mutating func typed(
        _ type: String, _ schema: JSONValue, _ place: String, isOneOfMany: Bool = false, depth: Int
    ) throws -> Pattern {
        guard let own = Self.keywords[type] else {
            throw fail(place + "/type", "'\(type)' is no type (object, array, string, number, integer, boolean, null)")
        }
        let others = isOneOfMany ? Self.keywords.values.reduce(into: Set()) { $0.formUnion($1) } : []
        try check(schema, place, allowed: own.union(["type"]).union(others))
        switch type {
        case "object": return try object(schema, place, depth: depth)
        case "array": return try array(schema, place, depth: depth)
        case "string": return try string(schema, place)
        case "number", "integer": return try number(schema, place, isInteger: type == "integer")
        case "boolean": return .choice([.text("true"), .text("false")])
        default: return .text("null")
        }
    }

    private mutating func reference(_ value: JSONValue, _ schema: JSONValue, _ place: String) throws -> Pattern {
        try check(schema, place, allowed: ["$ref"])
        guard let text = value.stringValue, text == "#" || text.hasPrefix("#/") else {
            throw fail(place + "/$ref", "expected '#' or '#/…'")
        }
        guard let target = root.part(at: text) else { throw fail(place + "/$ref", "there is no \(text)") }
        return .rule(try rule(text, target))
    }

    private mutating func object(_ schema: JSONValue, _ place: String, depth: Int) throws -> Pattern {
        for keyword in ["minProperties", "maxProperties"] where schema[keyword] != nil {
            throw fail("\(place)/\(keyword)", "is not supported")
        }
        var members: [(key: String, value: JSONValue)] = []
        switch schema["properties"] {
        case nil: break
        case .object(let list): members = list
        default: throw fail(place + "/properties", "expected an object")
        }
        var required: Set<String> = []
        switch schema["required"] {
        case nil: break
        case .array(let names):
            for name in names {
                guard let text = name.stringValue else { throw fail(place + "/required", "expected a list of names") }
                guard members.contains(where: { $0.key == text }) else {
                    throw fail(place + "/required", "'\(text)' is not among the properties")
                }
                required.insert(text)
            }
        default: throw fail(place + "/required", "expected a list of names")
        }
        var written: [(pattern: Pattern, isRequired: Bool)] = []
        for (key, value) in members {
            var quoted = ""
            JSONValue.quote(key, to: &quoted)
            // A rule of its own: where keys may be left out, it is called from several places.
            let own = Pattern.rule(try rule("\(place)/properties/\(key)", value))
            written.append((.sequence([.text(quoted + ":"), own]), required.contains(key)))
        }
        var others: Pattern?
        let otherKey = otherKey(than: members.map(\.key), place)
        switch schema["additionalProperties"] {
        case .bool(false): break
        case nil, .bool(true): others = .sequence([otherKey, .text(":"), .rule(try any())])
        case .some(let inner):
            others = .sequence([
                otherKey, .text(":"), try pattern(inner, place + "/additionalProperties", depth: depth + 1),
            ])
        }
        return .sequence([.text("{"), Self.members(written, others: others), .text("}")])
    }

    /// A key that is none of these; any where they are very long.
    private mutating func otherKey(than known: [String], _ place: String) -> Pattern {
        // What it takes in states, about.
        let sizes = known.map { $0.unicodeScalars.reduce(0) { $0 + ($1.isASCII ? 6 : 30) } }
        guard !known.isEmpty, known.allSatisfy({ $0.unicodeScalars.count <= 100 }), sizes.reduce(0, +) <= 20_000 else {
            return JSONGrammar.string()
        }
        let tail = shared("any tail", JSONGrammar.tail)
        let beyondASCII = shared("beyond ASCII", JSONGrammar.beyondASCII)
        let key = JSONGrammar.string(except: known, tail: tail, beyondASCII: beyondASCII)
        return shared("another key than those of " + place, key)
    }

    /// A rule that is made once.
    private mutating func shared(_ name: String, _ pattern: Pattern) -> Pattern {
        if let known = numbers[name] { return .rule(known) }
        numbers[name] = patterns.count
        patterns.append(pattern)
        return .rule(patterns.count - 1)
    }

    /// Members in order, commas between those that are there: one choice for each member that can come first.
    private static func members(_ list: [(pattern: Pattern, isRequired: Bool)], others: Pattern?) -> Pattern {
        let more = others.map { Pattern.repeated(.sequence([.text(","), $0]), minimum: 0, maximum: nil) }
        /// What may follow once something was written.
        func rest(_ from: Int) -> Pattern {
            var parts: [Pattern] = list[from...].map { member in
                let own = Pattern.sequence([.text(","), member.pattern])
                return member.isRequired ? own : .optional(own)
            }
            if let more { parts.append(more) }
            return .sequence(parts)
        }
        // Which member comes first: any up to the first required one.
        var choices: [Pattern] = []
        for (index, member) in list.enumerated() {
            choices.append(.sequence([member.pattern, rest(index + 1)]))
            if member.isRequired { return .choice(choices) }
        }
        if let others, let more { choices.append(.sequence([others, more])) }
        return .choice(choices + [.empty])
    }

    private mutating func array(_ schema: JSONValue, _ place: String, depth: Int) throws -> Pattern {
        if schema["prefixItems"] != nil { throw fail(place + "/prefixItems", "is not supported") }
        let minimum = try count("minItems", schema, place) ?? 0
        let maximum = try count("maxItems", schema, place)
        if let maximum, maximum < minimum { throw fail(place, "maxItems is less than minItems") }
        let item: Pattern
        if let items = schema["items"] {
            item = .rule(try rule(place + "/items", items))
        } else {
            item = .rule(try any())
        }
        return JSONGrammar.list(item, open: "[", close: "]", minimum: minimum, maximum: maximum)
    }

    private func count(_ keyword: String, _ schema: JSONValue, _ place: String) throws -> Int? {
        guard let value = schema[keyword] else { return nil }
        guard case .number(let text) = value, let number = Double(text), number >= 0, number <= 10_000,
            number == number.rounded()
        else {
            throw fail("\(place)/\(keyword)", "expected a whole number from 0 to 10,000")
        }
        return Int(number)
    }

    private func string(_ schema: JSONValue, _ place: String) throws -> Pattern {
        let minimum = try count("minLength", schema, place)
        let maximum = try count("maxLength", schema, place)
        if let minimum, let maximum, maximum < minimum { throw fail(place, "maxLength is less than minLength") }
        let hasLength = minimum != nil || maximum != nil
        var source: String?
        if let value = schema["pattern"] {
            guard let text = value.stringValue else { throw fail(place + "/pattern", "expected a string") }
            source = text
        }
        if let value = schema["format"] {
            guard let name = value.stringValue else { throw fail(place + "/format", "expected a string") }
            guard let expression = Self.formats[name] else {
                let known = Self.formats.keys.sorted().joined(separator: ", ")
                throw fail(place + "/format", "'\(name)' is not supported (\(known) are)")
            }
            if source != nil { throw fail(place, "'pattern' together with 'format' is not supported") }
            source = "^\(expression)$"
        }
        guard let source else {
            let content = Pattern.repeated(JSONGrammar.anyCharacter, minimum: minimum ?? 0, maximum: maximum)
            return quoted(content, mayBeEmpty: minimum ?? 0 == 0)
        }
        if hasLength { throw fail(place, "a length together with 'pattern' or 'format' is not supported") }
        do {
            let inner = try RegularExpression.pattern(source, isSearch: true, write: JSONGrammar.character)
            let mayBeEmpty = leadingSpace ? try GrammarMachine(Grammar([inner])).acceptsNothing : true
            return quoted(inner, mayBeEmpty: mayBeEmpty)
        } catch let error as InferenceError {
            throw fail(place + "/pattern", error.message)
        }
    }

    /// A string of this content.
    private func quoted(_ content: Pattern, mayBeEmpty: Bool) -> Pattern {
        let plain = Pattern.sequence([.text("\""), content, .text("\"")])
        guard leadingSpace else { return plain }
        let spaced = Pattern.sequence([.text("\" "), content, .text("\"")])
        return mayBeEmpty ? .choice([.text("\"\""), spaced]) : spaced
    }

    /// RFC 3339, RFC 5321 (the usual part), RFC 1123, RFC 2673, RFC 4291, RFC 4122.
    private static let formats: [String: String] = {
        let date = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
        let time =
            "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
        let byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
        let label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        let group = "[0-9A-Fa-f]{1,4}"
        let period = "[0-9]+"
        let clock = "T(?:\(period)H(?:\(period)M)?(?:\(period)S)?|\(period)M(?:\(period)S)?|\(period)S)"
        return [
            "date": date, "time": time, "date-time": "\(date)T\(time)",
            "duration":
                "P(?:\(period)W|(?:\(period)Y(?:\(period)M)?(?:\(period)D)?|\(period)M(?:\(period)D)?|\(period)D)(?:\(clock))?|\(clock))",
            "email": "[A-Za-z0-9._%+-]{1,64}@\(label)(?:\\.\(label)){1,8}", "hostname": "\(label)(?:\\.\(label)){0,8}",
            "ipv4": "\(byte)(?:\\.\(byte)){3}",
            "ipv6":
                "(?:(?:\(group):){7}\(group)|(?:\(group):){1,7}:|(?:\(group):){1,6}:\(group)|::(?:\(group)(?::\(group)){0,6})?)",
            "uuid": "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
        ]
    }()

    private mutating func number(_ schema: JSONValue, _ place: String, isInteger: Bool) throws -> Pattern {
        func bound(_ keyword: String, isExclusive: Bool) throws -> NumberRange.Bound? {
            guard let value = schema[keyword] else { return nil }
            guard case .number(let text) = value, let bound = NumberRange.Bound(text, isExclusive: isExclusive) else {
                throw fail("\(place)/\(keyword)", "expected a decimal number of at most 30 digits")
            }
            return bound
        }
        let low = try bound("exclusiveMinimum", isExclusive: true) ?? bound("minimum", isExclusive: false)
        let high = try bound("exclusiveMaximum", isExclusive: true) ?? bound("maximum", isExclusive: false)
        for (a, b) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")]
        where schema[a] != nil && schema[b] != nil {
            throw fail(place, "'\(a)' together with '\(b)' is not supported")
        }
        if let value = schema["multipleOf"] {
            guard low == nil, high == nil, isInteger, case .number(let text) = value, let step = Int(text),
                (1...1000).contains(step)
            else {
                throw fail(place + "/multipleOf", "is supported for integers without bounds, from 1 to 1000")
            }
            return step == 1 ? JSONGrammar.integer : try multiples(of: step)
        }
        guard low != nil || high != nil else { return isInteger ? JSONGrammar.integer : JSONGrammar.number }
        guard let range = NumberRange.pattern(low: low, high: high, isInteger: isInteger) else {
            throw fail(place, "no number lies between the bounds")
        }
        return range
    }

    /// Whole numbers that a step divides: one rule for each remainder of the digits so far.
    private mutating func multiples(of step: Int) throws -> Pattern {
        let key = "multiples of \(step)"
        let first = numbers[key] ?? patterns.count
        if numbers[key] == nil {
            numbers[key] = first
            for remainder in 0..<step {
                var choices: [Pattern] = (0...9).map { digit in
                    .sequence([.text(String(digit)), .rule(first + (remainder * 10 + digit) % step)])
                }
                if remainder == 0 { choices.append(.empty) }
                patterns.append(.choice(choices))
            }
        }
        let positive = Pattern.choice(
            (1...9).map { .sequence([.text(String($0)), .rule(first + $0 % step)]) })
        return .choice([.text("0"), .sequence([.optional(.text("-")), positive])])
    }

    /// The rule of any JSON value.
    private mutating func any() throws -> Int {
        if let anyValue { return anyValue }
        let number = patterns.count
        anyValue = number
        patterns.append(.empty)
        let value = Pattern.rule(number)
        let member = Pattern.sequence([JSONGrammar.string(), .text(":"), value])
        patterns[number] = .choice([
            JSONGrammar.string(), JSONGrammar.number, .text("true"), .text("false"), .text("null"),
            JSONGrammar.list(value, open: "[", close: "]", minimum: 0, maximum: nil),
            JSONGrammar.list(member, open: "{", close: "}", minimum: 0, maximum: nil),
        ])
        return number
    }
}
