/// Tells inputs that could be a task's from what a model writes when it does something else: too short or too long, in
/// another script, repeating itself, or talking about the job instead of doing it. All bounds come from real inputs.
package struct InputFilter: Sendable {
    package enum Problem: String, Sendable, Hashable, Codable {
        case short
        case long
        case script
        case marks
        case repetition
        case chatter
    }

    private let characters: ClosedRange<Int>
    /// Scripts that real inputs are written in.
    private let scripts: Set<Script>
    /// The least share of letters, numbers and spaces.
    private let leastPlain: Double
    private let beginnings: [String]

    /// - Parameter real: inputs of the task.
    package init(_ real: [String]) {
        let lengths = real.map(\.count).sorted()
        let shortest = lengths.isEmpty ? 1 : lengths[lengths.count / 100]
        let longest = lengths.last ?? 4000
        characters = max(1, shortest / 2)...max(40, longest * 3 / 2)
        var counts: [Script: Int] = [:]
        for text in real { for (script, count) in Script.counts(text) { counts[script, default: 0] += count } }
        let all = counts.values.reduce(0, +)
        scripts = Set(counts.filter { $0.value * 20 >= all }.keys)
        let plain = real.map(Self.plainShare).sorted()
        leastPlain = plain.isEmpty ? 0.5 : min(0.7, 0.8 * plain[plain.count / 100])
        // "I cannot find my card" is no chatter where customers write like that.
        let starts = real.map { Self.start($0) }
        beginnings = Self.allBeginnings.filter { beginning in !starts.contains { $0.hasPrefix(beginning) } }
    }

    /// What is wrong with a text; nil for nothing.
    package func problem(_ text: String) -> Problem? {
        let count = text.count
        if count < characters.lowerBound || !text.contains(where: { !$0.isWhitespace }) { return .short }
        if count > characters.upperBound { return .long }
        let letters = Script.counts(text)
        let all = letters.values.reduce(0, +)
        let known = letters.reduce(0) { $0 + (scripts.contains($1.key) ? $1.value : 0) }
        if !scripts.isEmpty, all > 0, Double(known) < 0.8 * Double(all) { return .script }
        if Self.plainShare(text) < leastPlain { return .marks }
        if Self.repeats(text) { return .repetition }
        if chatters(text) { return .chatter }
        return nil
    }

    private static func plainShare(_ text: String) -> Double {
        Double(text.count { $0.isLetter || $0.isNumber || $0.isWhitespace }) / Double(max(1, text.count))
    }

    /// One character eight times on end, or one word, or one pair of words, that is most of the text.
    private static func repeats(_ text: String) -> Bool {
        var run = 0
        var last: Character?
        for character in text {
            run = character == last ? run + 1 : 1
            last = character
            if run >= 8, !character.isNumber { return true }
        }
        let words = NormalText(text).words
        guard words.count >= 6 else { return false }
        let pairs = zip(words, words.dropFirst()).map { $0 + " " + $1 }
        return [words, pairs].contains { terms in
            let counts = Dictionary(terms.map { ($0, 1) }, uniquingKeysWith: +)
            return (counts.values.max() ?? 0) * 2 > terms.count
        }
    }

    /// What models say around what they were asked for.
    private static let allBeginnings = [
        "sure ", "certainly ", "of course here", "here is a ", "here are ", "here s a ", "as an ai", "i m sorry but",
        "i cannot ", "note that this", "the input ", "input ", "output ", "rewritten ", "new input", "json ",
    ]

    private static func start(_ text: String) -> String { NormalText(String(text.prefix(80))).text + " " }

    private func chatters(_ text: String) -> Bool {
        let start = Self.start(text)
        return beginnings.contains { start.hasPrefix($0) } || text.contains("```") || text.contains("{\"input\"")
    }

    /// Families of letters, roughly.
    private enum Script: Hashable {
        case latin, greek, cyrillic, hebrew, arabic, indic, thai, kana, hangul, han, other

        static func counts(_ text: String) -> [Script: Int] {
            var counts: [Script: Int] = [:]
            for scalar in text.unicodeScalars where scalar.properties.isAlphabetic {
                counts[Script(scalar), default: 0] += 1
            }
            return counts
        }

        init(_ scalar: Unicode.Scalar) {
            switch scalar.value {
            case 0x41...0x24F, 0x1E00...0x1EFF, 0xFF21...0xFF5A: self = .latin
            case 0x370...0x3FF, 0x1F00...0x1FFF: self = .greek
            case 0x400...0x52F: self = .cyrillic
            case 0x590...0x5FF: self = .hebrew
            case 0x600...0x77F, 0x8A0...0x8FF, 0xFB50...0xFDFF, 0xFE70...0xFEFF: self = .arabic
            case 0x900...0xDFF: self = .indic
            case 0xE00...0xE7F: self = .thai
            case 0x3040...0x30FF, 0x31F0...0x31FF: self = .kana
            case 0x1100...0x11FF, 0x3130...0x318F, 0xAC00...0xD7AF: self = .hangul
            case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x3FFFF: self = .han
            default: self = .other
            }
        }
    }
}
