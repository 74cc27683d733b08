internal import Foundation

/// Each word replaced by what it most often became in the examples; unknown words with digits become what words of the
/// same shape did, all others stay.
///
/// Words are aligned by the letters they share, then twice more by what the alignment before taught.
package struct WordDictionary: Baseline {
    package let name = "word dictionary"
    private let replacements: [String: String]
    /// What most words of a shape became, or `Counts.same`.
    private let shapes: [String: String]
    /// Whether words are brought to lower case, because hardly a word of the answers has upper case.
    private let lowercases: Bool

    package init(_ examples: [Example]) {
        let written = examples.flatMap { Self.words($0.output) }
        let lowercases = written.count { $0 != $0.lowercased() } * 20 < written.count
        self.lowercases = lowercases
        let pairs = examples.map {
            (Self.words(lowercases ? $0.input.lowercased() : $0.input), Self.words($0.output))
        }
        var counts = Counts()
        for round in 0..<3 {
            var next = Counts()
            for (input, output) in pairs {
                for (word, text) in Self.align(input, output, price: { counts.price($0, $1, isFirst: round == 0) }) {
                    next.add(word, text)
                }
            }
            counts = next
        }
        replacements = counts.words.compactMapValues { Self.most($0) }
        shapes = counts.shapes.compactMapValues { Self.most($0) }
    }

    package var parameterCount: Int { replacements.count + shapes.count }

    package func answer(_ input: String) -> String {
        Self.words(lowercases ? input.lowercased() : input).map { word in
            if let known = replacements[word] { return known }
            if let shape = Counts.shape(word), let text = shapes[shape], text != Counts.same { return text }
            return word
        }
        .filter { !$0.isEmpty }.joined(separator: " ")
    }

    private static func words(_ text: String) -> [String] {
        text.split(whereSeparator: \.isWhitespace).map(String.init)
    }

    private static func most(_ choices: [String: Int]) -> String? {
        choices.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    /// How often words, and words of a shape, became something.
    private struct Counts {
        var words: [String: [String: Int]] = [:]
        var shapes: [String: [String: Int]] = [:]
        private var totals: [String: Int] = [:]
        private var shapeTotals: [String: Int] = [:]
        /// Stands for "stayed as it was": no answer has a line break in it.
        static let same = "\n"

        mutating func add(_ word: String, _ text: String) {
            words[word, default: [:]][text, default: 0] += 1
            totals[word, default: 0] += 1
            guard let shape = Self.shape(word) else { return }
            shapes[shape, default: [:]][word == text ? Self.same : text, default: 0] += 1
            shapeTotals[shape, default: 0] += 1
        }

        /// The word with all letters and all digits alike; nil for words without digits.
        static func shape(_ word: String) -> String? {
            guard word.contains(where: \.isNumber) else { return nil }
            return String(word.map { $0.isNumber ? "0" : $0.isLetter ? "a" : $0 })
        }

        /// What it costs that a word becomes this text: the letters they don't share, or -log p.
        func price(_ word: String, _ text: String, isFirst: Bool) -> Double {
            let length = text.utf8.count { $0 == UInt8(ascii: " ") }
            let letters: Double =
                text.isEmpty ? 1 : text == word ? 0 : 0.1 + WordDictionary.distance(word, text) + 0.2 * Double(length)
            if isFirst { return letters }
            let seen = Double(words[word]?[text] ?? 0)
            var p = (seen + 0.5 * exp(-3 * letters)) / (Double(totals[word] ?? 0) + 0.5)
            if let shape = Self.shape(word), let all = shapeTotals[shape] {
                p = 0.7 * p + 0.3 * Double(shapes[shape]?[word == text ? Self.same : text] ?? 0) / Double(all)
            }
            return -log(p + 1e-9)
        }
    }
    /// What each input word became: the cheapest alignment in which a word becomes none, one or several words.
    private static func align(_ input: [String], _ output: [String], price: (String, String) -> Double)
        -> [(String, String)]
    {
        let n = input.count
        let m = output.count
        guard n > 0, n * m <= 1 << 20 else { return [] }
        let most = 4
        var cost = [[Double]](repeating: [Double](repeating: .infinity, count: m + 1), count: n + 1)
        var taken = [[Int]](repeating: [Int](repeating: 0, count: m + 1), count: n + 1)
        cost[0][0] = 0
        for i in 0..<n {
            for j in 0...m where cost[i][j] < .infinity {
                for length in 0...min(most, m - j) {
                    let price = price(input[i], output[j..<j + length].joined(separator: " "))
                    if cost[i][j] + price < cost[i + 1][j + length] {
                        cost[i + 1][j + length] = cost[i][j] + price
                        taken[i + 1][j + length] = length
                    }
                }
            }
        }
        guard cost[n][m] < .infinity else { return [] }
        var result: [(String, String)] = []
        var j = m
        for i in stride(from: n, to: 0, by: -1) {
            let length = taken[i][j]
            result.append((input[i - 1], output[(j - length)..<j].joined(separator: " ")))
            j -= length
        }
        return result
    }

    /// One less the share of letters two words have in common in this order.
    fileprivate static func distance(_ a: String, _ b: String) -> Double {
        let a = Array(a.lowercased().utf8.prefix(40))
        let b = Array(b.lowercased().utf8.prefix(40))
        guard !a.isEmpty, !b.isEmpty else { return 1 }
        var row = [Int](repeating: 0, count: b.count + 1)
        for x in a {
            var corner = 0
            for (place, y) in b.enumerated() {
                let above = row[place + 1]
                row[place + 1] = x == y ? corner + 1 : max(above, row[place])
                corner = above
            }
        }
        return 1 - Double(row[b.count]) / Double(max(a.count, b.count))
    }
}
