internal import Tensors

/// Spaces that the inputs of examples leave out between two words, told apart by what stands on both sides: letters, digits
/// or marks.
struct WordJoins: Sendable {
    private enum Kind: Int {
        case letter, digit, mark

        init(_ character: Character) {
            self = character.isLetter ? .letter : character.isNumber ? .digit : .mark
        }
    }

    private struct Boundary: Hashable {
        var left: Kind
        var right: Kind

        /// - Returns: nil where a word is empty.
        init?(_ left: String, _ right: String) {
            guard let last = left.last, let first = right.first else { return nil }
            self.left = Kind(last)
            self.right = Kind(first)
        }

        var order: (Int, Int) { (left.rawValue, right.rawValue) }
    }

    /// How often a space was left out.
    let count: Int
    private let boundaries: [(boundary: Boundary, count: Int)]

    /// Boundaries met less often are slips.
    private static let fewest = 3

    init(_ counts: WordAlignment.Counts) {
        var met: [Boundary: Int] = [:]
        for (word, texts) in counts.words {
            for (text, count) in texts {
                guard let boundary = Self.boundary(in: word, text: text, counts) else { continue }
                met[boundary, default: 0] += count
            }
        }
        boundaries = met.filter { $0.value >= Self.fewest }.sorted { $0.key.order < $1.key.order }
            .map { ($0.key, $0.value) }
        count = boundaries.reduce(0) { $0 + $1.count }
    }

    /// Where a word is two others without the space between them.
    private static func boundary(in word: String, text: String, _ counts: WordAlignment.Counts) -> Boundary? {
        let pieces = text.split(separator: " ")
        guard pieces.count > 1 else { return nil }
        for cut in word.indices.dropFirst() {
            let (left, right) = (String(word[..<cut]), String(word[cut...]))
            for taken in 1..<pieces.count
            where counts.became(left, pieces[..<taken].joined(separator: " "))
                && counts.became(right, pieces[taken...].joined(separator: " "))
            {
                return Boundary(left, right)
            }
        }
        return nil
    }

    /// Writes two neighbours as one word that is not known, at a kind of boundary drawn as often as the examples have it.
    ///
    /// - Returns: whether the row has one.
    func join(
        _ pairs: inout [WordAlignment.Pair], known: WordAlignment.Counts, random: inout RandomNumbers
    ) -> Bool {
        guard let drawn = draw(&random) else { return false }
        let places = pairs.indices.dropLast().filter {
            let joined = pairs[$0].word + pairs[$0 + 1].word
            return Boundary(pairs[$0].word, pairs[$0 + 1].word) == drawn && !known.knows(joined)
        }
        guard !places.isEmpty else { return false }
        let place = places[random.below(places.count)]
        let next = pairs.remove(at: place + 1)
        pairs[place].word += next.word
        pairs[place].text += " " + next.text
        return true
    }

    private func draw(_ random: inout RandomNumbers) -> Boundary? {
        guard count > 0 else { return nil }
        var rest = random.below(count)
        for (boundary, count) in boundaries {
            if rest < count { return boundary }
            rest -= count
        }
        return nil
    }
}
