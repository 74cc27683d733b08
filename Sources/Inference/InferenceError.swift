public import Foundation

/// Why a request can't be answered, in one sentence for the user.
public struct InferenceError: Error, Sendable, Hashable, CustomStringConvertible, LocalizedError {
    /// The kind of an error. Open: other parts of the program may add their own.
    public struct Code: RawRepresentable, Sendable, Hashable {
        public let rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        public static let emptyPrompt = Code(rawValue: "empty_prompt")
        public static let invalidToken = Code(rawValue: "invalid_token")
        public static let promptTooLong = Code(rawValue: "prompt_too_long")
        /// A number that makes no sense.
        public static let invalidOption = Code(rawValue: "invalid_option")
        /// A regular expression or schema that is wrong or asks for what is not supported.
        public static let unsupportedConstraint = Code(rawValue: "unsupported_constraint")
        /// The queue is full: ask again later.
        public static let busy = Code(rawValue: "busy")
        /// The request needs more memory for keys and values than there is.
        public static let tooLarge = Code(rawValue: "too_large")
        /// The engine was stopped.
        public static let stopped = Code(rawValue: "stopped")
        public static let noChatTemplate = Code(rawValue: "no_chat_template")
        /// The model's vocabulary does not fit.
        public static let mismatch = Code(rawValue: "mismatch")
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
    public var errorDescription: String? { message }
}
