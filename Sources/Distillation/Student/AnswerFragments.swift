internal import Tokenizers

/// Pieces that occur again and again in a task's answers.
package enum AnswerFragments {
    /// What JSON is built of, at any depth: `{"key":`, `,"key":"`, closing brackets, and whole `"key":"value"` pairs where
    /// values are chosen. Those that are copied from the input stay words.
    package static func json(_ rows: [(input: String, answer: String)]) -> [String] {
        var pieces = JSONPieces()
        for row in rows {
            if let value = try? JSONParser.parse(row.answer.utf8) {
                pieces.add(value, depth: 0, input: row.input.lowercased())
            }
        }
        return pieces.fragments
    }

    /// The keys and brackets of a set of answers.
    private struct JSONPieces {
        private struct Key {
            var count = 0
            var openings: Set<String> = []
            /// Its values that are no objects or arrays, as they are written, with how often.
            var values: [String: Int] = [:]
            var hasText = false
            /// How many of its values are in the input.
            var copies = 0
        }
        private var keys: [String: Key] = [:]
        private var depth = 0

        /// The most keys that get tokens, and the longest pair in bytes.
        private static let most = 1000
        private static let longest = 80

        mutating func add(_ value: JSONValue, depth: Int, input: String) {
            switch value {
            case .object(let members):
                self.depth = max(self.depth, depth + 1)
                for (place, member) in members.enumerated() {
                    keys[member.key, default: Key()].count += 1
                    keys[member.key]!.openings.insert(place == 0 ? "{" : ",")
                    switch member.value {
                    case .object, .array: add(member.value, depth: depth + 1, input: input)
                    default:
                        let text = member.value.stringValue
                        if text != nil { keys[member.key]!.hasText = true }
                        let words = (text ?? member.value.text).lowercased().drop { $0 == " " }
                        if input.contains(words) { keys[member.key]!.copies += 1 }
                        keys[member.key]!.values[member.value.text, default: 0] += 1
                    }
                }
            case .array(let elements):
                for element in elements { add(element, depth: depth + 1, input: input) }
            default: break
            }
        }

        var fragments: [String] {
            var result = ["{}", "\"", "\",", "\"]", "\"]}", "]}"]
            for count in 1...max(1, min(8, depth)) {
                let closing = String(repeating: "}", count: count)
                result += [closing, "\"" + closing, "{}" + closing]
            }
            let usual = keys.sorted { ($1.value.count, $0.key) < ($0.value.count, $1.key) }.prefix(Self.most)
            for (name, key) in usual.sorted(by: { $0.key < $1.key }) {
                let isChoice = key.copies * 2 < key.values.values.reduce(0, +)
                for opening in key.openings.sorted() {
                    result.append(opening + quote(name) + ":")
                    if key.hasText { result.append(opening + quote(name) + ":\"") }
                    for (value, count) in key.values.sorted(by: { $0.key < $1.key }) where isChoice && count >= 3 {
                        let pair = opening + quote(name) + ":" + value
                        if pair.utf8.count <= Self.longest { result.append(pair) }
                    }
                }
            }
            return result
        }
    }

    private static func quote(_ text: String) -> String { JSONValue.string(text).text }

    /// The words of a fragment, which its embedding starts from: what all fragments share says nothing.
    package static func meaning(_ fragment: String) -> String {
        if fragment.hasPrefix("→") { return " " + fragment.dropFirst().replacing("_", with: " ") }
        let strings = fragment.split(separator: "\"", omittingEmptySubsequences: false)
        // {"key":"value" has five parts, {"key": has three.
        guard strings.count >= 3, fragment.hasPrefix("{") || fragment.hasPrefix(",") else { return fragment }
        let words = strings.count >= 5 ? strings[3] : strings[1]
        return words.isEmpty ? fragment : " " + words.drop { $0 == " " }.replacing("_", with: " ")
    }

    /// Words in angle brackets, such as `<number>`.
    static func brackets(_ answers: [String]) -> [String] {
        var counts: [String: Int] = [:]
        for answer in answers {
            for word in answer.split(separator: " ") where word.hasPrefix("<") && word.hasSuffix(">") && word.count > 2
            {
                counts[String(word), default: 0] += 1
            }
        }
        return counts.filter { $0.value >= 5 }.keys.sorted()
    }
}
