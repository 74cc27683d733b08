internal import Synchronization

/// What was spent of a budget, and what calls in flight may still cost. A value without clocks.
///
/// Every call reserves the most it can cost before it is made, so that the budget holds whatever the calls in flight
/// turn out to cost.
package struct BudgetAccount: Sendable, Hashable {
    /// An amount of what a budget limits.
    package struct Amount: Sendable, Hashable {
        package var usd: Double
        package var tokens: Int
        package var requests: Int

        package init(usd: Double = 0, tokens: Int = 0, requests: Int = 0) {
            self.usd = usd
            self.tokens = tokens
            self.requests = requests
        }

        static func + (a: Amount, b: Amount) -> Amount {
            Amount(usd: a.usd + b.usd, tokens: a.tokens + b.tokens, requests: a.requests + b.requests)
        }

        static func - (a: Amount, b: Amount) -> Amount {
            Amount(usd: a.usd - b.usd, tokens: a.tokens - b.tokens, requests: a.requests - b.requests)
        }
    }

    package enum Reservation: Sendable, Hashable {
        case granted
        /// It fits, should the calls in flight cost less than reserved.
        case wait
        /// It does not fit any more; what has run out.
        case spent(String)
    }

    package let limits: TaskDefinition.Budget
    package private(set) var spent: Amount
    package private(set) var reserved = Amount()

    package init(_ limits: TaskDefinition.Budget, spent: Amount = Amount()) {
        self.limits = limits
        self.spent = spent
    }

    /// - Parameter minutes: of this run so far.
    package mutating func reserve(_ amount: Amount, minutes: Double) -> Reservation {
        if let limit = limits.minutes, minutes >= limit { return .spent("\(Self.plain(limit)) minutes") }
        if let over = over(spent + amount) { return .spent(over) }
        guard over(spent + reserved + amount) == nil else { return .wait }
        reserved = reserved + amount
        return .granted
    }

    /// A call that reserved an amount has ended and cost another.
    package mutating func settle(_ reservation: Amount, actual: Amount) {
        reserved = reserved - reservation
        spent = spent + actual
    }

    /// A call of an earlier run, which counted as spent with the most it could cost, has ended and cost another amount.
    package mutating func correct(_ most: Amount, actual: Amount) { spent = spent - most + actual }

    /// What is more than the budget in a total.
    private func over(_ total: Amount) -> String? {
        // A sum of many small numbers is not exact.
        if let limit = limits.usd, total.usd > limit * (1 + 1e-9) { return "$\(Self.plain(limit))" }
        if let limit = limits.tokens, Double(total.tokens) > limit { return "\(Self.plain(limit)) tokens" }
        if let limit = limits.requests, Double(total.requests) > limit { return "\(Self.plain(limit)) requests" }
        return nil
    }

    private static func plain(_ value: Double) -> String {
        value == value.rounded() && value.magnitude < 1e15 ? String(Int(value)) : String(value)
    }
}

/// A workspace's budget and account, which all its teachers share.
package final class TeacherAccount: Sendable {
    let budget: Mutex<BudgetAccount>
    let writer: CallWriter
    private let nextCall: Mutex<Int64>
    private let began = ContinuousClock.now

    /// - Throws: ``WorkspaceError``.
    package init(_ limits: TaskDefinition.Budget?, workspace: Workspace) throws {
        let totals = try workspace.callTotals()
        budget = Mutex(
            BudgetAccount(
                limits ?? TaskDefinition.Budget(),
                spent: .init(
                    usd: totals.usd, tokens: totals.inputTokens + totals.outputTokens,
                    requests: totals.answered + totals.lost + totals.open)))
        nextCall = Mutex(totals.nextID)
        writer = CallWriter(workspace)
    }

    /// Of one run, at most.
    var minutesLimit: Double? { budget.withLock { $0.limits.minutes } }

    /// Of this run so far.
    var minutes: Double { (ContinuousClock.now - began).seconds / 60 }

    func newCall() -> Int64 {
        nextCall.withLock {
            $0 += 1
            return $0 - 1
        }
    }

    func reserve(_ amount: BudgetAccount.Amount) -> BudgetAccount.Reservation {
        budget.withLock { $0.reserve(amount, minutes: minutes) }
    }

    func settle(_ reservation: BudgetAccount.Amount, actual: BudgetAccount.Amount) {
        budget.withLock { $0.settle(reservation, actual: actual) }
    }
}
