package import Tokenizers

/// Answers that are sets of labels.
package enum LabelSet {
    /// The form they are kept in: a JSON list without spaces, each label once.
    ///
    /// - Parameter order: the task's labels; empty: the alphabet's order.
    package static func text(_ labels: some Sequence<String>, order: [String]) -> String {
        let wanted = Set(labels)
        let known = order.filter(wanted.contains)
        let others = known.count == wanted.count ? [] : wanted.subtracting(known).sorted()
        return JSONValue.array((known + others).map { .string($0) }).text
    }

    /// The schema of lists of these labels.
    package static func schema(_ labels: [String]) -> JSONValue {
        .object([
            ("type", .string("array")), ("items", .object([("enum", .array(labels.map { .string($0) }))])),
            ("maxItems", .number(String(min(labels.count, 10_000)))),
        ])
    }

    /// The labels of an answer in that form, in its order; none where it is in another one.
    package static func labels(_ text: String) -> [String] {
        (try? JSONParser.parse(text.utf8)).flatMap(labels) ?? []
    }

    /// The labels of a list, or of one label alone; nil where it is neither.
    package static func labels(_ value: JSONValue) -> [String]? {
        switch value {
        case .string(let label): return [label]
        case .array(let values):
            let labels = values.compactMap(\.stringValue)
            return labels.count == values.count ? labels : nil
        default: return nil
        }
    }
}
