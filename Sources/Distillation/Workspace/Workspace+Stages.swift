package import Foundation
import GRDB
import Synchronization

/// One stage for one set of inputs.
struct StageIdentity: Hashable, Sendable {
    var name: String
    var key: ContentKey
}

/// What the workspace knows of a stage for one set of inputs.
package struct StageRecord: Sendable, Equatable {
    package enum State: String, Sendable {
        /// Begun, and not ended: at work, or killed.
        case running
        case finished
        /// Ended by an error, or cancelled.
        case failed
    }

    package var name: String
    package var key: ContentKey
    package var state: State
    package var started: Date
    package var finished: Date?
    /// How long it took.
    package var seconds: Double?
    /// How often it was begun.
    package var runs: Int
    /// The key of its output, to build a downstream stage's key from.
    package var outputKey: ContentKey?
    /// What went wrong.
    package var error: String?
}

extension Workspace {
    /// The output of a stage: the stored one if the stage finished before with the same key and every file its output
    /// names (as a ``FileReference``, at any depth) still has its size and content; otherwise that of `produce`, which
    /// is stored before this returns.
    ///
    /// What is returned has been through its stored form, so that a repeated run sees the same value as the first.
    /// - Parameters:
    ///   - key: over everything the output depends on.
    ///   - reused: called instead of `produce` when the stored output is used.
    /// - Throws: what `produce` throws; ``WorkspaceError``.
    package func stage<Output: Codable>(
        _ name: String, key: ContentKey, isolation: isolated (any Actor)? = #isolation,
        reused: ((StageRecord) -> Void)? = nil, produce: () async throws -> Output
    ) async throws -> Output {
        let identity = StageIdentity(name: name, key: key)
        guard running.withLock({ $0.insert(identity).inserted }) else {
            throw WorkspaceError(.busy, "the stage \(name) is already running")
        }
        defer { running.withLock { _ = $0.remove(identity) } }

        if let record = try stageRecord(name, key: key), let output = try storedOutput(Output.self, of: identity) {
            reused?(record)
            return output
        }
        try begin(identity)
        let clock = ContinuousClock()
        let start = clock.now
        let output: Output
        do {
            output = try await produce()
        } catch {
            try? fail(identity, error, seconds: (clock.now - start).seconds)
            throw error
        }
        let data: Data
        do {
            data = try StableJSON.encode(output)
        } catch {
            throw WorkspaceError(.invalidValue, "the output of the stage \(name) cannot be stored: \(error)")
        }
        guard data.count <= StableJSON.maximumBytes else {
            throw WorkspaceError(
                .invalidValue, "the output of the stage \(name) is too large to store (\(data.count) bytes)")
        }
        try finish(identity, data, seconds: (clock.now - start).seconds)
        do {
            return try StableJSON.decode(Output.self, from: data)
        } catch {
            throw WorkspaceError(.invalidValue, "the output of the stage \(name) cannot be read back: \(error)")
        }
    }

    /// What is known of a stage for one key; nil when it never began.
    /// - Throws: ``WorkspaceError``.
    package func stageRecord(_ name: String, key: ContentKey) throws -> StageRecord? {
        try reading { db in
            try Row.fetchOne(
                db, sql: "\(Self.selectRecords) WHERE name = ? AND key = ?", arguments: [name, key.bytes]
            ).flatMap(Self.record)
        }
    }

    /// Every stage that ever began, the latest first.
    /// - Throws: ``WorkspaceError``.
    package func stageRecords() throws -> [StageRecord] {
        try reading { db in
            try Row.fetchAll(db, sql: "\(Self.selectRecords) ORDER BY started DESC, name").compactMap(Self.record)
        }
    }

    /// The stored output of a finished stage, without running it; nil when there is none that is still good.
    /// - Throws: ``WorkspaceError``.
    package func output<Output: Codable>(
        _ type: Output.Type = Output.self, of name: String, key: ContentKey
    ) throws -> Output? {
        try storedOutput(type, of: StageIdentity(name: name, key: key))
    }

    /// Forgets a stage's outputs, for all keys or one, so that it runs again.
    /// - Throws: ``WorkspaceError``.
    package func forget(_ name: String, key: ContentKey? = nil) throws {
        try writing { db in
            try db.execute(
                sql: "DELETE FROM stages WHERE name = ? AND (? IS NULL OR key = ?)",
                arguments: [name, key?.bytes, key?.bytes])
        }
    }

    private func storedOutput<Output: Codable>(_ type: Output.Type, of identity: StageIdentity) throws -> Output? {
        let data = try reading { db in
            try Row.fetchOne(
                db, sql: "SELECT output FROM stages WHERE name = ? AND key = ? AND state = 'finished'",
                arguments: [identity.name, identity.key.bytes])?.blob("output")
        }
        guard let data else { return nil }
        let files = FileCollector()
        // An output of another shape, as an older version stored it, is no output.
        guard let output = try? StableJSON.decode(type, from: data, files: files) else { return nil }
        return files.references.allSatisfy(isCurrent) ? output : nil
    }

    private func begin(_ identity: StageIdentity) throws {
        try writing { db in
            try db.execute(
                sql: """
                    INSERT INTO stages (name, key, state, started) VALUES (?, ?, 'running', ?)
                    ON CONFLICT (name, key) DO UPDATE SET state = 'running', started = excluded.started,
                        finished = NULL, seconds = NULL, output = NULL, outputKey = NULL, error = NULL, runs = runs + 1
                    """,
                arguments: [identity.name, identity.key.bytes, Date().timeIntervalSince1970])
        }
    }

    private func finish(_ identity: StageIdentity, _ output: Data, seconds: Double) throws {
        try writing { db in
            try db.execute(
                sql: """
                    UPDATE stages SET state = 'finished', finished = ?, seconds = ?, output = ?, outputKey = ?
                    WHERE name = ? AND key = ?
                    """,
                arguments: [
                    Date().timeIntervalSince1970, seconds, output, ContentKey(of: output).bytes,
                    identity.name, identity.key.bytes,
                ])
        }
    }

    private func fail(_ identity: StageIdentity, _ error: any Error, seconds: Double) throws {
        let text = error is CancellationError ? "cancelled" : String(String(describing: error).prefix(2000))
        try writing { db in
            try db.execute(
                sql: """
                    UPDATE stages SET state = 'failed', finished = ?, seconds = ?, error = ? WHERE name = ? AND key = ?
                    """,
                arguments: [Date().timeIntervalSince1970, seconds, text, identity.name, identity.key.bytes])
        }
    }

    private static let selectRecords =
        "SELECT name, key, state, started, finished, seconds, runs, outputKey, error FROM stages"

    private static func record(_ row: Row) -> StageRecord? {
        guard let name = row.text("name"), let key = row.key("key"),
            let state = row.text("state").flatMap(StageRecord.State.init(rawValue:))
        else { return nil }
        return StageRecord(
            name: name, key: key, state: state, started: Date(timeIntervalSince1970: row.number("started") ?? 0),
            finished: row.number("finished").map(Date.init(timeIntervalSince1970:)), seconds: row.number("seconds"),
            runs: row.integer("runs") ?? 0, outputKey: row.key("outputKey"), error: row.text("error"))
    }
}

extension Duration {
    /// The length in seconds.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
