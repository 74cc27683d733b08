internal import Foundation

/// Weights that let rare labels count: one over the effective number of a label's rows, `(1 - βⁿ) / (1 - β)`
/// (Cui et al., arXiv 1901.05555, eq. 2), scaled so that the mean over the rows is 1.
package enum LabelBalance {
    private static let beta = 0.999

    /// One weight for each row's label.
    package static func weights(_ labels: [String]) -> [Float] {
        var counts: [String: Int] = [:]
        for label in labels { counts[label, default: 0] += 1 }
        let weights = labels.map { (1 - beta) / (1 - pow(beta, Double(counts[$0]!))) }
        let mean = weights.reduce(0, +) / Double(max(1, weights.count))
        return weights.map { Float($0 / mean) }
    }
}
