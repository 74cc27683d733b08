public import Tokenizers

/// What an answer may look like: a regular expression, a JSON Schema, any JSON. Immutable; use one for many requests, so
/// that what was worked out for the first serves the others.
public struct Constraint: Sendable {
    let grammar: Grammar
    /// Two constraints of the same key are the same.
    let key: String
    /// Whether bytes that must come are appended without asking the model. That is quick, but cuts them as any text is
    /// cut: a model that learnt to write them in other pieces does better without.
    public var appendsForced = true

    private init(key: String, rules: [Pattern]) throws {
        grammar = try Grammar(rules)
        self.key = key
    }

    /// The whole answer matches the expression.
    ///
    /// - Throws: `InferenceError` that says where and what is wrong or not supported.
    public init(regularExpression: String) throws {
        try self.init(key: "regex:" + regularExpression, rules: [try RegularExpression.pattern(regularExpression)])
    }

    /// The answer is a JSON value of this schema, without spaces between its parts, keys in the schema's order.
    ///
    /// - Parameter leadingSpace: whether strings are written with a space before them, but for empty ones. What the schema
    ///   says about them is meant without it.
    /// - Throws: `InferenceError` with the place in the schema.
    public init(jsonSchema: JSONValue, leadingSpace: Bool = false) throws {
        var compiler = JSONSchemaCompiler(jsonSchema, leadingSpace: leadingSpace)
        let key = (leadingSpace ? "spaced schema:" : "schema:") + jsonSchema.text
        try self.init(key: key, rules: try compiler.rules())
    }

    /// One of these texts.
    ///
    /// - Throws: `InferenceError` when there are none, or too many.
    public init(oneOf texts: [String]) throws {
        guard !texts.isEmpty else { throw InferenceError(.unsupportedConstraint, "no choices are given") }
        try self.init(
            key: "choice:" + JSONValue.array(texts.map { .string($0) }).text, rules: [.choice(texts.map { .text($0) })])
    }

    /// Whether a whole text fits.
    public func matches(_ text: some Sequence<UInt8>) -> Bool {
        let machine = GrammarMachine(grammar)
        return machine.state(after: text, from: machine.start).map(machine.isAccepting) ?? false
    }

    /// Any JSON value, without spaces between its parts.
    public static let json = Constraint.built(object: false)
    /// Any JSON object, without spaces between its parts.
    public static let jsonObject = Constraint.built(object: true)

    private static func built(object: Bool) -> Constraint {
        let schema = JSONValue.object(object ? [("type", .string("object"))] : [])
        // Both are known to compile: the tests do it.
        return try! Constraint(jsonSchema: schema)
    }
}
