internal import Foundation

/// Finds the examples most like a text: Okapi BM25 over words (Robertson & Zaragoza 2009, eq. 3.15; k₁ = 1.2, b = 0.75).
package struct ExampleIndex: Sendable {
    private let examples: [Example]
    /// For each word the examples that have it, and its weight there.
    private var postings: [String: [(row: Int32, weight: Float)]] = [:]

    package init(_ examples: [Example]) {
        self.examples = examples
        let documents = examples.map { TermWeights.words($0.input) }
        let mean = max(1, Double(documents.reduce(0) { $0 + $1.count }) / Double(max(1, documents.count)))
        var frequencies: [String: [(row: Int32, count: Int)]] = [:]
        for (row, words) in documents.enumerated() {
            let counts = Dictionary(words.map { ($0, 1) }, uniquingKeysWith: +)
            for (word, count) in counts { frequencies[word, default: []].append((Int32(row), count)) }
        }
        let k = 1.2, b = 0.75
        for (word, rows) in frequencies {
            let n = Double(rows.count)
            let rarity = log(1 + (Double(examples.count) - n + 0.5) / (n + 0.5))
            postings[word] = rows.map { row, count in
                let length = Double(documents[Int(row)].count) / mean
                let tf = Double(count)
                return (row, Float(rarity * tf * (k + 1) / (tf + k * (1 - b + b * length))))
            }
        }
    }

    /// - Returns: up to `count` examples, the nearest first; of equally near ones the earlier; never one with the very
    ///   same input.
    package func nearest(to text: String, count: Int) -> [Example] {
        guard count > 0 else { return [] }
        var scores: [Int32: Float] = [:]
        for word in Set(TermWeights.words(text)).sorted() {
            for posting in postings[word] ?? [] { scores[posting.row, default: 0] += posting.weight }
        }
        let sorted = scores.sorted { ($0.value, $1.key) > ($1.value, $0.key) }
        return Array(sorted.lazy.map { examples[Int($0.key)] }.filter { $0.input != text }.prefix(count))
    }
}
