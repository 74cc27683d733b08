internal import Foundation

/// Finds a learning rate by a range test (Smith, arXiv 1506.01186): the rate grows geometrically over a few dozen
/// updates, and the one at which the loss falls most steeply is chosen, kept well below the one at which it diverges.
package struct RateFinder {
    /// Rates of the first and the last update.
    package static let range: (lowest: Float, highest: Float) = (1e-5, 3e-2)
    package static let updates = 48
    /// What an update leaves of the smoothed loss.
    private static let memory = 0.8
    /// The loss has diverged where it has lost this share of what it had gained.
    private static let lost = 0.5
    /// The choice is at most this share of the rate at which the loss diverges.
    private static let safety = 0.25

    /// The chosen rate.
    package let rate: Float
    /// The rate and the loss of each update made.
    package let points: [(rate: Float, loss: Double)]

    /// - Parameter trainer: trains a copy of the weights, which is thrown away, for ``updates`` updates.
    package init(_ trainer: Trainer) {
        precondition(trainer.steps == Self.updates, "RateFinder: a trainer of \(trainer.steps) updates")
        let schedule = RangeSchedule(
            lowest: Self.range.lowest, highest: Self.range.highest, warmup: Self.updates)
        trainer.schedule = schedule
        var points: [(rate: Float, loss: Double)] = []
        for step in 0..<Self.updates {
            // A loss that is no number ends the test: all higher rates are worse.
            guard (try? trainer.step()) != nil, let loss = trainer.record.points.last?.loss else { break }
            points.append((schedule.rate(step), loss))
        }
        self.points = points
        rate = Self.choose(points)
    }

    /// The choice among rates and the losses of the updates made with them, in rising order of the rates.
    package static func choose(_ points: [(rate: Float, loss: Double)]) -> Float {
        var mean = 0.0
        var smooth: [Double] = []
        for (index, point) in points.enumerated() {
            mean = memory * mean + (1 - memory) * point.loss
            smooth.append(mean / (1 - pow(memory, Double(index + 1))))
        }
        guard smooth.count > 8 else { return range.lowest }
        let best = smooth.indices.min { smooth[$0] < smooth[$1] }!
        let highest = smooth[...best].max()!
        let diverged =
            smooth.indices.dropFirst(best).first { smooth[$0] > smooth[best] + lost * (highest - smooth[best]) }
            ?? points.count - 1
        let limit = points[diverged].rate * Float(safety)
        // Slopes over five updates: one batch is not a trend.
        let slopes = (2..<max(3, best - 1)).map {
            (index: $0, slope: smooth[min($0 + 2, smooth.count - 1)] - smooth[$0 - 2])
        }
        let steepest = slopes.min { $0.slope < $1.slope }!.index
        return min(points[steepest].rate, limit)
    }
}

/// A rate that grows by the same factor with every update.
package struct RangeSchedule: RateSchedule {
    package var lowest: Float
    package var highest: Float
    /// All of the updates: a loss that rises is what is looked for.
    package var warmup: Int

    package init(lowest: Float, highest: Float, warmup: Int) {
        self.lowest = lowest
        self.highest = highest
        self.warmup = warmup
    }

    package func rate(_ step: Int) -> Float {
        lowest * pow(highest / lowest, Float(step) / Float(max(1, warmup - 1)))
    }
}
