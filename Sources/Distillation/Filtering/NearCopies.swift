/// Finds texts of which another one is a copy with few changes: other spellings, other words, another order.
///
/// Two texts are near when all but a fifth of their words are the same, in whatever order, or when at most a quarter of
/// their letters must be changed to make one of the other (Levenshtein's distance, in the order of both and with their
/// words sorted). A fifth of the letters changed at random makes most words other ones, which is why letters have more.
struct NearCopies: Sendable {
    /// The share of a text's words that may differ.
    private static let wordShare = 0.2
    /// Of its letters; of texts with few words, in which a word makes another text.
    private static let letterShare = 0.25
    private static let shortLetterShare = 0.2
    /// A text of fewer words has few.
    private static let fewWords = 5
    /// Longer texts are compared by their words alone.
    private static let mostLetters = 400

    private struct Held: Sendable {
        var words: Int
        /// In the text's order, and with its words sorted; empty where there are too many.
        var letters: [[Unicode.Scalar]]
        var histogram: LetterHistogram
    }

    private var held: [Held] = []
    /// The texts with a word, and how often it is in each.
    private var places: [String: [(text: Int32, count: Int32)]] = [:]

    mutating func insert(_ text: NormalText) {
        for (word, count) in Self.counts(text) {
            places[word, default: []].append((Int32(held.count), count))
        }
        let letters = Self.letters(text)
        held.append(Held(words: text.words.count, letters: letters, histogram: .init(letters.first ?? [])))
    }

    /// The nearest of the texts that are near, by the share that is the same.
    func match(_ text: NormalText) -> (number: Int, similarity: Double)? {
        var best: (number: Int, similarity: Double)?
        func offer(_ number: Int, _ similarity: Double) {
            if similarity > best?.similarity ?? 0 { best = (number, similarity) }
        }
        var common = [Int32](repeating: 0, count: held.count)
        for (word, count) in Self.counts(text) {
            for place in places[word] ?? [] { common[Int(place.text)] += min(count, place.count) }
        }
        for (number, own) in held.enumerated() where common[number] > 0 {
            let most = max(own.words, text.words.count)
            let others = most - Int(common[number])
            if most >= Self.fewWords, others <= Int((Self.wordShare * Double(most)).rounded()) {
                offer(number, Double(common[number]) / Double(most))
            }
        }
        let letters = Self.letters(text)
        guard !letters.isEmpty else { return best }
        let histogram = LetterHistogram(letters[0])
        let distances = letters.map(EditDistance.init)
        let share = text.words.count < Self.fewWords ? Self.shortLetterShare : Self.letterShare
        for (number, own) in held.enumerated() where !own.letters.isEmpty {
            let most = max(own.letters[0].count, letters[0].count)
            let allowed = Int(share * Double(most))
            guard abs(own.letters[0].count - letters[0].count) <= allowed,
                histogram.leastEdits(to: own.histogram) <= allowed
            else { continue }
            let edits = zip(distances, own.letters).map { $0.edits(to: $1) }.min() ?? most
            if edits <= allowed { offer(number, 1 - Double(edits) / Double(most)) }
        }
        return best
    }

    private static func counts(_ text: NormalText) -> [String: Int32] {
        text.words.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }

    private static func letters(_ text: NormalText) -> [[Unicode.Scalar]] {
        let plain = Array(text.text.unicodeScalars)
        guard !plain.isEmpty, plain.count <= mostLetters else { return [] }
        return [plain, Array(text.words.sorted().joined(separator: " ").unicodeScalars)]
    }
}

/// How often each letter is in a text, which bounds the edits between two.
package struct LetterHistogram: Sendable {
    private var counts = SIMD32<Int16>()

    package init(_ letters: [Unicode.Scalar]) {
        for letter in letters { counts[Int(letter.value & 31)] &+= 1 }
    }

    /// An edit takes away one letter, brings one, or both.
    package func leastEdits(to other: LetterHistogram) -> Int {
        let difference = counts &- other.counts
        let more = difference.replacing(with: 0, where: difference .< 0).wrappedSum()
        return Int(max(more, more &- difference.wrappedSum()))
    }
}
