/// How to train.
public struct TrainingOptions: Sendable, Hashable, Codable {
    /// Passes over the data; the last one may be a part of a pass.
    public var epochs: Double = 3
    /// Sequences an update.
    public var batch = 32
    /// Peak of the learning rate.
    public var rate: Float = 5e-4
    /// Share of the updates in which the rate rises.
    public var warmup = 0.06
    /// What is left of the rate at the end, as a share of the peak.
    public var rateFloor: Float = 0.02
    /// AdamW's weight decay, on matrices.
    public var decay: Float = 0.05
    /// Largest norm of the gradient.
    public var clip: Float = 1
    /// Coefficients of the routers' extra losses.
    public var balance: Float = 1e-2
    public var z: Float = 1e-3
    /// Updates between checkpoints.
    public var checkpointInterval = 200
    /// Updates between passes over the validation sequences; 0: only at the end.
    public var validationInterval = 0
    public var seed: UInt64 = 1

    public init() {}

    /// Updates in all.
    public func steps(sequences: Int) -> Int {
        max(1, Int((Double(sequences) * epochs / Double(batch)).rounded(.up)))
    }
}
