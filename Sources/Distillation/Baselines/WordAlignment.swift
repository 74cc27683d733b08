internal import Foundation

/// Which words of inputs became which words of their answers, learnt from examples in which both come in the same order.
///
/// Words are aligned by the letters they share, then twice more by what the alignment before taught.
struct WordAlignment: Sendable {
    /// An input's word and what it became: no word, one or several.
    struct Pair: Hashable, Sendable {
        var word: String
        var text: String
    }

    /// Whether inputs are brought to lower case.
    let lowercases: Bool
    private(set) var counts = Counts()

    /// The most words a word becomes.
    private static let most = 4
    private static let rounds = 3
    /// Words of an input times words of its answer; longer rows take too long, and are not aligned.
    private static let longest = 1 << 12

    init(_ examples: [Example], lowercases: Bool) {
        self.lowercases = lowercases
        for round in 0..<Self.rounds {
            var next = Counts()
            for example in examples {
                for pair in align(example, isFirst: round == 0) { next.add(pair) }
            }
            counts = next
        }
    }

    /// What each word of an example's input became: the cheapest alignment; empty where there is none.
    func align(_ example: Example) -> [Pair] { align(example, isFirst: false) }

    /// The words of a text, between its spaces.
    static func words(_ text: String, lowercases: Bool = false) -> [String] {
        (lowercases ? text.lowercased() : text).split(whereSeparator: \.isWhitespace).map(String.init)
    }

    private func align(_ example: Example, isFirst: Bool) -> [Pair] {
        let input = Self.words(example.input, lowercases: lowercases)
        let output = Self.words(example.output)
        let n = input.count
        let m = output.count
        guard n > 0, n * m <= Self.longest else { return [] }
        var cost = [[Double]](repeating: [Double](repeating: .infinity, count: m + 1), count: n + 1)
        var taken = [[Int]](repeating: [Int](repeating: 0, count: m + 1), count: n + 1)
        cost[0][0] = 0
        for i in 0..<n {
            for j in 0...m where cost[i][j] < .infinity {
                for length in 0...min(Self.most, m - j) {
                    let pair = Pair(word: input[i], text: output[j..<j + length].joined(separator: " "))
                    let price = counts.price(pair, isFirst: isFirst)
                    if cost[i][j] + price < cost[i + 1][j + length] {
                        cost[i + 1][j + length] = cost[i][j] + price
                        taken[i + 1][j + length] = length
                    }
                }
            }
        }
        guard cost[n][m] < .infinity else { return [] }
        var result: [Pair] = []
        var j = m
        for i in stride(from: n, to: 0, by: -1) {
            let length = taken[i][j]
            result.append(Pair(word: input[i - 1], text: output[(j - length)..<j].joined(separator: " ")))
            j -= length
        }
        return result.reversed()
    }

    /// How often words, and words of a shape, became something.
    struct Counts: Sendable {
        private(set) var words: [String: [String: Int]] = [:]
        private(set) var shapes: [String: [String: Int]] = [:]
        private(set) var totals: [String: Int] = [:]
        private var shapeTotals: [String: Int] = [:]
        /// Stands for "stayed as it was": no answer has a line break in it.
        static let same = "\n"

        mutating func add(_ pair: Pair) {
            words[pair.word, default: [:]][pair.text, default: 0] += 1
            totals[pair.word, default: 0] += 1
            guard let shape = Self.shape(pair.word) else { return }
            shapes[shape, default: [:]][pair.word == pair.text ? Self.same : pair.text, default: 0] += 1
            shapeTotals[shape, default: 0] += 1
        }

        /// Whether a word, or one of its shape, was met.
        func knows(_ word: String) -> Bool {
            totals[word] != nil || Self.shape(word).map { shapes[$0] != nil } == true
        }

        /// Whether a word, or one of its shape, became this text.
        func became(_ word: String, _ text: String) -> Bool {
            if words[word]?[text] != nil { return true }
            guard let shape = Self.shape(word) else { return false }
            return shapes[shape]?[word == text ? Self.same : text] != nil
        }

        /// The word with all letters and all digits alike; nil for words without digits.
        static func shape(_ word: String) -> String? {
            guard word.contains(where: \.isNumber) else { return nil }
            return String(word.map { $0.isNumber ? "0" : $0.isLetter ? "a" : $0 })
        }

        /// What it costs that a word becomes this text: the letters they don't share, or -log p.
        func price(_ pair: Pair, isFirst: Bool) -> Double {
            let (word, text) = (pair.word, pair.text)
            let length = text.utf8.count { $0 == UInt8(ascii: " ") }
            let letters: Double =
                text.isEmpty
                ? 1 : text == word ? 0 : 0.1 + WordAlignment.distance(word, text) + 0.2 * Double(length)
            if isFirst { return letters }
            let seen = Double(words[word]?[text] ?? 0)
            var p = (seen + 0.5 * exp(-3 * letters)) / (Double(totals[word] ?? 0) + 0.5)
            if let shape = Self.shape(word), let all = shapeTotals[shape] {
                p = 0.7 * p + 0.3 * Double(shapes[shape]?[word == text ? Self.same : text] ?? 0) / Double(all)
            }
            return -log(p + 1e-9)
        }
    }

    /// One less the share of letters two words have in common in this order.
    static func distance(_ a: String, _ b: String) -> Double {
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
