internal import Foundation
internal import Tensors

/// The statistics a verdict rests on.
package enum Statistics {
    /// Wilson's score interval of a share (Wilson 1927).
    package static func wilson(hits: Int, of count: Int, confidence: Double) -> (low: Double, high: Double) {
        guard count > 0 else { return (0, 1) }
        let n = Double(count)
        let p = Double(hits) / n
        let z = normalQuantile(0.5 + confidence / 2)
        let centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        let half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)).squareRoot()
        return (max(0, centre - half), min(1, centre + half))
    }

    /// Values of `statistic` on samples drawn with replacement (Efron 1979), sorted.
    package static func bootstrap(
        count: Int, samples: Int = 2000, seed: UInt64 = 1, statistic: ([Int]) -> Double
    ) -> [Double] {
        guard count > 0 else { return [] }
        var random = RandomNumbers(seed: seed)
        var rows = [Int](repeating: 0, count: count)
        return (0..<samples).map { _ in
            for index in rows.indices { rows[index] = random.below(count) }
            return statistic(rows)
        }.sorted()
    }

    /// A quantile of sorted values, by linear interpolation.
    package static func quantile(_ sorted: [Double], _ share: Double) -> Double {
        guard let last = sorted.last else { return .nan }
        let place = share * Double(sorted.count - 1)
        let lower = Int(place.rounded(.down))
        guard lower + 1 < sorted.count else { return last }
        return sorted[lower] + (place - Double(lower)) * (sorted[lower + 1] - sorted[lower])
    }

    /// The standard normal distribution's quantile (bisection on erfc).
    package static func normalQuantile(_ probability: Double) -> Double {
        var low = -10.0
        var high = 10.0
        for _ in 0..<80 {
            let middle = (low + high) / 2
            if 0.5 * erfc(-middle / 2.0.squareRoot()) < probability { low = middle } else { high = middle }
        }
        return (low + high) / 2
    }
}
