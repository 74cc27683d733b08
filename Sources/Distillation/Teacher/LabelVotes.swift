internal import Foundation

/// A label's probabilities from two teachers that err in different ways: the language model, and a linear model of the
/// gold's words and characters (co-training, Blum & Mitchell 1998).
///
/// What each says counts as much as it helps on the validation rows, which neither has learnt from.
package struct LabelVotes {
    /// What the linear model's margins are multiplied with before the softmax.
    package private(set) var sharpness: Float = 4
    /// The linear model's part, 0 ... 0.9; 0: it doesn't help.
    package private(set) var linearShare: Float = 0
    private let linear: LinearClassifier
    private let labels: [String]

    /// Folds of the gold: a row is judged by a linear model that has not seen it.
    private static let folds = 5

    /// - Parameters:
    ///   - validation: rows with the language model's probabilities of every label, in the order of `labels`.
    package init(
        labels: [String], train: [Example], validation: [(example: Example, probabilities: [Float])], seed: UInt64
    ) {
        self.labels = labels
        linear = LinearClassifier(train, seed: seed)
        let margins = validation.map { linear.margins($0.example.input, labels: labels) }
        let right = validation.map { row in labels.firstIndex(of: row.example.output) }
        var best = Double.infinity
        for sharpness in [1, 1.5, 2, 3, 4, 6, 8, 12] as [Float] {
            let votes = margins.map { Self.softmax($0, sharpness: sharpness) }
            for share in stride(from: Float(0), through: 0.9, by: 0.1) {
                var loss = 0.0
                for (row, own) in validation.enumerated() {
                    guard let label = right[row] else { continue }
                    let p = (1 - share) * own.probabilities[label] + share * votes[row][label]
                    loss -= log(Double(max(p, 1e-6)))
                }
                if loss < best - 1e-9 {
                    best = loss
                    self.sharpness = sharpness
                    linearShare = share
                }
            }
        }
    }

    /// Probabilities of the labels for an input that the linear model has not learnt from.
    package func mixed(_ input: String, with probabilities: [Float]) -> [Float] {
        guard linearShare > 0 else { return probabilities }
        return mixed(linear.margins(input, labels: labels), with: probabilities)
    }

    /// Probabilities of the labels for the gold itself, each row judged by a linear model fitted to the other folds.
    package func mixed(_ gold: [Example], with probabilities: [[Float]], seed: UInt64) -> [[Float]] {
        guard linearShare > 0, gold.count >= Self.folds else { return probabilities }
        var result = probabilities
        for fold in 0..<Self.folds {
            let others = gold.indices.filter { $0 % Self.folds != fold }.map { gold[$0] }
            let model = LinearClassifier(others, seed: seed)
            for row in stride(from: fold, to: gold.count, by: Self.folds) {
                result[row] = mixed(model.margins(gold[row].input, labels: labels), with: probabilities[row])
            }
        }
        return result
    }

    private func mixed(_ margins: [Float], with probabilities: [Float]) -> [Float] {
        zip(probabilities, Self.softmax(margins, sharpness: sharpness)).map {
            (1 - linearShare) * $0 + linearShare * $1
        }
    }

    private static func softmax(_ margins: [Float], sharpness: Float) -> [Float] {
        let top = margins.max() ?? 0
        let powers = margins.map { exp(($0 - top) * sharpness) }
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }
}
