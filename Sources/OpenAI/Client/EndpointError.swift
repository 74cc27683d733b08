public import Foundation

/// Why an endpoint did not answer. `message` is one sentence for the user and never holds a key.
public struct EndpointError: Error, Sendable, Hashable, CustomStringConvertible, LocalizedError {
    /// The kind of failure, for programs. New codes may be added.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The address is none this program asks.
        public static let address = Code(rawValue: "address")
        /// The key is missing.
        public static let key = Code(rawValue: "key")
        /// The endpoint does not let this key in, or its account has nothing left.
        public static let denied = Code(rawValue: "denied")
        /// The endpoint refuses this request and will refuse it again.
        public static let refused = Code(rawValue: "refused")
        /// The endpoint was asked again and again and did not answer.
        public static let noAnswer = Code(rawValue: "no-answer")
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

/// Why one attempt at a request gave no answer.
public enum AttemptFailure: Error, Sendable, Hashable {
    /// 429. `retryAfter` in seconds, where the endpoint says so.
    case rateLimited(retryAfter: Double?, message: String)
    /// 5xx, and 408.
    case server(status: Int, retryAfter: Double?, message: String)
    /// No connection.
    case unreachable(String)
    /// The answer ended before its end, or is not what the API says.
    case broken(String)
    /// No answer within so many seconds.
    case timedOut(Double)
    /// Any other status: asking again does not help.
    case refused(status: Int, message: String)

    /// Whether the endpoint may have worked, and may bill it, although no answer came.
    public var mayBeBilled: Bool {
        switch self {
        case .broken, .timedOut: true
        case .rateLimited, .server, .unreachable, .refused: false
        }
    }

    /// How the endpoint is, as far as this failure tells.
    var outcome: CallOutcome {
        switch self {
        case .rateLimited(let retryAfter, _): .rateLimited(retryAfter: retryAfter)
        case .server(let status, let retryAfter, _):
            status == 503 || status == 529 ? .overloaded(retryAfter: retryAfter) : .failed
        case .timedOut: .overloaded(retryAfter: nil)
        case .unreachable, .broken: .failed
        case .refused: .answered
        }
    }

    /// What happened, as the end of a sentence.
    public var reason: String {
        switch self {
        case .rateLimited(_, let message): "it refuses more requests for now (429)" + Self.quote(message)
        case .server(let status, _, let message): "it failed (\(status))" + Self.quote(message)
        case .unreachable(let message): "it cannot be reached: \(message)"
        case .broken(let message): "its answer is broken: \(message)"
        case .timedOut(let seconds): "it gave no answer within \(Int(seconds.rounded(.up))) s"
        case .refused(let status, let message): "it refuses the request (\(status))" + Self.quote(message)
        }
    }

    private static func quote(_ message: String) -> String { message.isEmpty ? "" : ": \(message)" }
}
