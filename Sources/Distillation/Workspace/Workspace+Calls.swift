internal import Foundation
import GRDB

/// A call to a teacher that costs something, as the account keeps it.
package struct TeacherCall: Sendable, Equatable {
    package var id: Int64
    package var request: ContentKey
    package var inputTokens: Int
    package var outputTokens: Int
    package var usd: Double
    /// The model and its address.
    package var teacher: String
    /// The batch it is part of; nil: it is a call of its own.
    package var batch: String?

    package init(
        id: Int64, request: ContentKey, inputTokens: Int, outputTokens: Int, usd: Double, teacher: String = "",
        batch: String? = nil
    ) {
        self.id = id
        self.request = request
        self.inputTokens = inputTokens
        self.outputTokens = outputTokens
        self.usd = usd
        self.teacher = teacher
        self.batch = batch
    }
}

/// A change of the account.
package enum CallChange: Sendable {
    /// Before a call: with the most it can cost. A call that stays open was cut off by a kill and may have been billed.
    case open(TeacherCall)
    /// It gave an answer, which is stored in the same transaction.
    case answered(id: Int64, StoredAnswer)
    /// It gave none and may have been billed.
    case lost(id: Int64)
    /// It gave none and was not billed.
    case free(id: Int64)
}

/// Sums over the account.
package struct CallTotals: Sendable, Equatable {
    package var answered = 0
    package var lost = 0
    package var open = 0
    package var inputTokens = 0
    package var outputTokens = 0
    package var usd = 0.0
    /// A number that no call has yet.
    package var nextID: Int64 = 1

    package init() {}
}

extension Workspace {
    /// Makes changes of the account in one transaction: all of them, on the disk, when this returns; none when it throws.
    /// - Throws: ``WorkspaceError``.
    package func apply(_ changes: [CallChange]) throws {
        guard !changes.isEmpty else { return }
        try writing { db in try make(changes, db) }
    }

    /// Makes changes within a transaction.
    func make(_ changes: [CallChange], _ db: Database) throws {
        let now = Date().timeIntervalSince1970
        for change in changes {
            switch change {
            case .open(let call):
                let statement = try db.cachedStatement(
                    sql: "INSERT INTO calls VALUES (?, ?, 'open', ?, ?, ?, ?, ?, ?)")
                try statement.execute(arguments: [
                    call.id, call.request.bytes, call.inputTokens, call.outputTokens, call.usd, now, call.teacher,
                    call.batch,
                ])
            case .answered(let id, let answer):
                try insert([answer], db)
                let statement = try db.cachedStatement(
                    sql:
                        "UPDATE calls SET state = 'answered', inputTokens = ?, outputTokens = ?, usd = ? WHERE id = ?"
                )
                try statement.execute(arguments: [answer.inputTokens, answer.outputTokens, answer.usd, id])
            case .lost(let id):
                try db.cachedStatement(sql: "UPDATE calls SET state = 'lost' WHERE id = ?").execute(arguments: [id])
            case .free(let id):
                try db.cachedStatement(sql: "DELETE FROM calls WHERE id = ?").execute(arguments: [id])
            }
        }
    }

    /// What all calls cost together; open ones count with the most they can have cost.
    ///
    /// - Parameter teacher: whose calls; nil: all.
    /// - Throws: ``WorkspaceError``.
    package func callTotals(of teacher: String? = nil) throws -> CallTotals {
        try reading { db in
            var totals = CallTotals()
            for row in try Row.fetchAll(
                db,
                sql: """
                    SELECT state, count(*) AS count, total(inputTokens) AS input, total(outputTokens) AS output,
                        total(usd) AS usd, max(id) AS last FROM calls WHERE ? IS NULL OR teacher = ? GROUP BY state
                    """, arguments: [teacher, teacher])
            {
                let count = row.integer("count") ?? 0
                switch row.text("state") {
                case "answered": totals.answered += count
                case "lost": totals.lost += count
                default: totals.open += count
                }
                totals.inputTokens += Int(exactly: (row.number("input") ?? 0).rounded()) ?? 0
                totals.outputTokens += Int(exactly: (row.number("output") ?? 0).rounded()) ?? 0
                totals.usd += row.number("usd") ?? 0
                totals.nextID = max(totals.nextID, Int64(row.integer("last") ?? 0) + 1)
            }
            return totals
        }
    }

    /// Which of the requests have an answer, without reading the answers.
    /// - Throws: ``WorkspaceError``.
    package func answered(_ requests: [ContentKey]) throws -> Set<ContentKey> {
        try reading { db in
            let statement = try db.cachedStatement(sql: "SELECT 1 FROM answers WHERE request = ?")
            return Set(try requests.filter { try Row.fetchOne(statement, arguments: [$0.bytes]) != nil })
        }
    }
}

/// Writes changes of the account as they come, as many in one transaction as came while the last one was written.
///
/// Who waits for ``write(_:)`` knows that the change is on the disk.
package actor CallWriter {
    private let workspace: Workspace
    private let queue = DispatchQueue(label: "understudy.calls")
    private var pending: [(change: CallChange, continuation: CheckedContinuation<Void, any Error>)] = []
    private var isWriting = false

    package init(_ workspace: Workspace) { self.workspace = workspace }

    /// - Throws: ``WorkspaceError``.
    package func write(_ change: CallChange) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            pending.append((change, continuation))
            if !isWriting {
                isWriting = true
                Task { await self.writeAll() }
            }
        }
    }

    private func writeAll() async {
        while !pending.isEmpty {
            let batch = pending
            pending = []
            let changes = batch.map(\.change)
            let result: Result<Void, any Error> = await withCheckedContinuation { continuation in
                queue.async { [workspace] in
                    continuation.resume(returning: Result { try workspace.apply(changes) })
                }
            }
            for entry in batch { entry.continuation.resume(with: result) }
        }
        isWriting = false
    }
}
