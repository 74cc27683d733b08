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
        /// Tokens of the batches for each second spent in updates; nil in records of earlier versions.
        public var tokensPerSecond: Double?
        /// nil for dense models.
        public var experts: Experts?
    }

    /// How the routed experts were used, over the updates of a point.
    public struct Experts: Sendable, Hashable, Codable {
        /// The largest share that one expert had of its layer's visits.
        public var maximumShare: Double
        /// Experts of all layers that nobody visited.
        public var dead: Int
        /// Entropy of the routers' probabilities in nats, mean over tokens and layers; log of the experts' number where
        /// they know nothing.
        public var routerEntropy: Double
        /// Each expert's share of its layer's visits, mean over the layers; nil in records of earlier versions.
        public var shares: [Double]?
        /// Layer and number of the experts that nobody visited, both counted from 0; nil: there are none.
        public var unused: [[Int]]?
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

    /// A return to an earlier state after training diverged.
    public struct Rollback: Sendable, Hashable, Codable {
        /// The update that went wrong, counted from 1.
        public var step: Int
        /// Updates of the state that training went back to.
        public var resumedFrom: Int
        /// One sentence.
        public var reason: String
        /// The first parameter that was not finite, or whose gradient was not; nil: the loss ran away.
        public var parameter: String?
        /// The batch: numbers of its sequences in the data.
        public var sequences: [Int]
        /// What the learning rate is multiplied with since.
        public var rateScale: Float
    }

    public var points: [Point] = []
    public var validations: [Validation] = []
    /// At most one: a second divergence is an error.
    public var rollbacks: [Rollback] = []
    /// Share of an expert's visits among its layer's, by layer, over the last tenth of the run; empty for dense models.
    public var expertLoads: [[Double]] = []
    public var steps = 0
    public var tokens = 0
    public var sequences = 0
    /// Seconds spent in updates, over all resumed parts; those that were rolled back don't count.
    public var seconds = 0.0
    /// Of the products of the last update; nil in records of earlier versions.
    public var precision: Precision?

    /// Whether training ended because validation stopped getting better.
    public var endedEarly = false
    /// The update of the validation whose weights were kept; nil: the last one's (or their mean).
    public var keptStep: Int?

    public init() {}

    /// Experts that nobody visited over the last tenth of the run, by layer.
    public var deadExperts: [[Int]] {
        expertLoads.map { layer in layer.indices.filter { layer[$0] == 0 } }
    }

    /// Records of earlier versions lack what was added since.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        points = try values.decode([Point].self, forKey: .points)
        validations = try values.decode([Validation].self, forKey: .validations)
        rollbacks = try values.decodeIfPresent([Rollback].self, forKey: .rollbacks) ?? []
        expertLoads = try values.decode([[Double]].self, forKey: .expertLoads)
        steps = try values.decode(Int.self, forKey: .steps)
        tokens = try values.decode(Int.self, forKey: .tokens)
        sequences = try values.decode(Int.self, forKey: .sequences)
        seconds = try values.decode(Double.self, forKey: .seconds)
        precision = try values.decodeIfPresent(Precision.self, forKey: .precision)
        endedEarly = try values.decodeIfPresent(Bool.self, forKey: .endedEarly) ?? false
        keptStep = try values.decodeIfPresent(Int.self, forKey: .keptStep)
    }
}

/// Follows a training run. Called on the training thread, between updates.
public protocol TrainingObserver {
    /// After every update.
    func didStep(_ step: Int, of steps: Int, record: TrainingRecord)
    /// Whether to end now, after writing a checkpoint.
    func shouldStop() -> Bool
}
