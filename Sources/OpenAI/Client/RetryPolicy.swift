internal import Foundation

/// When a request is made again. Times in seconds.
public struct RetryPolicy: Sendable, Hashable {
    /// Failures a request survives; those with 429 are not counted.
    public var maximumFailures = 12
    /// The longest a request is kept, waits included.
    public var patience = 1800.0
    /// The first wait is at most this long, each next one at most twice as long …
    public var base = 0.25
    /// … up to this.
    public var longestBackOff = 30.0
    /// A `Retry-After` that is longer ends the request.
    public var longestRetryAfter = 900.0

    public init() {}
}

/// One request's way through its failures.
public struct RetryState: Sendable {
    public enum Decision: Sendable, Hashable {
        case retry(after: Double)
        case giveUp
    }

    private let policy: RetryPolicy
    private let began: Double
    /// Failures so far, those with 429 not counted.
    public private(set) var failures = 0
    /// Times the endpoint said 429.
    public private(set) var limits = 0

    /// - Parameter now: seconds on a clock that does not jump.
    public init(_ policy: RetryPolicy, now: Double) {
        self.policy = policy
        began = now
    }

    /// - Parameter draw: a random number in 0 ..< 1: waits are drawn from the whole interval ("full jitter"), so that
    ///   requests that failed together do not come back together.
    public mutating func next(after failure: AttemptFailure, now: Double, draw: Double) -> Decision {
        var asked: Double?
        switch failure {
        case .refused: return .giveUp
        case .rateLimited(let retryAfter, _):
            limits += 1
            asked = retryAfter
        case .server(_, let retryAfter, _):
            failures += 1
            asked = retryAfter
        case .unreachable, .broken, .timedOut: failures += 1
        }
        guard failures < policy.maximumFailures else { return .giveUp }
        let ceiling = min(policy.longestBackOff, policy.base * pow(2, Double(min(30, failures + limits - 1))))
        var wait = draw * ceiling
        if let asked {
            guard asked <= policy.longestRetryAfter else { return .giveUp }
            // Never sooner than asked for, and not all at once.
            wait = max(0, asked) + draw * min(ceiling, 0.1 * max(0, asked) + 0.05)
        }
        guard now + wait - began <= policy.patience else { return .giveUp }
        return .retry(after: wait)
    }
}

/// `Retry-After` and `retry-after-ms`.
public enum RetryAfter {
    /// Seconds to wait; nil when the headers do not say so, or make no sense.
    ///
    /// - Parameters:
    ///   - value: seconds, or a date (RFC 9110, 10.2.3).
    ///   - milliseconds: of the header `retry-after-ms`, which is more exact.
    ///   - now: seconds since 1970.
    public static func seconds(_ value: String?, milliseconds: String? = nil, now: Double) -> Double? {
        if let milliseconds, let number = Double(milliseconds.trimmingCharacters(in: .whitespaces)), number.isFinite,
            number >= 0
        {
            return number / 1000
        }
        guard let text = value?.trimmingCharacters(in: .whitespaces), !text.isEmpty else { return nil }
        if let number = Double(text) { return number.isFinite && number >= 0 ? number : nil }
        guard let date = date(text) else { return nil }
        return max(0, date - now)
    }

    /// A date such as `Tue, 24 Nov 2026 20:16:55 GMT`, as seconds since 1970.
    private static func date(_ text: String) -> Double? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let day = Int(parts[1]), let year = Int(parts[3]),
            let month = months.firstIndex(of: String(parts[2])), (1...31).contains(day), (1970...9999).contains(year)
        else { return nil }
        let clock = parts[4].split(separator: ":").map { Int($0) ?? -1 }
        guard clock.count == 3, (0...23).contains(clock[0]), (0...59).contains(clock[1]), (0...60).contains(clock[2])
        else { return nil }
        // Days since 1970-01-01 in the proleptic Gregorian calendar, the year beginning in March.
        let y = month < 2 ? year - 1 : year
        let shifted = (month + 10) % 12
        let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * shifted + 2) / 5 + day - 1 - 719_468
        return Double(days * 86400 + clock[0] * 3600 + clock[1] * 60 + clock[2])
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
}
