/// Decides which sequences get how many tokens of the next pass: continuous batching with chunked prompts.
///
/// A value without memory, threads or clocks of its own. Requests are numbers to it.
struct Scheduler: Sendable {
    /// Tokens that one sequence feeds in the next pass.
    struct Share: Sendable, Hashable {
        var request: Int
        var tokens: Int
    }

    private struct Sequence {
        var request: Int
        /// Tokens known and not yet fed.
        var pending: Int
    }

    /// Sequences that run at a time.
    let maximumSequences: Int
    /// Tokens of one pass.
    let maximumTokens: Int

    private var waiting: [Sequence] = []
    private var nextWaiting = 0
    private var running: [Sequence] = []

    init(maximumSequences: Int, maximumTokens: Int) {
        precondition(maximumSequences >= 1 && maximumTokens >= 1, "Scheduler: limits must be positive")
        self.maximumSequences = maximumSequences
        self.maximumTokens = max(maximumTokens, maximumSequences)
    }

    var isEmpty: Bool { running.isEmpty && nextWaiting == waiting.count }

    /// A request arrives with this many tokens to feed (at least 1).
    mutating func add(_ request: Int, tokens: Int) {
        waiting.append(Sequence(request: request, pending: tokens))
    }

    /// The next pass: every running sequence gets at least one token, in the order of arrival; what is left of the
    /// pass goes to prompts, first come, first served.
    mutating func next() -> [Share] {
        while running.count < maximumSequences, nextWaiting < waiting.count {
            running.append(waiting[nextWaiting])
            nextWaiting += 1
        }
        if nextWaiting > 1024, nextWaiting * 2 > waiting.count {
            waiting.removeFirst(nextWaiting)
            nextWaiting = 0
        }
        var left = maximumTokens - running.count
        return running.map { sequence in
            let extra = min(left, sequence.pending - 1)
            left -= extra
            return Share(request: sequence.request, tokens: 1 + extra)
        }
    }

    /// The share was fed.
    mutating func fed(_ share: Share) {
        guard let place = running.firstIndex(where: { $0.request == share.request }) else { return }
        running[place].pending -= share.tokens
    }

    /// The sequence has new tokens to feed.
    mutating func extend(_ request: Int, tokens: Int) {
        guard let place = running.firstIndex(where: { $0.request == request }) else { return }
        running[place].pending += tokens
    }

    /// The request is done or cancelled.
    mutating func remove(_ request: Int) {
        running.removeAll { $0.request == request }
        if let place = waiting[nextWaiting...].firstIndex(where: { $0.request == request }) {
            waiting.remove(at: place)
        }
    }
}
