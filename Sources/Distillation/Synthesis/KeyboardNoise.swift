package import Tensors

/// Slips of the keyboard: letters exchanged, left out, doubled, hit beside, spaces lost, capitals and marks dropped.
package struct KeyboardNoise: Sendable {
    package enum Slip: String, Sendable, CaseIterable {
        case exchanged
        case missing
        case doubled
        case beside
        case joined
        case lowercase
        case unmarked
    }

    /// The keys beside each letter (QWERTY).
    private static let beside: [Character: [Character]] = [
        "q": ["w", "a"], "w": ["q", "e", "s"], "e": ["w", "r", "d"], "r": ["e", "t", "f"], "t": ["r", "y", "g"],
        "y": ["t", "u", "h"], "u": ["y", "i", "j"], "i": ["u", "o", "k"], "o": ["i", "p", "l"], "p": ["o", "l"],
        "a": ["q", "s", "z"], "s": ["a", "d", "w", "x"], "d": ["s", "f", "e", "c"], "f": ["d", "g", "r", "v"],
        "g": ["f", "h", "t", "b"], "h": ["g", "j", "y", "n"], "j": ["h", "k", "u", "m"], "k": ["j", "l", "i"],
        "l": ["k", "o"], "z": ["a", "x"], "x": ["z", "c", "s"], "c": ["x", "v", "d"], "v": ["c", "b", "f"],
        "b": ["v", "n", "g"], "n": ["b", "m", "h"], "m": ["n", "j"],
    ]

    package init() {}

    /// A text with one to three slips, about one in eight words.
    ///
    /// - Parameter kept: words that stay as they are, in lower case, because the answer copies them.
    /// - Returns: nil where nothing can be changed.
    package func slipped(
        _ text: String, keeping kept: Set<String>, random: inout RandomNumbers
    ) -> (text: String, slips: [Slip])? {
        var words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        let wanted = max(1, min(3, words.count / 8 + random.below(2)))
        var slips: [Slip] = []
        for _ in 0..<(wanted * 8) where slips.count < wanted {
            let slip = Slip.allCases[random.below(Slip.allCases.count)]
            guard !slips.contains(slip) else { continue }
            switch slip {
            case .lowercase, .unmarked:
                let changed = words.map { word in
                    if Self.isKept(word, kept) { return word }
                    return slip == .lowercase ? word.lowercased() : word.filter { !",.?!;'’".contains($0) }
                }
                guard changed != words else { continue }
                words = changed
            case .joined:
                guard words.count > 2 else { continue }
                let place = random.below(words.count - 1)
                guard !words[place].isEmpty, !words[place + 1].isEmpty, !Self.isKept(words[place], kept),
                    !Self.isKept(words[place + 1], kept)
                else { continue }
                words[place] += words.remove(at: place + 1)
            default:
                let place = random.below(words.count)
                guard !Self.isKept(words[place], kept),
                    let changed = Self.changed(words[place], slip, random: &random)
                else { continue }
                words[place] = changed
            }
            slips.append(slip)
        }
        let result = words.joined(separator: " ")
        return result == text || slips.isEmpty ? nil : (result, slips)
    }

    /// Whether a word has a number or is copied by the answer.
    private static func isKept(_ word: String, _ kept: Set<String>) -> Bool {
        word.contains(where: \.isNumber) || NormalText(word).words.contains { kept.contains($0) }
    }

    /// A word of at least four letters, with a slip behind its first letter.
    private static func changed(_ word: String, _ slip: Slip, random: inout RandomNumbers) -> String? {
        var letters = Array(word)
        guard letters.count >= 4, letters.allSatisfy(\.isLetter) else { return nil }
        let place = 1 + random.below(letters.count - 2)
        switch slip {
        case .exchanged:
            guard letters[place] != letters[place + 1] else { return nil }
            letters.swapAt(place, place + 1)
        case .missing: letters.remove(at: place)
        case .doubled: letters.insert(letters[place], at: place)
        default:
            guard let keys = beside[letters[place]] else { return nil }
            letters[place] = keys[random.below(keys.count)]
        }
        return String(letters)
    }
}
