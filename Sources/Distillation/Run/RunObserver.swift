package import Training

/// Follows a run. Called on the thread that works.
public protocol RunObserver: AnyObject {
    /// - Parameter secondsLeft: an estimate for the whole run; nil when there is none yet.
    func stageBegan(_ stage: String, number: Int, of count: Int)
    func stageAdvanced(_ fraction: Double, detail: String)
    /// After an update of a stage that trains; as it is, a plain line for ``stageAdvanced(_:detail:)``.
    func trainingAdvanced(_ training: TrainingState)
    func stageEnded(_ summary: String, reused: Bool)
    func note(_ text: String)
}

extension RunObserver {
    public func trainingAdvanced(_ training: TrainingState) {
        stageAdvanced(training.fraction, detail: training.sentence)
    }
}

/// What a run may do.
public struct RunOptions: Sendable {
    /// Minutes for adapting, labelling and training together; nil: as many epochs and inputs as the task asks for.
    public var minutes: Double?
    /// Threads; 0: one for each core.
    public var threads = 0
    /// Processes that share the work of training and labelling, of which this is rank 0; nil: this one alone.
    package var group: (any ProcessGroup)?

    public init(minutes: Double? = nil, threads: Int = 0) {
        self.minutes = minutes
        self.threads = threads
    }
}
