internal import Foundation
internal import Tensors

/// What a day's work without a language model gives: it always stands beside the student.
package protocol Baseline: Sendable {
    /// What to call it in the proof.
    var name: String { get }
    /// Numbers it keeps.
    var parameterCount: Int { get }
    func answer(_ input: String) -> String
}

extension TaskDefinition {
    /// The cheap rival for the task's kind, fitted to the examples.
    package func baseline(_ examples: [Example]) -> any Baseline {
        switch kind {
        case .label: LinearClassifier(examples, seed: UInt64(training.seed))
        case .text: WordDictionary(examples)
        case .json: NearestExample(examples)
        }
    }
}

/// TF-IDF and a linear support vector machine, one against the rest, squared hinge loss: dual coordinate descent
/// (Hsieh et al., ICML 2008).
package struct LinearClassifier: Baseline {
    package let name = "TF-IDF + linear SVM"
    private let terms: TermWeights
    private let labels: [String]
    /// [labels, terms + 1]; the last place is the bias.
    private let weights: [[Float]]

    package init(_ examples: [Example], seed: UInt64) {
        let terms = TermWeights(examples.map(\.input))
        let labels = Set(examples.map(\.output)).sorted()
        let rows = examples.map { example in
            var row = terms.vector(example.input)
            row.places.append(Int32(terms.count))
            row.values.append(1)
            return row
        }
        let numbers = Dictionary(uniqueKeysWithValues: labels.enumerated().map { ($1, $0) })
        let classes = examples.map { numbers[$0.output]! }
        let squares = rows.map { $0.values.reduce(0) { $0 + $1 * $1 } }
        weights = labels.indices.map { label in
            LinearClassifier.fit(
                rows, squares: squares, isPositive: classes.map { $0 == label }, count: terms.count + 1, seed: seed)
        }
        self.terms = terms
        self.labels = labels
    }

    private static func fit(
        _ rows: [SparseVector], squares: [Float], isPositive: [Bool], count: Int, seed: UInt64
    ) -> [Float] {
        var weights = [Float](repeating: 0, count: count)
        var duals = [Float](repeating: 0, count: rows.count)
        let diagonal: Float = 0.5  // 1 / (2C), C = 1
        var random = RandomNumbers(seed: seed)
        var order = Array(rows.indices)
        for _ in 0..<60 {
            order.shuffle(using: &random)
            var largest: Float = 0
            for row in order {
                let y: Float = isPositive[row] ? 1 : -1
                var margin: Float = 0
                for (place, value) in zip(rows[row].places, rows[row].values) { margin += weights[Int(place)] * value }
                let gradient = y * margin - 1 + diagonal * duals[row]
                let projected = duals[row] == 0 ? min(gradient, 0) : gradient
                guard abs(projected) > 1e-6 else { continue }
                largest = max(largest, abs(projected))
                let old = duals[row]
                duals[row] = max(old - gradient / (squares[row] + diagonal), 0)
                let change = (duals[row] - old) * y
                for (place, value) in zip(rows[row].places, rows[row].values) { weights[Int(place)] += change * value }
            }
            if largest < 0.01 { break }
        }
        return weights
    }

    package var parameterCount: Int { labels.count * (terms.count + 1) }

    package func answer(_ input: String) -> String {
        let row = terms.vector(input)
        var best = 0
        var top = -Float.infinity
        for label in labels.indices {
            var sum = weights[label][terms.count]
            for (place, value) in zip(row.places, row.values) { sum += weights[label][Int(place)] * value }
            if sum > top {
                top = sum
                best = label
            }
        }
        return labels.isEmpty ? "" : labels[best]
    }
}

/// The answer of the most similar example, by the cosine of TF-IDF vectors.
package struct NearestExample: Baseline {
    package let name = "nearest example (TF-IDF)"
    private let terms: TermWeights
    private let answers: [String]
    /// For each term, the examples that have it and with which weight.
    private let postings: [[(row: Int32, value: Float)]]

    package init(_ examples: [Example]) {
        terms = TermWeights(examples.map(\.input))
        answers = examples.map(\.output)
        var postings = [[(row: Int32, value: Float)]](repeating: [], count: terms.count)
        for (row, example) in examples.enumerated() {
            let vector = terms.vector(example.input)
            for (place, value) in zip(vector.places, vector.values) { postings[Int(place)].append((Int32(row), value)) }
        }
        self.postings = postings
    }

    package var parameterCount: Int { postings.reduce(0) { $0 + $1.count } }

    package func answer(_ input: String) -> String {
        guard !answers.isEmpty else { return "" }
        var sums = [Float](repeating: 0, count: answers.count)
        let vector = terms.vector(input)
        for (place, value) in zip(vector.places, vector.values) {
            for posting in postings[Int(place)] { sums[Int(posting.row)] += value * posting.value }
        }
        return answers[sums.indices.max { (sums[$0], $1) < (sums[$1], $0) } ?? 0]
    }
}

/// Each word replaced by what it most often became in the examples; words nobody has seen stay.
package struct WordDictionary: Baseline {
    package let name = "word dictionary"
    private let replacements: [String: String]

    package init(_ examples: [Example]) {
        var counts: [String: [String: Int]] = [:]
        for example in examples {
            let input = example.input.split(whereSeparator: \.isWhitespace).map(String.init)
            let output = example.output.split(whereSeparator: \.isWhitespace).map(String.init)
            for (word, replacement) in WordDictionary.align(input, output) {
                counts[word, default: [:]][replacement, default: 0] += 1
            }
        }
        replacements = counts.mapValues { choices in
            choices.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? ""
        }
    }

    package var parameterCount: Int { replacements.count }

    package func answer(_ input: String) -> String {
        input.split(whereSeparator: \.isWhitespace).map { replacements[String($0)] ?? String($0) }
            .filter { !$0.isEmpty }.joined(separator: " ")
    }

    /// What each input word became: the cheapest alignment in which a word becomes none, one or several words, by the
    /// letters they share.
    private static func align(_ input: [String], _ output: [String]) -> [(String, String)] {
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
                    let price: Double
                    if length == 0 {
                        price = 1
                    } else {
                        let text = output[j..<j + length].joined(separator: " ")
                        price = (text == input[i] ? 0 : 0.1 + distance(input[i], text)) + 0.2 * Double(length - 1)
                    }
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
    private static func distance(_ a: String, _ b: String) -> Double {
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
