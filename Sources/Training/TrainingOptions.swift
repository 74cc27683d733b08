/// How to train.
public struct TrainingOptions: Sendable, Hashable, Codable {
    /// What changes the weights.
    public enum Optimizer: String, Sendable, Hashable, Codable, CaseIterable {
        case adamw
        /// Muon for the matrices of the blocks, AdamW for the rest; AdamW's rates carry over.
        case muon
    }

    /// How the learning rate goes down.
    public enum Schedule: String, Sendable, Hashable, Codable, CaseIterable {
        /// From the end of the warm-up on, as half a cosine.
        case cosine
        /// Warm-up, stable, decay: only at the end, as 1 - sqrt.
        case wsd
    }

    /// What becomes of the weights of the run's last updates.
    public enum Averaging: String, Sendable, Hashable, Codable, CaseIterable {
        /// The last update's are the result.
        case none
        /// Their mean.
        case uniform
        /// Their exponential mean.
        case exponential
    }

    /// Passes over the data; the last one may be a part of a pass.
    public var epochs: Double = 3
    /// Sequences an update.
    public var batch = 32
    public var optimizer = Optimizer.adamw
    /// Peak of the learning rate.
    public var rate: Float = 5e-4
    /// Share of the updates in which the rate rises.
    public var warmup = 0.06
    /// What is left of the rate at the end, as a share of the peak.
    public var rateFloor: Float = 0.02
    public var schedule = Schedule.cosine
    /// Share of the updates in which a `wsd` schedule decays.
    public var decayShare = 0.2
    /// Weight decay, on matrices.
    public var decay: Float = 0.05
    /// Sequences of a forward and backward pass, whose gradients are added until the batch is whole; 0: all of it.
    ///
    /// Less memory, and the same update up to the order of sums, but for the load-balance loss, which is then the mean
    /// of the parts' losses.
    public var microBatch = 0
    /// Whether each layer's activations are computed again in the backward pass instead of kept (Chen et al. 2016): less
    /// memory, more time, the same weights bit for bit.
    public var recompute = false
    /// Share of every target that is spread over the whole vocabulary (Szegedy et al. 2016).
    public var labelSmoothing: Float = 0
    /// What matches targets that have a teacher's distribution beside them.
    public var divergence = Divergence(.forwardKL)
    /// What the distance from a teacher's last hidden states counts, at targets that have one beside them.
    public var hidden: Float = 0
    /// β of direct preference optimisation, for sequences with a rejected answer (``PreferenceLoss``); nil: sequences are
    /// learnt as they are. Micro-batches, weights and label smoothing do not go with it.
    public var preference: Double?
    /// Largest norm of the gradient.
    public var clip: Float = 1
    /// Coefficients of the routers' extra losses.
    public var balance: Float = 1e-2
    public var z: Float = 1e-3
    /// How much an update changes the bias on each expert's choice, which balances them instead of a loss (set `balance`
    /// to 0 then); 0: there is none.
    public var biasSpeed: Float = 0
    /// Updates between checkpoints.
    public var checkpointInterval = 200
    /// Updates between passes over the validation sequences; 0: only at the end.
    public var validationInterval = 0
    /// Validations in a row without a better loss after which training ends; 0: it never ends early. When set, the
    /// weights of the best validation are the result.
    public var patience = 0
    public var averaging = Averaging.none
    /// Share of the updates, at the end, whose weights are averaged.
    public var averagingShare = 0.2
    /// What an update leaves of an exponential mean.
    public var averagingMemory: Float = 0.99
    public var seed: UInt64 = 1

    public init() {}

    func makeOptimizer(_ parameters: Parameters) -> any Training.Optimizer {
        switch optimizer {
        case .adamw: AdamW(parameters, decay: decay)
        case .muon: Muon(parameters, decay: decay)
        }
    }

    /// The learning rate over so many updates.
    func rates(steps: Int) -> any RateSchedule {
        let warmup = Int(Double(steps) * warmup)
        return switch schedule {
        case .cosine: CosineSchedule(peak: rate, warmup: warmup, steps: steps, floor: rateFloor)
        case .wsd:
            WarmupStableDecaySchedule(
                peak: rate, warmup: warmup, steps: steps, decay: Int((Double(steps) * decayShare).rounded()),
                floor: rateFloor)
        }
    }

    /// Updates in all.
    public func steps(sequences: Int) -> Int {
        max(1, Int((Double(sequences) * epochs / Double(batch)).rounded(.up)))
    }
}
