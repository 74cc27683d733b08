internal import Foundation
internal import Tokenizers

/// A base model's vocabulary trimmed to a task, with tokens for what its answers are made of.
struct StudentVocabulary {
    var tokenizer: Tokenizer
    var format: TaskFormat
    /// For each token of the task, the base model's tokens that its embedding starts from: their mean.
    var origins: [[Int32]]
    /// Words of the language: tokens of the base that are a space and some small letters, without the rarest.
    var words: [String]

    /// Tokens of the base that are always kept: the most frequent of its training text come first.
    private static let alwaysKept: Int32 = 1500

    init(base: Tokenizer, task: TaskDefinition, data: Dataset) throws {
        let definition = base.definition
        func name(_ candidates: [String], or fallback: Int32?) throws -> Int32 {
            for candidate in candidates {
                if let id = base.id(of: candidate), definition.tokens[Int(id)].kind == .special { return id }
            }
            guard let fallback else {
                throw TaskError("the base model's tokenizer has no token that begins or ends a text")
            }
            return fallback
        }
        let start = try name(["<|im_start|>", "<|start_header_id|>"], or: definition.beginToken ?? definition.endToken)
        let end = try name(["<|im_end|>", "<|eot_id|>"], or: definition.endToken ?? definition.beginToken)

        words = definition.tokens.prefix(20_000).compactMap { token in
            guard token.kind == .normal, token.bytes.count >= 4, token.bytes[0] == UInt8(ascii: " "),
                token.bytes.dropFirst().allSatisfy({ (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) })
            else { return nil }
            return String(decoding: token.bytes.dropFirst(), as: UTF8.self)
        }
        let lowercases = task.kind == .text && AnswerCase.followsFromWords(data.train.map(\.output))
        let answers = data.train.map { TaskFormat.written($0.output, kind: task.kind) }
        let inputs = (data.train.map(\.input) + data.inputs).map { " " + (lowercases ? $0.lowercased() : $0) }
        var fragments: [String] = []
        switch task.kind {
        case .label: fragments = data.labels.map(TaskFormat.labelToken)
        case .json: fragments = AnswerFragments.json(answers)
        case .text: fragments = AnswerFragments.brackets(answers)
        }
        var kept = Set(0..<min(Self.alwaysKept, Int32(base.vocabularySize)))
        for text in inputs + (task.kind == .label ? [] : answers) { kept.formUnion(base.encode(text)) }
        var (trimmed, oldIDs) = try definition.trimmed(keeping: kept, specials: [start, end], adding: fragments)
        if task.kind == .text {
            let whole = try trimmed.extended(with: inputs + answers, count: 2000)
            oldIDs += [Int32?](repeating: nil, count: whole.tokens.count - trimmed.tokens.count)
            trimmed = whole
        }
        trimmed.endToken = oldIDs.firstIndex(of: end).map(Int32.init)
        trimmed.beginToken = oldIDs.firstIndex(of: start).map(Int32.init)
        let tokenizer = try Tokenizer(trimmed)
        self.tokenizer = tokenizer
        origins = oldIDs.enumerated().map { place, old in
            if let old { return [old] }
            return base.encode(AnswerFragments.meaning(tokenizer.decode([Int32(place)])))
        }
        format = TaskFormat(
            kind: task.kind, labels: data.labels, lowercases: lowercases,
            startToken: base.decode([start]), endToken: base.decode([end]), maximumAnswerTokens: 1)
        let longest = task.kind == .label ? 1 : answers.map { tokenizer.encode($0).count }.max() ?? 1
        format.maximumAnswerTokens = task.kind == .label ? 2 : min(512, longest * 5 / 4 + 8)
    }
}

/// The case of the words in a task's answers.
package enum AnswerCase {
    /// Whether the letters of a word tell its case: hardly a word of the answers is written in two ways. Inputs then say
    /// nothing with their case and are brought to lower case, so that a word is the same tokens however it is written.
    package static func followsFromWords(_ answers: [String]) -> Bool {
        var forms: [String: [Substring: Int]] = [:]
        var total = 0
        for word in answers.lazy.flatMap({ $0.split(whereSeparator: \.isWhitespace) }) {
            forms[word.lowercased(), default: [:]][word, default: 0] += 1
            total += 1
        }
        let usual = forms.values.reduce(0) { $0 + ($1.values.max() ?? 0) }
        let lower = forms.reduce(0) { $0 + ($1.value[Substring($1.key)] ?? 0) }
        return usual * 100 >= total * 99 && lower * 2 > total
    }
}

/// Pieces that occur again and again in a task's answers.
enum AnswerFragments {
    /// `{"key":`, `,"key":`, quotation marks and brackets, and whole `"key":"value"` pairs of keys whose values are few.
    static func json(_ answers: [String]) -> [String] {
        var pairs: [String: Int] = [:]
        var keys: [String: (count: Int, values: Set<String>)] = [:]
        var firsts: Set<String> = []
        for answer in answers {
            guard case .object(let members)? = try? JSONParser.parse(answer.utf8) else { continue }
            for (place, member) in members.enumerated() {
                let value = member.value.text
                keys[member.key, default: (0, [])].count += 1
                keys[member.key]!.values.insert(value)
                if place == 0 { firsts.insert(member.key) }
                pairs[(place == 0 ? "{" : ",") + quote(member.key) + ":" + value, default: 0] += 1
            }
        }
        var result = ["{}", "\"}", "}", "\"", "\","]
        for key in keys.keys.sorted() {
            for opening in firsts.contains(key) ? ["{", ","] : [","] {
                result.append(opening + quote(key) + ":")
                result.append(opening + quote(key) + ":\"")
            }
        }
        for (pair, count) in pairs.sorted(by: { $0.key < $1.key }) where count >= 3 && pair.utf8.count <= 80 {
            result.append(pair)
        }
        return result
    }

    private static func quote(_ text: String) -> String { JSONValue.string(text).text }

    /// The words of a fragment, which its embedding starts from: what all fragments share says nothing.
    static func meaning(_ fragment: String) -> String {
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
