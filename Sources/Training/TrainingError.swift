/// What can go wrong while training.
public struct TrainingError: Error, Sendable, CustomStringConvertible {
    /// Kinds of failure; more may be added.
    public struct Code: Sendable, Hashable {
        private let name: String
        private init(_ name: String) { self.name = name }
        /// The loss or the gradients are no longer numbers.
        public static let diverged = Code("diverged")
        /// A checkpoint can't be written or read.
        public static let checkpoint = Code("checkpoint")
        /// The file of metrics can't be written.
        public static let metrics = Code("metrics")
        /// There is nothing to train on.
        public static let noData = Code("noData")
        /// The training does not fit into memory.
        public static let memory = Code("memory")
        /// A start model doesn't fit what is asked for.
        public static let configuration = Code("configuration")
    }

    public var code: Code
    /// One sentence for the user.
    public var message: String
    public var description: String { message }

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
