package import Foundation
import GRDB

/// One answer a teacher gave, and what it cost.
package struct StoredAnswer: Sendable, Equatable {
    /// The key of the whole request: teacher, prompt, options.
    package var request: ContentKey
    /// The answer, in the teacher's own form (JSON as a rule).
    package var body: Data
    package var inputTokens: Int
    package var outputTokens: Int
    package var usd: Double
    package var seconds: Double

    package init(
        request: ContentKey, body: Data, inputTokens: Int = 0, outputTokens: Int = 0, usd: Double = 0,
        seconds: Double = 0
    ) {
        self.request = request
        self.body = body
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
        self.usd = usd
        self.seconds = seconds
    }
}

/// Sums over stored answers.
package struct AnswerTotals: Sendable, Equatable {
    package var count = 0
    package var inputTokens = 0
    package var outputTokens = 0
    package var usd = 0.0
    package var seconds = 0.0

    package init() {}
}

extension Workspace {
    /// The answers that are already known.
    /// - Throws: ``WorkspaceError``.
    package func answers(to requests: [ContentKey]) throws -> [ContentKey: StoredAnswer] {
        try reading { db in
            var found: [ContentKey: StoredAnswer] = [:]
            let statement = try db.cachedStatement(
                sql: "SELECT body, inputTokens, outputTokens, usd, seconds FROM answers WHERE request = ?")
            for request in requests where found[request] == nil {
                guard let row = try Row.fetchOne(statement, arguments: [request.bytes]) else { continue }
                guard let body = row.blob("body") else { continue }
                found[request] = StoredAnswer(
                    request: request, body: body, inputTokens: row.integer("inputTokens") ?? 0,
                    outputTokens: row.integer("outputTokens") ?? 0, usd: row.number("usd") ?? 0,
                    seconds: row.number("seconds") ?? 0)
            }
            return found
        }
    }

    /// Stores a batch of answers: all of them, on the disk, when this returns; none when it throws.
    /// - Throws: ``WorkspaceError``.
    package func store(_ answers: [StoredAnswer]) throws {
        guard !answers.isEmpty else { return }
        try writing { db in try insert(answers, db) }
    }

    /// Adds answers within a transaction.
    func insert(_ answers: [StoredAnswer], _ db: Database) throws {
        let statement = try db.cachedStatement(sql: "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)")
        let now = Date().timeIntervalSince1970
        for answer in answers {
            try statement.execute(arguments: [
                answer.request.bytes, answer.body, answer.inputTokens, answer.outputTokens, answer.usd, answer.seconds,
                now,
            ])
        }
    }

    /// What all stored answers cost together.
    /// - Throws: ``WorkspaceError``.
    package func answerTotals() throws -> AnswerTotals {
        try reading { db in
            var totals = AnswerTotals()
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT count(*) AS count, total(inputTokens) AS input, total(outputTokens) AS output,
                        total(usd) AS usd, total(seconds) AS seconds FROM answers
                    """)
            guard let row else { return totals }
            totals.count = row.integer("count") ?? 0
            totals.inputTokens = Int(exactly: (row.number("input") ?? 0).rounded()) ?? Int.max
            totals.outputTokens = Int(exactly: (row.number("output") ?? 0).rounded()) ?? Int.max
            totals.usd = row.number("usd") ?? 0
            totals.seconds = row.number("seconds") ?? 0
            return totals
        }
    }

    /// Answers every request: from the store where it can, otherwise by asking, in batches, each of which is stored
    /// before the next is asked. Equal requests are asked once. After a kill, at most one batch is asked again.
    /// - Parameters:
    ///   - keys: one for each request.
    ///   - batch: how many requests to ask at once, at least 1.
    ///   - progress: called with the number of requests that have an answer, after each batch.
    ///   - ask: answers the requests at these indices of `keys`, in order, one for each; it may leave out the last ones
    ///     (a budget is spent), and is then not called again.
    /// - Returns: one for each request; nil for those left out.
    /// - Throws: what `ask` throws; ``WorkspaceError``.
    package func answers(
        to keys: [ContentKey], batch: Int, isolation: isolated (any Actor)? = #isolation,
        progress: (Int) -> Void = { _ in }, ask: ([Int]) async throws -> [StoredAnswer]
    ) async throws -> [StoredAnswer?] {
        var known = try answers(to: keys)
        var missing: [Int] = []
        var occurrences: [ContentKey: Int] = [:]
        for (index, key) in keys.enumerated() where known[key] == nil {
            if occurrences[key] == nil { missing.append(index) }
            occurrences[key, default: 0] += 1
        }
        var answered = keys.count - occurrences.values.reduce(0, +)
        progress(answered)
        var rest = missing[...]
        while !rest.isEmpty {
            try Task.checkCancellation()
            let asked = Array(rest.prefix(max(1, batch)))
            rest = rest.dropFirst(asked.count)
            let given = try await ask(asked)
            precondition(given.count <= asked.count, "Workspace.answers: more answers than requests")
            var checked = given
            for (position, index) in asked.prefix(given.count).enumerated() { checked[position].request = keys[index] }
            try store(checked)
            for answer in checked {
                known[answer.request] = answer
                answered += occurrences[answer.request] ?? 0
            }
            progress(answered)
            if given.count < asked.count { break }
        }
        return keys.map { known[$0] }
    }
}
