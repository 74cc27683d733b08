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
        case .labels: LabelSetClassifier(examples, labels: labels, scoring: Scoring(self), seed: UInt64(training.seed))
        case .text: WordDictionary(examples)
        case .json, .tool: NearestExample(examples)
        }
    }
}

/// TF-IDF of words, word pairs and characters, and a linear support vector machine, one against the rest, squared hinge
/// loss: dual coordinate descent (Hsieh et al., ICML 2008).
package struct LinearClassifier: Baseline {
    package let name = "TF-IDF + linear SVM"
    private let words: TermWeights
    private let characters: TermWeights
    private let labels: [String]
    /// [labels, terms + 1]; the last place is the bias.
    private let weights: [[Float]]

    package init(_ examples: [Example], seed: UInt64) {
        self.init(examples.map(\.input), labels: examples.map { [$0.output] }, seed: seed)
    }

    /// Fitted to inputs that may have several labels each, or none.
    init(_ inputs: [String], labels answers: [[String]], seed: UInt64) {
        words = TermWeights(inputs)
        characters = TermWeights(inputs, terms: .characters)
        let count = words.count + characters.count + 1
        let labels = Set(answers.joined()).sorted()
        let rows = inputs.map { [words, characters] in Self.row($0, words, characters) }
        let numbers = Dictionary(uniqueKeysWithValues: labels.enumerated().map { ($1, $0) })
        let classes = answers.map { $0.map { numbers[$0]! } }
        let squares = rows.map { $0.values.reduce(0) { $0 + $1 * $1 } }
        weights = labels.indices.map { label in
            LinearClassifier.fit(
                rows, squares: squares, isPositive: classes.map { $0.contains(label) }, count: count, seed: seed)
        }
        self.labels = labels
    }

    /// Both kinds of terms side by side, each of length one, and a one for the bias.
    private static func row(_ text: String, _ words: TermWeights, _ characters: TermWeights) -> SparseVector {
        var row = words.vector(text)
        let second = characters.vector(text)
        row.places += second.places.map { $0 + Int32(words.count) } + [Int32(words.count + characters.count)]
        row.values += second.values + [1]
        return row
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

    package var parameterCount: Int { labels.count * (words.count + characters.count + 1) }

    package func answer(_ input: String) -> String {
        let sums = margins(input)
        // The first of equals.
        guard let best = sums.indices.max(by: { (sums[$0], $1) < (sums[$1], $0) }) else { return "" }
        return labels[best]
    }

    /// How far the input is on each label's side; labels that no example had are furthest away.
    func margins(_ input: String, labels wanted: [String]) -> [Float] {
        let own = Dictionary(uniqueKeysWithValues: zip(labels, margins(input)))
        return wanted.map { own[$0] ?? -2 }
    }

    private func margins(_ input: String) -> [Float] {
        let row = Self.row(input, words, characters)
        return weights.map { weights in
            zip(row.places, row.values).reduce(0) { $0 + weights[Int($1.0)] * $1.1 }
        }
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
