internal import Foundation

/// Joins what a model and a second opinion say to which label is right, as a logarithmic opinion pool (Heskes, NIPS 1997):
/// the probabilities are multiplied with the exponential of the second opinion's scores. A model that is not sure enough of
/// itself, or too sure, does not lose its say for it, as it would where probabilities are averaged.
package struct LogarithmicPool: Equatable {
    /// What the second opinion's scores are multiplied with; 0: it doesn't help.
    package private(set) var weight = 0.0

    /// What both say to an input.
    package struct Row {
        /// The model's probabilities.
        package var probabilities: [Float]
        /// The second opinion's scores.
        package var scores: [Float]

        package init(_ probabilities: [Float], _ scores: [Float]) {
            self.probabilities = probabilities
            self.scores = scores
        }
    }

    /// A second opinion that says nothing.
    package init() {}

    /// The most probable weight, under a normal prior of variance 1 around a second opinion that says nothing.
    ///
    /// - Parameter rows: each with the place of the right label.
    package init(_ rows: [(row: Row, right: Int)]) {
        // Newton's method: the loss is convex.
        for _ in 0..<Self.iterations {
            var gradient = weight
            var curvature = 1.0
            for (row, right) in rows {
                var mean = 0.0
                var square = 0.0
                for (p, score) in zip(probabilities(row), row.scores) {
                    mean += Double(p) * Double(score)
                    square += Double(p) * Double(score) * Double(score)
                }
                gradient += mean - Double(row.scores[right])
                curvature += max(0, square - mean * mean)
            }
            // Far from the minimum a whole step may go too far.
            let step = min(max(gradient / curvature, -1), 1)
            weight -= step
            if abs(step) < 1e-6 { break }
        }
        weight = max(weight, 0)
    }

    private static let iterations = 50
    /// What a probability of 0 is taken for.
    private static let least = 1e-6

    /// Probabilities of the labels.
    package func probabilities(_ row: Row) -> [Float] {
        let logits = zip(row.probabilities, row.scores).map {
            log(max(Double($0), Self.least)) + weight * Double($1)
        }
        let top = logits.max() ?? 0
        let powers = logits.map { exp($0 - top) }
        let sum = powers.reduce(0, +)
        return powers.map { Float($0 / sum) }
    }
}
