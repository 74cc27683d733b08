internal import Foundation
internal import OpenAI
internal import Synchronization

/// Asking in batches. What a batch can cost, and its name, are on the disk before it is sent; a run that was killed goes
/// on waiting for the same batch.
extension EndpointTeacher {
    /// Requests of one batch, and bytes of its file, at most.
    private static let mostRequests = 10_000
    private static let mostBytes = 90 << 20
    /// Failed requests are asked again in so many batches more.
    private static let rounds = 8
    /// A batch with less than the largest one's requests, divided by this, is the last within a budget.
    private static let least = 8
    /// Seconds between two looks at a batch: the first, and the longest.
    private static let firstWait = 0.25
    private static let longestWait = 60.0

    private struct Refusals {
        var reasons: [ContentKey: String] = [:]
        var first: String?
        var failure: String?
    }

    /// Asks for the answers that are missing.
    ///
    /// - Throws: ``TaskError`` when the endpoint does not let us in, gives up, or works nothing off; ``WorkspaceError``;
    ///   `CancellationError`.
    func askInBatches(
        count: Int, call: (Int) -> ChatCall, progress: (Int) throws -> Void
    ) async throws -> Outcome {
        var outcome = Outcome()
        var refusals = Refusals()
        for batch in try workspace.batches(of: endpoint.identity) {
            guard try await settle(batch, isOfThisRun: false, refusals: &refusals, outcome: &outcome) else {
                return outcome
            }
        }
        var hasMore = true
        var largest = 0
        for round in 0..<Self.rounds where hasMore && outcome.spent == nil {
            hasMore = false
            let answered = outcome.asked
            var pending: [(key: ContentKey, call: ChatCall)] = []
            var names: Set<ContentKey> = []
            var lines: [String] = []
            var bytes = 0
            /// Sends what has come together.
            func send() async throws {
                guard !pending.isEmpty else { return }
                largest = max(largest, pending.count)
                try await submit(pending, lines: lines, refusals: &refusals, outcome: &outcome)
                (pending, lines, bytes) = ([], [], 0)
            }
            asking: for start in stride(from: 0, to: count, by: 512) {
                let part = (start..<min(start + 512, count)).map(call)
                let keys = part.map { prompt.key(of: $0) }
                let known = try workspace.answered(keys)
                for (call, key) in zip(part, keys) {
                    guard !known.contains(key), refusals.reasons[key] == nil, names.insert(key).inserted else {
                        continue
                    }
                    if pending.isEmpty, outcome.asked == 0, round == 0 { _ = try await probe() }
                    reserving: while true {
                        switch account.reserve(mostCost(call)) {
                        case .granted: break reserving
                        case .spent(let what): outcome.spent = what
                        // What is reserved is in this batch, and is known once it is over.
                        case .wait where pending.isEmpty: outcome.spent = "the budget"
                        case .wait:
                            // What batches cost less than they may is good for further ones, until these are tiny.
                            let isTiny = pending.count * Self.least < largest
                            try await send()
                            if isTiny { outcome.spent = "the budget" }
                        }
                        if outcome.spent != nil { break asking }
                    }
                    var plain = adapted(call)
                    plain.streams = false
                    let line = client.batchLine(key.hexadecimal, plain)
                    pending.append((key, call))
                    lines.append(line)
                    bytes += line.utf8.count + 1
                    hasMore = true
                    if pending.count == Self.mostRequests || bytes > Self.mostBytes { try await send() }
                    if outcome.spent != nil { break asking }
                }
                try progress(min(count, outcome.asked))
            }
            try await send()
            // Nothing came of a whole round: another one would not differ.
            if hasMore, outcome.asked == answered { break }
        }
        outcome.refused = refusals.reasons.count
        outcome.refusal = refusals.first
        if let failure = refusals.failure, outcome.asked == 0, outcome.spent == nil {
            throw TaskError("the teacher gives no answer in batches: \(failure)")
        }
        for start in stride(from: 0, to: count, by: 512) {
            let keys = (start..<min(start + 512, count)).map { prompt.key(of: call($0)) }
            let known = try workspace.answered(keys)
            outcome.answered += keys.count { known.contains($0) }
        }
        try progress(outcome.answered + outcome.refused)
        return outcome
    }

    private func submit(
        _ pending: [(key: ContentKey, call: ChatCall)], lines: [String], refusals: inout Refusals,
        outcome: inout Outcome
    ) async throws {
        let batch = BatchRecord(id: UUID().uuidString.lowercased(), remote: nil)
        let calls = pending.map { key, call in
            let tokens = EndpointPrompt.mostTokens(call)
            return TeacherCall(
                id: account.newCall(), request: key, inputTokens: tokens.input, outputTokens: tokens.output,
                usd: mostCost(call).usd, teacher: endpoint.identity, batch: batch.id)
        }
        try workspace.open(batch, teacher: endpoint.identity, calls: calls)
        let made: EndpointBatch
        do { made = try await client.makeBatch(lines, mark: batch.id) } catch let error as EndpointError {
            throw TaskError("the teacher cannot be asked in batches: \(error.message)")
        }
        try workspace.setRemote(made.id, of: batch.id)
        _ = try await settle(
            BatchRecord(id: batch.id, remote: made.id), isOfThisRun: true, refusals: &refusals, outcome: &outcome)
    }

    /// Waits for a batch and takes in what came of it.
    ///
    /// - Parameter isOfThisRun: whether its calls are reserved in the account; otherwise they count as spent.
    /// - Returns: false when the time is over; the batch stays open.
    private func settle(
        _ batch: BatchRecord, isOfThisRun: Bool, refusals: inout Refusals, outcome: inout Outcome
    ) async throws -> Bool {
        do {
            var found: EndpointBatch?
            if let remote = batch.remote {
                found = try await client.batch(remote)
            } else {
                found = try await client.findBatch(mark: batch.id)
                if let found { try workspace.setRemote(found.id, of: batch.id) }
            }
            var wait = Self.firstWait
            while let current = found, !current.isOver {
                if let limit = account.minutesLimit, account.minutes >= limit {
                    outcome.spent = "the time"
                    return false
                }
                try await Task.sleep(for: .seconds(wait))
                wait = min(Self.longestWait, wait * 1.5)
                found = try await client.batch(current.id)
            }
            try await takeIn(found, batch, isOfThisRun: isOfThisRun, refusals: &refusals, outcome: &outcome)
            return true
        } catch let error as EndpointError {
            throw TaskError(
                "the teacher's batch cannot be fetched: \(error.message); run again to go on waiting for it")
        }
    }

    private func takeIn(
        _ found: EndpointBatch?, _ batch: BatchRecord, isOfThisRun: Bool, refusals: inout Refusals,
        outcome: inout Outcome
    ) async throws {
        var calls = Dictionary(
            try workspace.openCalls(of: batch.id).map { ($0.request.hexadecimal, $0) }, uniquingKeysWith: { a, _ in a })
        let each = max(0, (found?.ended ?? 0) - (found?.created ?? 0)) / Double(max(1, calls.count))
        var changes: [CallChange] = []
        func end(_ call: TeacherCall, _ change: CallChange, tokens: Int, usd: Double, requests: Int) throws {
            calls[call.request.hexadecimal] = nil
            changes.append(change)
            let most = BudgetAccount.Amount(
                usd: call.usd, tokens: call.inputTokens + call.outputTokens, requests: 1)
            let actual = BudgetAccount.Amount(usd: usd, tokens: tokens, requests: requests)
            account.budget.withLock {
                if isOfThisRun { $0.settle(most, actual: actual) } else { $0.correct(most, actual: actual) }
            }
            if changes.count >= 500 { try flush() }
        }
        func flush() throws {
            try workspace.apply(changes)
            changes = []
        }
        func lose(_ call: TeacherCall) throws {
            try end(
                call, .lost(id: call.id), tokens: call.inputTokens + call.outputTokens, usd: call.usd, requests: 1)
        }
        func free(_ call: TeacherCall) throws { try end(call, .free(id: call.id), tokens: 0, usd: 0, requests: 0) }

        for file in [found?.outputFile, found?.errorFile].compactMap({ $0 }) {
            for bytes in try await client.file(file).split(separator: 0x0A) {
                guard let line = EndpointBatchLine(bytes), let call = calls[line.name] else { continue }
                switch line.outcome {
                case .answer(let answer):
                    let stored = try stored(answer, key: call.request, mostInput: call.inputTokens, seconds: each)
                    outcome.asked += 1
                    try end(
                        call, .answered(id: call.id, stored), tokens: stored.inputTokens + stored.outputTokens,
                        usd: stored.usd, requests: 1)
                case .broken: try lose(call)
                case .refused(let reason):
                    refusals.reasons[call.request] = reason
                    refusals.first = refusals.first ?? "the endpoint refuses the request: \(reason)"
                    try free(call)
                case .failed(let reason):
                    refusals.failure = reason
                    try free(call)
                }
            }
        }
        if let problem = found?.problem { refusals.failure = problem }
        // What a finished batch says nothing of may have been billed; one that ended early did not work it off.
        for call in calls.values.sorted(by: { $0.id < $1.id }) {
            if found?.status == "completed" { try lose(call) } else { try free(call) }
        }
        try flush()
        try workspace.close(batch.id)
    }
}
