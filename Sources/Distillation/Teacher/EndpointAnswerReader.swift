internal import Foundation
package import OpenAI
internal import Tokenizers

/// Reads what a teacher wrote: finds the label, the labels or the JSON in it, and its probability.
package struct EndpointAnswerReader: Sendable {
    package struct Reading: Sendable, Hashable {
        /// The answer in the form in which the task keeps it.
        package var output: String
        /// The probability the teacher gives to the answer; 1 where the endpoint does not say.
        package var confidence: Double
        /// Labels with their probabilities, the most probable first; empty where the endpoint does not say.
        package var distribution: [LabelProbability]
        /// Whether the answer was not as asked for and had to be found in what was written.
        package var isRepaired: Bool
    }

    package struct LabelProbability: Sendable, Hashable {
        package var label: String
        package var probability: Double
    }

    private let kind: TaskDefinition.OutputKind
    private let labels: [String]
    private let byNormal: [String: String]
    /// Lower case letters and numbers of each label with spaces around and between, longest first.
    private let padded: [(text: String, label: String)]
    private let form: AnswerForm

    /// - Parameter schema: what JSON answers and tool calls must be; nil: any.
    package init(kind: TaskDefinition.OutputKind, labels: [String], schema: AnswerSchema? = nil) {
        self.kind = kind
        form = AnswerForm(kind: kind, labels: labels, schema: schema)
        self.labels = labels
        byNormal = Dictionary(labels.map { (Self.normal($0), $0) }, uniquingKeysWith: { first, _ in first })
        padded = labels.map { (" " + Self.normal($0) + " ", $0) }
            .sorted { ($0.text.count, $1.text) > ($1.text.count, $0.text) }
    }

    /// - Returns: nil when the answer cannot be read.
    package func read(_ answer: ChatAnswer) -> Reading? {
        let text = answer.text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !text.isEmpty || !answer.toolCalls.isEmpty, answer.refusal == nil,
            answer.finishReason != "content_filter"
        else { return nil }
        let confidence = Self.probability(answer)
        switch kind {
        case .text:
            // A text that was cut off is another text.
            guard !text.isEmpty, answer.finishReason != "length" else { return nil }
            return Reading(output: text, confidence: confidence, distribution: [], isRepaired: false)
        case .json, .labels, .tool:
            if text.isEmpty, let output = called(answer) {
                return Reading(output: output, confidence: confidence, distribution: [], isRepaired: true)
            }
            if let value = try? JSONParser.parse(text.utf8), let output = output(value) {
                let isRepaired = kind != .json && output != value.text
                return Reading(output: output, confidence: confidence, distribution: [], isRepaired: isRepaired)
            }
            // Closing what was cut off would make another answer of it.
            guard answer.finishReason != "length", let output = found(in: text) else { return nil }
            return Reading(output: output, confidence: confidence, distribution: [], isRepaired: true)
        case .label:
            guard let label = label(in: text) else { return nil }
            let distribution = distribution(answer, label: label)
            let own = distribution.first { $0.label == label }?.probability
            return Reading(
                output: label, confidence: own ?? confidence, distribution: distribution, isRepaired: label != text)
        }
    }

    /// The answer as the task keeps it, from a text that may have words around it; nil where it is none.
    package func output(written text: String) -> String? {
        (try? JSONParser.parse(text.utf8)).flatMap(output) ?? found(in: text)
    }

    /// The answer as the task keeps it, from the value that was written for it; nil where it is none.
    func output(_ value: JSONValue) -> String? {
        switch kind {
        case .label: value.stringValue.flatMap { label(in: $0) }
        case .labels: labels(in: value).map { LabelSet.text($0, order: labels) }
        case .text: value.stringValue.map(\.trimmed).flatMap { $0.isEmpty ? nil : $0 }
        case .json, .tool: try? form.text(value)
        }
    }

    /// The answer in what was written around it.
    private func found(in text: String) -> String? {
        if let output = JSONRepair.value(in: text).flatMap(output) { return output }
        guard kind == .labels else { return nil }
        if Self.normal(text) == "none", byNormal["none"] == nil { return LabelSet.text([], order: labels) }
        // Labels one after another, without brackets.
        let parts = text.split { $0 == "," || $0.isNewline }.map { String($0).trimmed }
        return output(.array(parts.map { .string($0) }))
    }

    /// The tool that was called instead of written.
    private func called(_ answer: ChatAnswer) -> String? {
        guard kind == .tool, answer.toolCalls.count == 1 else { return nil }
        let call = answer.toolCalls[0]
        return output(.object([("name", .string(call.name)), ("arguments", .string(call.arguments))]))
    }

    /// The labels of a list, or of the only list in an object; nil where something in it is none.
    private func labels(in value: JSONValue) -> [String]? {
        if case .object(let members) = value {
            let lists = members.map(\.value).filter { if case .array = $0 { true } else { false } }
            return lists.count == 1 ? labels(in: lists[0]) : nil
        }
        guard let names = LabelSet.labels(value) else { return nil }
        let found = names.compactMap { label(in: $0) }
        return found.count == names.count ? found : nil
    }

    /// The probability of the whole answer.
    private static func probability(_ answer: ChatAnswer) -> Double {
        answer.tokens.isEmpty ? 1 : exp(answer.tokens.reduce(0) { $0 + $1.logProbability })
    }

    /// Letters and numbers in lower case, everything between them a space.
    private static func normal(_ text: String) -> String {
        text.lowercased().split { !$0.isLetter && !$0.isNumber }.joined(separator: " ")
    }

    // MARK: Labels

    func label(in text: String) -> String? {
        if labels.isEmpty || labels.contains(text) { return text }
        let normal = Self.normal(text)
        if let label = byNormal[normal] { return label }
        // {"label": "…"} and the like.
        if let value = JSONRepair.value(in: text) {
            var strings: [String] = []
            if case .string(let text) = value { strings = [text] }
            if case .object(let members) = value { strings = members.compactMap { $0.value.stringValue } }
            let found = Set(strings.compactMap { byNormal[Self.normal($0)] })
            if found.count == 1 { return found.first }
        }
        // Named in prose: the only one, or the only one that another one's name is not a part of.
        var rest = " " + normal + " "
        var found: [String] = []
        for (text, label) in padded where text.count > 2 && rest.contains(text) {
            found.append(label)
            rest = rest.replacing(text, with: " \u{0} ")
        }
        if found.count == 1 { return found[0] }
        guard found.isEmpty, text.count <= 64 else { return nil }
        // A slip of the pen, when there is only one label near.
        return Similarity.nearest(normal, in: Array(byNormal.keys).sorted()).flatMap { byNormal[$0] }
    }

    /// The labels' probabilities, from the alternatives at each token: whatever goes another way counts for the labels
    /// that begin like it, in equal parts.
    func distribution(_ answer: ChatAnswer, label: String) -> [LabelProbability] {
        guard answer.tokens.contains(where: { !$0.alternatives.isEmpty }) else { return [] }
        var shares: [String: Double] = [:]
        var prefix = ""
        var reached = 1.0
        for token in answer.tokens {
            for other in token.alternatives where other.text != token.text {
                let candidates = beginning(with: prefix + other.text)
                let share = reached * exp(other.logProbability) / Double(max(1, candidates.count))
                for candidate in candidates { shares[candidate, default: 0] += share }
            }
            prefix += token.text
            reached *= exp(token.logProbability)
            // Nothing is left to choose.
            if beginning(with: prefix) == [label] { break }
        }
        shares[label, default: 0] += reached
        let sum = shares.values.reduce(0, +)
        guard sum > 0, sum.isFinite else { return [] }
        return shares.map { LabelProbability(label: $0.key, probability: $0.value / sum) }
            .sorted { ($0.probability, $1.label) > ($1.probability, $0.label) }
    }

    private func beginning(with text: String) -> [String] {
        let start = text.lowercased().drop { !$0.isLetter && !$0.isNumber }
        return start.isEmpty ? [] : labels.filter { $0.lowercased().hasPrefix(start) }
    }
}

/// Finds JSON in what a model wrote around it.
enum JSONRepair {
    /// The first JSON value of a text: in a fence, in prose, with commas too many, or with its brackets not closed.
    static func value(in text: String) -> JSONValue? {
        let bytes = Array(text.utf8)
        var start = 0
        var tries = 0
        while tries < 32, start < bytes.count,
            let open = bytes[start...].firstIndex(where: { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "[") })
        {
            let (end, closers) = extent(bytes, from: open)
            let slice = Array(bytes[open..<end])
            if let value = parse(slice + closers) { return value }
            start = open + 1
            tries += 1
        }
        return nil
    }

    private static func parse(_ bytes: [UInt8]) -> JSONValue? {
        if let value = try? JSONParser.parse(bytes) { return value }
        return try? JSONParser.parse(withoutSpareCommas(bytes))
    }

    /// Where the value that begins there ends, and what is missing to close it.
    private static func extent(_ bytes: [UInt8], from open: Int) -> (end: Int, closers: [UInt8]) {
        var closers: [UInt8] = []
        var inString = false
        var escaped = false
        for place in open..<bytes.count {
            let byte = bytes[place]
            if escaped {
                escaped = false
            } else if inString {
                if byte == UInt8(ascii: "\\") { escaped = true }
                if byte == UInt8(ascii: "\"") { inString = false }
            } else {
                switch byte {
                case UInt8(ascii: "\""): inString = true
                case UInt8(ascii: "{"): closers.append(UInt8(ascii: "}"))
                case UInt8(ascii: "["): closers.append(UInt8(ascii: "]"))
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    guard closers.popLast() == byte else { return (place, []) }
                    if closers.isEmpty { return (place + 1, []) }
                default: break
                }
            }
        }
        // In the middle of a string nothing is certain.
        return (bytes.count, inString ? [] : closers.reversed())
    }

    /// Leaves out commas before a closing bracket.
    private static func withoutSpareCommas(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var inString = false
        var escaped = false
        for byte in bytes {
            if escaped {
                escaped = false
            } else if inString {
                if byte == UInt8(ascii: "\\") { escaped = true }
                if byte == UInt8(ascii: "\"") { inString = false }
            } else if byte == UInt8(ascii: "\"") {
                inString = true
            } else if byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") {
                while let last = result.last, [0x20, 0x09, 0x0A, 0x0D, UInt8(ascii: ",")].contains(last) {
                    result.removeLast()
                }
            }
            result.append(byte)
        }
        return result
    }
}
