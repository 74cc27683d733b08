internal import Tokenizers

/// One thing to ask a teacher to make up.
package struct SynthesisRequest: Sendable, Hashable {
    package var method: SynthesisMethod
    package var variant: String
    package var system: String
    package var user: String
    package var seed: Int
    /// Inputs it shows.
    package var parents: [String]
    /// The answer all rows must have; nil: each comes with its own.
    package var expected: String?
    /// Rows asked for.
    package var count: Int

    package init(
        method: SynthesisMethod, variant: String, system: String, user: String, seed: Int, parents: [String],
        expected: String?, count: Int
    ) {
        self.method = method
        self.variant = variant
        self.system = system
        self.user = user
        self.seed = seed
        self.parents = parents
        self.expected = expected
        self.count = count
    }
}

/// A row as a teacher made it up, before anybody checked it.
package struct SynthesisCandidate: Sendable, Hashable {
    package var input: String
    /// The answer it was made with.
    package var expected: String?
    package var request: SynthesisRequest
}

/// Reads what a teacher made up: a JSON object with `rows`, a list, objects one a line, or plain lines.
package struct SynthesisReader: Sendable {
    private let answers: EndpointAnswerReader

    package init(kind: TaskDefinition.OutputKind, labels: [String], schema: AnswerSchema? = nil) {
        answers = EndpointAnswerReader(kind: kind, labels: labels, schema: schema)
    }

    /// At most as many rows as were asked for, twice.
    package func candidates(_ text: String, for request: SynthesisRequest) -> [SynthesisCandidate] {
        var found: [(input: String, output: String?)] = []
        for value in values(text) { collect(value, into: &found) }
        if found.isEmpty, request.expected != nil, !text.contains("{") { found = lines(text).map { ($0, nil) } }
        return found.prefix(request.count * 2).compactMap { row in
            let input = row.input.split(whereSeparator: \.isNewline).joined(separator: "\n").trimmed
            guard !input.isEmpty, request.method != .dialogue || Self.asks(Conversation(input)) else { return nil }
            return SynthesisCandidate(input: input, expected: request.expected ?? row.output, request: request)
        }
    }

    /// Whether there is a conversation that the assistant has not answered yet.
    private static func asks(_ conversation: Conversation?) -> Bool {
        conversation.map { $0.messages.last?.role != "assistant" } ?? false
    }

    private func values(_ text: String) -> [JSONValue] {
        if let whole = try? JSONParser.parse(text.utf8) { return [whole] }
        let lines = text.split(whereSeparator: \.isNewline).compactMap { line -> JSONValue? in
            guard case .object(let members)? = try? JSONParser.parse(line.utf8) else { return nil }
            return .object(members)
        }
        return lines.isEmpty ? JSONRepair.value(in: text).map { [$0] } ?? [] : lines
    }

    private func collect(_ value: JSONValue, into found: inout [(input: String, output: String?)]) {
        switch value {
        case .array(let elements):
            for element in elements {
                if case .string(let text) = element {
                    found.append((text, nil))
                } else {
                    collect(element, into: &found)
                }
            }
        case .object(let members):
            let conversation = value["input"].flatMap { Conversation($0) }?.text
            if let input = value["input"]?.stringValue ?? conversation {
                found.append((input, value["output"].flatMap { answers.output($0) }))
            } else {
                for member in members {
                    if case .array = member.value { collect(member.value, into: &found) }
                }
            }
        default: break
        }
    }

    /// Lines without numbers and dashes at their beginning.
    private func lines(_ text: String) -> [String] {
        text.split(whereSeparator: \.isNewline).map { line in
            var rest = line.drop { $0.isWhitespace }
            let digits = rest.prefix { $0.isNumber }
            if !digits.isEmpty, let mark = rest.dropFirst(digits.count).first, ".):".contains(mark) {
                rest = rest.dropFirst(digits.count + 1)
            } else if let first = rest.first, "-*•".contains(first) {
                rest = rest.dropFirst()
            }
            return String(rest).trimmed.trimmingPair("\"")
        }
        .filter { !$0.isEmpty && !$0.hasSuffix(":") }
    }
}

extension String {
    /// Without outer spaces.
    var trimmed: String {
        let start = drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...last])
    }

    /// Without a mark that stands at both ends.
    fileprivate func trimmingPair(_ mark: Character) -> String {
        count > 1 && first == mark && last == mark ? String(dropFirst().dropLast()) : self
    }
}
