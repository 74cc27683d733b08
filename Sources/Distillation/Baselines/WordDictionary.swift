/// Each word replaced by what it most often became in the examples; unknown words with digits become what words of the
/// same shape did, all others stay.
package struct WordDictionary: Baseline {
    package let name = "word dictionary"
    private let replacements: [String: String]
    /// What most words of a shape became, or `Counts.same`.
    private let shapes: [String: String]
    /// Whether words are brought to lower case, because hardly a word of the answers has upper case.
    private let lowercases: Bool

    package init(_ examples: [Example]) {
        let written = examples.flatMap { WordAlignment.words($0.output) }
        lowercases = written.count { $0 != $0.lowercased() } * 20 < written.count
        let counts = WordAlignment(examples, lowercases: lowercases).counts
        replacements = counts.words.compactMapValues { Self.most($0) }
        shapes = counts.shapes.compactMapValues { Self.most($0) }
    }

    package var parameterCount: Int { replacements.count + shapes.count }

    package func answer(_ input: String) -> String {
        WordAlignment.words(input, lowercases: lowercases).map { word in
            if let known = replacements[word] { return known }
            if let shape = WordAlignment.Counts.shape(word), let text = shapes[shape],
                text != WordAlignment.Counts.same
            {
                return text
            }
            return word
        }
        .filter { !$0.isEmpty }.joined(separator: " ")
    }

    private static func most(_ choices: [String: Int]) -> String? {
        choices.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }
}
