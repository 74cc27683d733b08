/// Keeps what is learnt from apart from what is judged by: finds texts that a test or validation row gives away.
package struct Decontamination: Sendable {
    /// How a text gives a held row away.
    package enum Kind: String, Sendable, Hashable, Codable {
        /// They are the same but for case, marks and spaces.
        case same
        /// They have a run of words in common.
        case overlap
        /// One is the other with few changes.
        case similar
    }

    package struct Match: Sendable, Hashable {
        package var kind: Kind
        /// Which of the held texts, counted from 0.
        package var row: Int
        /// Words in common, or the share of words or letters that are the same; 1 for the same.
        package var value: Double

        package init(kind: Kind, row: Int, value: Double) {
            self.kind = kind
            self.row = row
            self.value = value
        }
    }

    /// The run of words that must not be in common (Brown et al., arXiv 2005.14165, appendix C: 13).
    private static let run = 13
    /// The same where the held text has fewer words than two such runs.
    private static let shortRun = 8
    /// Held texts of fewer words are found by sameness and similarity alone: "what is my balance" is a part of much else.
    private static let leastWords = 5

    private var same: [String: Int] = [:]
    /// By length of the run.
    private var runs: [Int: [UInt64: Int32]] = [:]
    private var copies = NearCopies()

    /// - Parameter held: inputs of the test and the validation set.
    package init(_ held: [String]) {
        for (row, text) in held.enumerated() {
            let normal = NormalText(text)
            if same[normal.text] == nil { same[normal.text] = row }
            copies.insert(normal)
            guard normal.words.count >= Self.leastWords else { continue }
            // A text shorter than the run must not be there as a whole.
            let length =
                normal.words.count >= 2 * Self.run ? Self.run : min(Self.shortRun, normal.words.count)
            for hash in normal.wordRuns(length) where runs[length]?[hash] == nil {
                runs[length, default: [:]][hash] = Int32(row)
            }
        }
    }

    /// The held row that a text gives away; nil for none.
    ///
    /// - Parameter copies: whether a text with few changes does. One that was made of the gold alone is no copy of a held row,
    ///   however near the gold is to it.
    package func match(_ text: String, copies isCopy: Bool = true) -> Match? {
        let normal = NormalText(text)
        return words(normal) ?? (isCopy ? copy(normal) : nil)
    }

    /// The held row that a text has the words of, or a run of them; nil for none.
    func words(_ text: NormalText) -> Match? {
        if let row = same[text.text] { return Match(kind: .same, row: row, value: 1) }
        for length in runs.keys.sorted(by: >) {
            for hash in text.wordRuns(length) {
                if let row = runs[length]?[hash] {
                    return Match(kind: .overlap, row: Int(row), value: Double(length))
                }
            }
        }
        return nil
    }

    /// The held row that a text is with few changes; nil for none.
    func copy(_ text: NormalText) -> Match? {
        copies.match(text).map { Match(kind: .similar, row: $0.number, value: $0.similarity) }
    }
}
