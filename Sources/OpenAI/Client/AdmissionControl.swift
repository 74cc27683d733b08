/// What a finished call tells about the endpoint.
public enum CallOutcome: Sendable, Hashable {
    /// It answered, be it that the request makes no sense.
    case answered
    /// It says that it is asked too much. Seconds.
    case rateLimited(retryAfter: Double?)
    /// It cannot keep up: 503, or no answer in time.
    case overloaded(retryAfter: Double?)
    /// It failed in another way.
    case failed
    /// The call was given up here: it tells nothing.
    case abandoned
}

/// How many calls may be in flight: one more for every round that goes well, a part less when the endpoint is asked too
/// much (additive increase, multiplicative decrease; Chiu & Jain 1989).
public struct ConcurrencyLimit: Sendable, Hashable {
    public var maximum: Int
    /// What a refusal leaves of the limit.
    public var decrease = 0.75
    /// The limit, at least 1; its whole part counts.
    public private(set) var value: Double
    /// Until the first refusal every answer adds one, which doubles the limit each round.
    private var isStarting = true
    /// Calls with smaller numbers were under way at the last decrease: their refusals say nothing new.
    private var decreasedAt = 0

    public init(initial: Int = 4, maximum: Int = 64) {
        precondition(maximum >= 1 && initial >= 1, "ConcurrencyLimit: limits must be at least 1")
        self.maximum = maximum
        value = Double(min(initial, maximum))
    }

    /// - Parameter inFlight: calls under way when it was answered, itself included: a limit that is not used does not grow.
    public mutating func answered(inFlight: Int) {
        guard Double(inFlight) * 2 >= value else { return }
        value = min(Double(maximum), value + (isStarting ? 1 : 1 / value))
    }

    /// - Parameters:
    ///   - call: the number of the call that was refused.
    ///   - admitted: the number the next call will have.
    public mutating func refused(call: Int, admitted: Int) {
        isStarting = false
        guard call >= decreasedAt else { return }
        decreasedAt = admitted
        value = max(1, value * decrease)
    }
}

/// Stops asking an endpoint that only fails, and tries now and then whether it is back.
public struct CircuitBreaker: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        case closed
        /// Nobody asks before then.
        case open(until: Double)
        /// One call is under way to see.
        case probing
    }

    public private(set) var state = State.closed
    /// Of so many calls …
    private let window: Int
    /// … so many must fail.
    private let threshold: Int
    private let shortest: Double
    private let longest: Double
    private var outcomes: [Bool] = []
    private var wait: Double
    /// Since when nothing has been answered while open; nil when closed.
    public private(set) var failingSince: Double?

    /// - Parameters:
    ///   - shortest: seconds until the first try; each next one waits twice as long, up to `longest`.
    public init(window: Int = 20, threshold: Int = 18, shortest: Double = 1, longest: Double = 60) {
        precondition(window >= threshold && threshold >= 1, "CircuitBreaker: the threshold must lie within the window")
        self.window = window
        self.threshold = threshold
        self.shortest = shortest
        self.longest = longest
        wait = shortest
    }

    /// Whether a call may go; nil: it may, otherwise when to ask again. A call that may go while the circuit is open is
    /// the probe.
    public mutating func admit(now: Double) -> Double? {
        switch state {
        case .closed: return nil
        case .open(let until):
            guard now >= until else { return until }
            state = .probing
            return nil
        case .probing: return now + 0.1
        }
    }

    public mutating func answered() {
        if state != .closed { outcomes = [] }
        state = .closed
        wait = shortest
        failingSince = nil
        note(false)
    }

    public mutating func failed(now: Double) {
        switch state {
        case .closed:
            note(true)
            guard outcomes.count >= window, outcomes.count(where: { $0 }) >= threshold else { return }
            open(now: now)
        case .probing: open(now: now)
        // A call that began before the circuit opened.
        case .open: return
        }
    }

    /// The probe was given up: somebody else may try.
    public mutating func abandoned(now: Double) {
        if state == .probing { state = .open(until: now) }
    }

    private mutating func open(now: Double) {
        failingSince = failingSince ?? now
        state = .open(until: now + wait)
        wait = min(longest, wait * 2)
        outcomes = []
    }

    private mutating func note(_ isFailure: Bool) {
        outcomes.append(isFailure)
        if outcomes.count > window { outcomes.removeFirst() }
    }
}

/// Decides which calls may go, and when: the limit on calls in flight, the circuit breaker, and pauses that the endpoint
/// asks for. A value without clocks and sockets.
public struct AdmissionControl: Sendable {
    public enum Admission: Sendable, Hashable {
        /// The call may go under this number.
        case go(call: Int)
        /// When another call ends.
        case full
        /// At this time.
        case wait(until: Double)
    }

    public var limit: ConcurrencyLimit
    public var breaker: CircuitBreaker
    public private(set) var inFlight = 0
    private var admitted = 0
    private var refusals = 0
    private var pausedUntil = 0.0
    /// So many refusals in a row, and everybody waits as long as the endpoint says.
    private let refusalsToPause = 4

    public init(limit: ConcurrencyLimit = ConcurrencyLimit(), breaker: CircuitBreaker = CircuitBreaker()) {
        self.limit = limit
        self.breaker = breaker
    }

    /// Calls that may go now besides those in flight.
    public var free: Int { max(0, Int(limit.value) - inFlight) }

    public mutating func admit(now: Double) -> Admission {
        if now < pausedUntil { return .wait(until: pausedUntil) }
        guard free > 0 else { return .full }
        if let until = breaker.admit(now: now) { return .wait(until: until) }
        inFlight += 1
        admitted += 1
        return .go(call: admitted - 1)
    }

    public mutating func finished(call: Int, _ outcome: CallOutcome, now: Double) {
        switch outcome {
        case .answered:
            limit.answered(inFlight: inFlight)
            breaker.answered()
            refusals = 0
        case .rateLimited(let retryAfter):
            limit.refused(call: call, admitted: admitted)
            breaker.answered()
            refuse(retryAfter, now: now)
        case .overloaded(let retryAfter):
            limit.refused(call: call, admitted: admitted)
            breaker.failed(now: now)
            refuse(retryAfter, now: now)
        case .failed: breaker.failed(now: now)
        case .abandoned: breaker.abandoned(now: now)
        }
        inFlight -= 1
        precondition(inFlight >= 0, "AdmissionControl: more calls ended than began")
    }

    private mutating func refuse(_ retryAfter: Double?, now: Double) {
        refusals += 1
        if refusals >= refusalsToPause, let retryAfter { pausedUntil = max(pausedUntil, now + min(retryAfter, 900)) }
    }
}
