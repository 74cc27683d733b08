internal import Foundation
import GRDB

/// A batch of calls that a teacher works off in its own time.
package struct BatchRecord: Sendable, Equatable {
    /// Ours.
    package var id: String
    /// The endpoint's; nil: it is not known to exist there.
    package var remote: String?

    package init(id: String, remote: String?) {
        self.id = id
        self.remote = remote
    }
}

extension Workspace {
    /// Keeps a batch and its calls, before anything of it is sent: all of it, on the disk, when this returns.
    ///
    /// - Throws: ``WorkspaceError``.
    package func open(_ batch: BatchRecord, teacher: String, calls: [TeacherCall]) throws {
        try writing { db in
            let now = Date().timeIntervalSince1970
            try db.execute(
                sql: "INSERT INTO batches VALUES (?, ?, ?, ?)", arguments: [batch.id, teacher, batch.remote, now])
            try make(calls.map { .open($0) }, db)
        }
    }

    /// - Throws: ``WorkspaceError``.
    package func setRemote(_ remote: String, of batch: String) throws {
        try writing { db in
            try db.execute(sql: "UPDATE batches SET remote = ? WHERE id = ?", arguments: [remote, batch])
        }
    }

    /// Forgets a batch whose calls have all been dealt with.
    ///
    /// - Throws: ``WorkspaceError``.
    package func close(_ batch: String) throws {
        try writing { db in try db.execute(sql: "DELETE FROM batches WHERE id = ?", arguments: [batch]) }
    }

    /// A teacher's batches that are not dealt with, the oldest first.
    ///
    /// - Throws: ``WorkspaceError``.
    package func batches(of teacher: String) throws -> [BatchRecord] {
        try reading { db in
            try Row.fetchAll(
                db, sql: "SELECT id, remote FROM batches WHERE teacher = ? ORDER BY created, id",
                arguments: [teacher]
            ).compactMap { row in row.text("id").map { BatchRecord(id: $0, remote: row.text("remote")) } }
        }
    }

    /// A batch's calls that are still open.
    ///
    /// - Throws: ``WorkspaceError``.
    package func openCalls(of batch: String) throws -> [TeacherCall] {
        try reading { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT id, request, inputTokens, outputTokens, usd, teacher FROM calls
                    WHERE batch = ? AND state = 'open' ORDER BY id
                    """, arguments: [batch]
            ).compactMap { row in
                guard let id = row.integer("id"), let request = row.key("request") else { return nil }
                return TeacherCall(
                    id: Int64(id), request: request, inputTokens: row.integer("inputTokens") ?? 0,
                    outputTokens: row.integer("outputTokens") ?? 0, usd: row.number("usd") ?? 0,
                    teacher: row.text("teacher") ?? "", batch: batch)
            }
        }
    }
}
