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
