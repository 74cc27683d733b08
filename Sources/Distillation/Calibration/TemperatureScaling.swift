internal import Foundation

/// One temperature for all of a model's probabilities (Guo et al., ICML 2017, arXiv 1706.04599, section 4.2): above 1 it
/// makes them less sure, below 1 surer. Which answer is the most probable stays the same.
package enum TemperatureScaling {
    /// Temperatures that are looked at.
    package static let range = 0.05...20.0
    /// Probabilities are kept this far from 0 and 1 before a logarithm is taken.
    private static let least = 1e-9

    /// The probability at `place` of a distribution at a temperature: softmax of log p / T.
    ///
    /// - Parameter probabilities: of all labels; they need not sum to one.
    package static func probability(_ place: Int, of probabilities: [Float], temperature: Double) -> Double {
        let logits = probabilities.map { log(max(Double($0), least)) / temperature }
        let top = logits.max() ?? 0
        let sum = logits.reduce(0) { $0 + exp($1 - top) }
        return exp(logits[place] - top) / sum
    }

    /// The probability of an answer against all others at a temperature: the logistic function of logit p / T.
    package static func probability(_ p: Double, temperature: Double) -> Double {
        let p = min(max(p, least), 1 - least)
        return 1 / (1 + exp(-log(p / (1 - p)) / temperature))
    }

    /// The temperature at which the rows are most likely.
    ///
    /// The negative log-likelihood is convex in 1/T, so that it has one minimum: golden-section search over log T.
    ///
    /// - Parameter range: the temperatures to choose from.
    /// - Returns: 1 for no rows.
    package static func fit(_ rows: [ScoredAnswer], in range: ClosedRange<Double> = range) -> Double {
        guard !rows.isEmpty else { return 1 }
        let ratio = (5.0.squareRoot() - 1) / 2
        var low = log(range.lowerBound)
        var high = log(range.upperBound)
        var left = high - ratio * (high - low)
        var right = low + ratio * (high - low)
        var leftLoss = logLoss(rows, temperature: exp(left))
        var rightLoss = logLoss(rows, temperature: exp(right))
        while high - low > 1e-4 {
            if leftLoss <= rightLoss {
                (high, right, rightLoss) = (right, left, leftLoss)
                left = high - ratio * (high - low)
                leftLoss = logLoss(rows, temperature: exp(left))
            } else {
                (low, left, leftLoss) = (left, right, rightLoss)
                right = low + ratio * (high - low)
                rightLoss = logLoss(rows, temperature: exp(right))
            }
        }
        return exp((low + high) / 2)
    }

    /// Mean negative log-likelihood in nats: of the right label where the labels' probabilities are known, otherwise of
    /// whether the answer is right.
    package static func logLoss(_ rows: [ScoredAnswer], temperature: Double) -> Double {
        let sum = rows.reduce(0.0) { sum, row in
            if !row.probabilities.isEmpty {
                // A gold label the model does not know says nothing about the temperature.
                guard let right = row.right else { return sum }
                return sum - log(max(probability(right, of: row.probabilities, temperature: temperature), least))
            }
            let p = probability(row.confidence, temperature: temperature)
            return sum - log(max(row.isRight ? p : 1 - p, least))
        }
        return sum / Double(max(1, rows.count))
    }
}
