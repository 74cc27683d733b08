internal import Foundation
internal import Training

/// How many epochs fit a time, from a few timed updates. Decided once and kept, so that a resumed run trains as long as
/// it first meant to.
struct Pace: Codable, Sendable {
    var epochs: Double

    /// The share of the time that is measured, and the fewest and the most updates.
    private static let measured = (share: 0.015, updates: 4...64)

    /// - Parameters:
    ///   - seconds: the time there is; nil: no limit.
    ///   - make: builds a trainer that will be thrown away.
    static func measure(
        wanted: Double, seconds: Double?, least: Double = 0.5, make: () throws -> Trainer
    ) throws -> Pace {
        guard let seconds else { return Pace(epochs: wanted) }
        let trainer = try make()
        // The first update touches memory for the first time.
        try trainer.step()
        let most = min(measured.updates.upperBound, max(1, trainer.steps - 1))
        let start = ContinuousClock.now
        var count = 0
        var time = 0.0
        // What takes less than half of the time fits it, however good the measurement.
        while count < most,
            count < measured.updates.lowerBound
                || time < seconds * measured.share && time / Double(count) * Double(trainer.steps) > seconds / 2
        {
            try trainer.step()
            count += 1
            time = (ContinuousClock.now - start).seconds
        }
        let whole = time / Double(count) * Double(trainer.steps)
        return Pace(epochs: max(least, min(wanted, wanted * seconds / max(whole, 1e-6))))
    }
}

/// Passes a trainer's progress on to the run's observer.
final class TrainingProgress: TrainingObserver {
    private let observer: any RunObserver
    /// The first update that was made here, and when it was done: a resumed run says nothing about time before that.
    private var first: (step: Int, time: ContinuousClock.Instant)?

    init(_ observer: any RunObserver) { self.observer = observer }

    func didStep(_ step: Int, of steps: Int, record: TrainingRecord) {
        let now = ContinuousClock.now
        let begun = first ?? (step, now)
        first = begun
        var left: Double?
        if step > begun.step {
            left = (now - begun.time).seconds / Double(step - begun.step) * Double(steps - step)
        }
        observer.trainingAdvanced(TrainingState(update: step, updates: steps, secondsLeft: left, record: record))
    }

    func shouldStop() -> Bool { false }
}
