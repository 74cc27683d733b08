internal import DequeModule

/// Decides which requests run and which get how many tokens of the next pass: continuous batching with chunked prompts.
///
/// A value without memory, threads or clocks of its own. Requests are numbers to it.
struct Scheduler: Sendable {
    /// Tokens that one sequence feeds in the next pass.
    struct Share: Sendable, Hashable {
        var request: Int
        var tokens: Int
    }

    private struct Queue: Sendable, Hashable {
        var priority: Int
        var tenant: Int
    }

    private struct Waiting: Sendable {
        var request: Int
        var tokens: Int
        var chunk: Int
        var order: Int
        /// The pass it came in.
        var since: Int
    }

    private struct Running: Sendable {
        var request: Int
        var queue: Queue
        var order: Int
        var since: Int
        var chunk: Int
        /// Tokens known in all, and of those fed.
        var tokens: Int
        var fed: Int
        var pending: Int { tokens - fed }
    }

    /// Sequences that run at a time.
    let maximumSequences: Int
    /// Tokens of one pass.
    let maximumTokens: Int
    /// Passes after which a waiting request counts as one priority higher.
    let agingPasses: Int
    let pageTokens: Int

    private var queues: [Queue: Deque<Waiting>] = [:]
    private var running: [Running] = []
    private var nextOrder = 0
    private var pass = 0
    private(set) var waitingCount = 0
    /// Requests given up while they waited.
    private var dropped: Set<Int> = []

    init(maximumSequences: Int, maximumTokens: Int, agingPasses: Int = 64, pageTokens: Int = 16) {
        precondition(maximumSequences >= 1 && maximumTokens >= 1, "Scheduler: limits must be positive")
        self.maximumSequences = maximumSequences
        self.maximumTokens = max(maximumTokens, maximumSequences)
        self.agingPasses = agingPasses
        self.pageTokens = pageTokens
    }

    var isEmpty: Bool { running.isEmpty && waitingCount == 0 }
    var runningCount: Int { running.count }

    /// A request arrives with this many tokens to feed (at least 1), at most `chunk` of them in a pass.
    mutating func add(_ request: Int, tokens: Int, chunk: Int = .max, priority: Int = 0, tenant: Int = 0) {
        let waiting = Waiting(request: request, tokens: tokens, chunk: chunk, order: nextOrder, since: pass)
        queues[Queue(priority: priority, tenant: tenant), default: []].append(waiting)
        nextOrder += 1
        waitingCount += 1
    }

    /// Begins waiting requests while there is room: the highest priority first (waiting raises it), of equals those whose
    /// tenant has the fewest running, then the oldest.
    ///
    /// - Parameters:
    ///   - freePages: pages of the cache that nobody holds.
    ///   - isReady: whether a request can begin now; one that can't holds up its queue, not the others.
    /// - Returns: the requests that begin.
    mutating func admit(freePages: Int, isReady: (Int) -> Bool) -> [Int] {
        pass += 1
        var begun: [Int] = []
        // What running prompts still need is spoken for.
        var free = freePages - running.reduce(0) { $0 + pages($1.tokens + 1) - pages($1.fed) }
        var blocked: Set<Queue> = []
        while running.count < maximumSequences, waitingCount > 0 {
            for (queue, list) in queues {
                var list = list
                while let first = list.first, dropped.remove(first.request) != nil { list.removeFirst() }
                queues[queue] = list.isEmpty ? nil : list
            }
            var shares: [Int: Int] = [:]
            for sequence in running { shares[sequence.queue.tenant, default: 0] += 1 }
            let heads = queues.filter { !blocked.contains($0.key) }.map { ($0.key, $0.value[0]) }
            let best = heads.min { a, b in
                let left = (-rank(a.0, a.1), shares[a.0.tenant, default: 0], a.1.order)
                return left < (-rank(b.0, b.1), shares[b.0.tenant, default: 0], b.1.order)
            }
            guard let (queue, first) = best else { break }
            let needed = pages(first.tokens + 1)
            // With nothing running there is nobody to wait for.
            if needed > free, !(running.isEmpty && begun.isEmpty) { break }
            guard isReady(first.request) else {
                blocked.insert(queue)
                continue
            }
            free -= needed
            queues[queue]!.removeFirst()
            if queues[queue]!.isEmpty { queues[queue] = nil }
            waitingCount -= 1
            running.append(
                Running(
                    request: first.request, queue: queue, order: first.order, since: first.since, chunk: first.chunk,
                    tokens: first.tokens, fed: 0))
            begun.append(first.request)
        }
        return begun
    }

    private func rank(_ queue: Queue, _ waiting: Waiting) -> Int {
        queue.priority + (pass - waiting.since) / agingPasses
    }

    private func pages(_ tokens: Int) -> Int { (tokens + pageTokens - 1) / pageTokens }

    /// The next pass: every running sequence gets at least one token, in the order they began; what is left of the pass goes
    /// to prompts, first come, first served.
    func shares() -> [Share] {
        var left = maximumTokens - running.count
        return running.map { sequence in
            let extra = max(0, min(left, sequence.pending - 1, sequence.chunk - 1))
            left -= extra
            return Share(request: sequence.request, tokens: 1 + extra)
        }
    }

    /// So many of the sequence's tokens need not be fed any more.
    mutating func fed(_ request: Int, tokens: Int) {
        guard let place = running.firstIndex(where: { $0.request == request }) else { return }
        running[place].fed += tokens
    }

    /// The sequence has new tokens.
    mutating func extend(_ request: Int, tokens: Int) {
        guard let place = running.firstIndex(where: { $0.request == request }) else { return }
        running[place].tokens += tokens
    }

    /// Whom to stop when memory runs short: the least important, then the latest, that is not before `request`.
    func victim(atOrAfter request: Int) -> Int? {
        guard let place = running.firstIndex(where: { $0.request == request }) else { return nil }
        return running[place...].min { a, b in
            (a.queue.priority, -a.order) < (b.queue.priority, -b.order)
        }?.request
    }

    /// A running sequence waits again, before all others of its queue; it will feed all its tokens anew.
    mutating func preempt(_ request: Int) {
        guard let place = running.firstIndex(where: { $0.request == request }) else { return }
        let sequence = running.remove(at: place)
        queues[sequence.queue, default: []].prepend(
            Waiting(
                request: request, tokens: sequence.tokens, chunk: sequence.chunk, order: sequence.order,
                since: sequence.since))
        waitingCount += 1
    }

    /// The request is done or cancelled.
    mutating func remove(_ request: Int) {
        if let place = running.firstIndex(where: { $0.request == request }) {
            running.remove(at: place)
        } else if waitingCount > 0 {
            dropped.insert(request)
            waitingCount -= 1
            if waitingCount == 0 {
                queues = [:]
                dropped = []
            }
        }
    }
}
