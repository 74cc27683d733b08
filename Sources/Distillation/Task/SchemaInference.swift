internal import Tokenizers

/// A JSON Schema that all of a task's answers fit, guessed from them: keys, types, which keys are always there, and the
/// values where there are few.
///
/// It says what answers have looked like, not what they may be: it helps to ask a teacher, and holds no student.
package struct SchemaInference {
    /// Fewer answers say too little.
    package static let leastAnswers = 50
    private static let mostAnswers = 5000
    private static let mostValues = 32
    /// A value that was seen less often makes others likely that were not seen.
    private static let leastOccurrences = 3
    private static let depthLimit = 20

    /// - Returns: nil where there are too few answers, or where no constraint can be made of it.
    package static func schema(_ examples: [Example]) -> AnswerSchema? {
        guard examples.count >= leastAnswers else { return nil }
        var root = Seen()
        for example in examples.prefix(mostAnswers) {
            guard let value = try? JSONParser.parse(example.output.utf8) else { return nil }
            root.add(value, input: example.input.lowercased(), depth: 0)
        }
        return try? AnswerSchema(root.schema)
    }

    /// What was seen at one place.
    private struct Seen {
        var count = 0
        /// Types but objects and arrays.
        var types: [String: Int] = [:]
        var texts: [String: Int] = [:]
        /// Texts that the input has, too.
        var copies = 0
        var objects = 0
        var keys: [String] = []
        var members: [String: Seen] = [:]
        var arrays = 0
        /// What the arrays have; one at most.
        var elements: [Seen] = []
        var isTooDeep = false

        mutating func add(_ value: JSONValue, input: String, depth: Int) {
            count += 1
            guard depth < SchemaInference.depthLimit else {
                isTooDeep = true
                return
            }
            switch value {
            case .null: types["null", default: 0] += 1
            case .bool: types["boolean", default: 0] += 1
            case .number(let text):
                types[text.contains { ".eE".contains($0) } ? "number" : "integer", default: 0] += 1
            case .string(let text):
                types["string", default: 0] += 1
                if texts.count <= SchemaInference.mostValues { texts[text, default: 0] += 1 }
                if input.contains(text.lowercased()) { copies += 1 }
            case .object(let list):
                objects += 1
                for member in list {
                    if members[member.key] == nil { keys.append(member.key) }
                    members[member.key, default: Seen()].add(member.value, input: input, depth: depth + 1)
                }
            case .array(let values):
                arrays += 1
                if elements.isEmpty { elements = [Seen()] }
                for value in values { elements[0].add(value, input: input, depth: depth + 1) }
            }
        }

        var schema: JSONValue {
            if isTooDeep { return .bool(true) }
            var choices: [JSONValue] = []
            func add(_ type: String, _ members: [(key: String, value: JSONValue)] = []) {
                choices.append(.object([("type", .string(type))] + members))
            }
            if objects > 0 {
                let always = keys.filter { members[$0]!.count == objects }
                add(
                    "object",
                    [
                        ("properties", .object(keys.map { ($0, members[$0]!.schema) })),
                        ("required", .array(always.map { .string($0) })),
                        ("additionalProperties", .bool(!isClosed)),
                    ])
            }
            if arrays > 0 {
                let element = elements.first { $0.count > 0 }
                add("array", element.map { [("items", $0.schema)] } ?? [])
            }
            if types["string"] != nil {
                if isChoice {
                    choices.append(.object([("enum", .array(texts.keys.sorted().map { .string($0) }))]))
                } else {
                    add("string")
                }
            }
            for type in ["number", "integer", "boolean", "null"] where types[type] != nil {
                // Whole numbers are numbers, too.
                if type != "integer" || types["number"] == nil { add(type) }
            }
            switch choices.count {
            case 0: return .bool(true)
            case 1: return choices[0]
            default: return .object([("anyOf", .array(choices))])
            }
        }

        /// Whether no other keys are to be expected.
        private var isClosed: Bool { members.values.allSatisfy { $0.count >= SchemaInference.leastOccurrences } }

        /// Whether the texts are chosen from a few, and not copied.
        private var isChoice: Bool {
            copies == 0 && texts.count <= SchemaInference.mostValues
                && texts.values.allSatisfy { $0 >= SchemaInference.leastOccurrences }
        }
    }
}
