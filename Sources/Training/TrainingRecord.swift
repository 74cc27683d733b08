/// What happened in a training run: kept in checkpoints, shown in the report.
public struct TrainingRecord: Sendable, Hashable, Codable {
    /// Means over the updates since the last point.
    public struct Point: Sendable, Hashable, Codable {
        public var step: Int
        /// Cross-entropy to the soft targets, in nats a target.
        public var loss: Double
        /// Cross-entropy to the right tokens, in nats a target.
        public var answerLoss: Double
        /// Share of targets whose most probable token is right.
        public var accuracy: Double
        public var rate: Float
        /// The gradient's norm before clipping, at the last update.
        public var gradientNorm: Double
    }

    /// A pass over the validation sequences.
    public struct Validation: Sendable, Hashable, Codable {
        public var step: Int
        public var answerLoss: Double
        /// Share of targets whose most probable token is right.
        public var accuracy: Double
        /// Share of sequences all of whose targets are right.
        public var exact: Double
    }

    public var points: [Point] = []
    public var validations: [Validation] = []
    /// Share of an expert's visits among its layer's, by layer, over the last tenth of the run; empty for dense models.
    public var expertLoads: [[Double]] = []
    public var steps = 0
    public var tokens = 0
    public var sequences = 0
    /// Seconds spent in updates, over all resumed parts.
    public var seconds = 0.0

    public init() {}
}

/// Follows a training run. Called on the training thread, between updates.
public protocol TrainingObserver {
    /// After every update.
    func didStep(_ step: Int, of steps: Int, record: TrainingRecord)
    /// Whether to end now, after writing a checkpoint.
    func shouldStop() -> Bool
}
