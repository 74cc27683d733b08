internal import Foundation

/// The learning rate over a run.
public protocol RateSchedule: Sendable {
    /// Updates in which the rate rises, linearly.
    var warmup: Int { get }
    /// The rate of update `step`, counted from 0.
    func rate(_ step: Int) -> Float
}

/// Linear warm-up, then a cosine down to a share of the peak (Loshchilov & Hutter 2017).
public struct CosineSchedule: RateSchedule, Hashable, Codable {
    public var peak: Float
    public var warmup: Int
    public var steps: Int
    /// What is left at the end, as a share of the peak.
    public var floor: Float

    public init(peak: Float, warmup: Int, steps: Int, floor: Float = 0.05) {
        self.peak = peak
        self.warmup = warmup
        self.steps = steps
        self.floor = floor
    }

    /// The rate of update `step`, counted from 0.
    public func rate(_ step: Int) -> Float {
        if step < warmup { return peak * Float(step + 1) / Float(warmup) }
        let progress = min(1, Double(step - warmup) / Double(max(1, steps - warmup)))
        return peak * (floor + (1 - floor) * Float(0.5 * (1 + cos(.pi * progress))))
    }
}

/// Linear warm-up, the peak for most of the run, then a decay by 1 - sqrt to a share of the peak (Hägele et al. 2024,
/// eq. 2).
public struct WarmupStableDecaySchedule: RateSchedule, Hashable, Codable {
    public var peak: Float
    public var warmup: Int
    public var steps: Int
    /// Updates of the decay; it never begins before the warm-up ends.
    public var decay: Int
    /// What is left at the end, as a share of the peak.
    public var floor: Float

    public init(peak: Float, warmup: Int, steps: Int, decay: Int, floor: Float = 0) {
        self.peak = peak
        self.warmup = warmup
        self.steps = steps
        self.decay = decay
        self.floor = floor
    }

    /// The rate of update `step`, counted from 0.
    public func rate(_ step: Int) -> Float {
        if step < warmup { return peak * Float(step + 1) / Float(warmup) }
        let start = max(warmup, steps - decay)
        if step <= start { return peak }
        let progress = min(1, Double(step - start) / Double(max(1, steps - start)))
        return peak * (floor + (1 - floor) * Float(1 - progress.squareRoot()))
    }
}
