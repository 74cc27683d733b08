package import Tensors

/// Writes words of an input in another way that the same answer belongs to: misspelt or cut short as words of the examples
/// are, two in one as theirs are, numbers with other digits.
///
/// For answers that are their inputs' words in order, put right. What is wrong with words is learnt from those that became
/// another one with nearly the same letters, or several.
package struct SpellingNoise: Sendable {
    /// Share of the rows that are changed.
    static let share: Float = 0.5
    /// Of how often a word is met it becomes the same.
    private static let steady = 0.9
    /// Share of the words without digits that become the same each time, for answers to count as their inputs' words in order.
    private static let least = 0.7
    /// Misspelt words to learn from.
    private static let fewest = 20
    /// Misspellings and words that are tried for a row.
    private static let tries = 8

    private let alignment: WordAlignment
    private let edits: [LetterEdits]
    private let joins: WordJoins
    /// Of the words put right, those that were several.
    private let joinShare: Float

    /// - Parameter lowercases: whether inputs are brought to lower case.
    /// - Returns: nil where answers are not their inputs' words in order, or hardly a word is misspelt.
    package init?(_ examples: [Example], lowercases: Bool) {
        alignment = WordAlignment(examples, lowercases: lowercases)
        let counts = alignment.counts
        var met = 0
        var steady = 0
        var misspelt = 0
        var edits: [LetterEdits] = []
        for (word, texts) in counts.words.sorted(by: { $0.key < $1.key }) where !word.contains(where: \.isNumber) {
            met += counts.totals[word] ?? 0
            // At most one: the others are too rare.
            guard let (text, count) = texts.first(where: { Self.isSteady(.init(word: word, text: $0.key), in: counts) })
            else { continue }
            steady += count
            if text.allSatisfy(\.isLetter), let edit = LetterEdits(from: text, to: word) {
                edits.append(edit)
                misspelt += count
            }
        }
        guard Double(steady) >= Self.least * Double(max(1, met)), edits.count >= Self.fewest else { return nil }
        self.edits = edits
        joins = WordJoins(counts)
        joinShare = Float(joins.count) / Float(joins.count + misspelt)
    }

    /// The example's input with a word or two written in another way; nil where that can't be.
    package func vary(_ example: Example, random: inout RandomNumbers) -> String? {
        var pairs = alignment.align(example)
        guard !pairs.isEmpty else { return nil }
        var isChanged = false
        for _ in 0..<Self.tries where !isChanged || random.below(Self.tries) == 0 {
            if random.uniform() < joinShare {
                if joins.join(&pairs, known: alignment.counts, random: &random) { isChanged = true }
                continue
            }
            let place = random.below(pairs.count)
            guard let word = rewriting(pairs[place], random: &random) else { continue }
            pairs[place].word = word
            isChanged = true
        }
        return isChanged ? pairs.map(\.word).joined(separator: " ") : nil
    }

    /// Another word for the same text.
    private func rewriting(_ pair: WordAlignment.Pair, random: inout RandomNumbers) -> String? {
        let (word, text) = (pair.word, pair.text)
        if word.contains(where: \.isNumber) {
            guard !text.isEmpty, !text.contains(where: \.isNumber) else { return nil }
            return String(word.map { $0.isASCII && $0.isNumber ? Character(String(random.below(10))) : $0 })
        }
        guard text.count >= LetterEdits.shortest, text.allSatisfy(\.isLetter),
            Self.isSteady(pair, in: alignment.counts),
            let written = edits[random.below(edits.count)].made(in: text), written.count > 1,
            // What is a word already has a meaning of its own.
            alignment.counts.words[written] == nil
        else { return nil }
        return written
    }

    /// Whether a word nearly always becomes this text, and not by chance: it has much of its letters, or was met more often.
    /// A word that no example has is right where it is copied.
    private static func isSteady(_ pair: WordAlignment.Pair, in counts: WordAlignment.Counts) -> Bool {
        let (word, text) = (pair.word, pair.text)
        if word == text, counts.totals[word] == nil { return true }
        guard !text.isEmpty, let seen = counts.words[word]?[text], let total = counts.totals[word],
            Double(seen) >= steady * Double(total), !word.contains(where: \.isNumber),
            !text.contains(where: { $0.isNumber || $0 == "<" })
        else { return false }
        return word == text || seen > 1 || WordAlignment.distance(word, text) <= 0.35
            || isAbbreviation(word, of: text)
    }

    /// Whether a text begins with the same letter and has all letters of a word in their order.
    private static func isAbbreviation(_ word: String, of text: String) -> Bool {
        var letters = word.lowercased().filter(\.isLetter)[...]
        let text = text.lowercased()
        guard letters.count >= 2, letters.first == text.first else { return false }
        for letter in text where letter == letters.first { letters.removeFirst() }
        return letters.isEmpty
    }
}
