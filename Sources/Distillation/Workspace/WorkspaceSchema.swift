import Foundation
import GRDB

/// The tables of a workspace and how older ones become the present ones. A migration, once released, never changes.
enum WorkspaceSchema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1") { db in
            try db.execute(
                sql: """
                    CREATE TABLE stages (
                        name TEXT NOT NULL,
                        key BLOB NOT NULL,
                        state TEXT NOT NULL,      -- running, finished, failed
                        started REAL NOT NULL,    -- seconds since 1970
                        finished REAL,
                        seconds REAL,
                        runs INTEGER NOT NULL DEFAULT 1,
                        output BLOB,              -- JSON
                        outputKey BLOB,           -- SHA-256 of the output
                        error TEXT,
                        PRIMARY KEY (name, key)
                    ) WITHOUT ROWID;
                    CREATE TABLE answers (
                        request BLOB PRIMARY KEY, -- SHA-256 of the whole request, the teacher included
                        body BLOB NOT NULL,
                        inputTokens INTEGER NOT NULL,
                        outputTokens INTEGER NOT NULL,
                        usd REAL NOT NULL,
                        seconds REAL NOT NULL,
                        created REAL NOT NULL
                    );
                    CREATE TABLE metrics (
                        run TEXT NOT NULL,
                        name TEXT NOT NULL,
                        step INTEGER NOT NULL,
                        value REAL,               -- NULL: not a number
                        PRIMARY KEY (run, name, step)
                    ) WITHOUT ROWID;
                    CREATE TABLE files (
                        path TEXT PRIMARY KEY,
                        size INTEGER NOT NULL,
                        modified INTEGER NOT NULL,
                        device INTEGER NOT NULL,
                        inode INTEGER NOT NULL,
                        sha256 BLOB NOT NULL
                    ) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("calls") { db in
            try db.execute(
                sql: """
                    CREATE TABLE calls (
                        id INTEGER PRIMARY KEY,
                        request BLOB NOT NULL,    -- as in answers
                        state TEXT NOT NULL,      -- open, answered, lost
                        inputTokens INTEGER NOT NULL,
                        outputTokens INTEGER NOT NULL,
                        usd REAL NOT NULL,        -- of open and lost ones the most they can have cost
                        created REAL NOT NULL
                    );
                    """)
        }
        migrator.registerMigration("teachers and batches") { db in
            try db.execute(
                sql: """
                    ALTER TABLE calls ADD COLUMN teacher TEXT NOT NULL DEFAULT '';
                    ALTER TABLE calls ADD COLUMN batch TEXT;
                    CREATE TABLE batches (
                        id TEXT PRIMARY KEY,      -- ours, which the endpoint keeps as metadata
                        teacher TEXT NOT NULL,
                        remote TEXT,              -- the endpoint's; NULL: not known to exist there
                        created REAL NOT NULL
                    );
                    """)
        }
        return migrator
    }

    /// Opens and migrates the database at `path`.
    /// - Throws: ``WorkspaceError``.
    static func open(_ path: String, access: Workspace.Access, maximumBytes: Int?) throws -> DatabaseQueue {
        do {
            var configuration = Configuration()
            configuration.label = "understudy.workspace"
            configuration.busyMode = .timeout(10)
            configuration.readonly = access == .reading
            if access == .exclusive { configuration.journalMode = .wal }
            configuration.prepareDatabase { db in
                // An answer that was paid for survives a power cut, not only a crash.
                if access == .exclusive { try db.execute(sql: "PRAGMA synchronous = FULL") }
                if let maximumBytes {
                    let pageSize = try Int.fetchOne(db, sql: "PRAGMA page_size") ?? 4096
                    try db.execute(sql: "PRAGMA max_page_count = \(max(1, maximumBytes / pageSize))")
                }
            }
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            let migrator = migrator
            if try queue.read(migrator.hasBeenSuperseded) {
                throw WorkspaceError(
                    .newer, "\(path) was written by a newer version of this program; use that version, or move it away")
            }
            if access == .exclusive {
                try migrator.migrate(queue)
            } else if try !queue.read(migrator.hasCompletedMigrations) {
                throw WorkspaceError(.damaged, "\(path) has not been set up yet; run the task first")
            }
            return queue
        } catch {
            throw WorkspaceError.database(error, at: path)
        }
    }
}

/// Columns by name, nil where the value is missing, NULL or of another type: a damaged row is not a crash.
extension Row {
    func integer(_ name: String) -> Int? { value(name).flatMap(Int.fromDatabaseValue) }
    func number(_ name: String) -> Double? { value(name).flatMap(Double.fromDatabaseValue) }
    func text(_ name: String) -> String? { value(name).flatMap(String.fromDatabaseValue) }
    func blob(_ name: String) -> Data? { value(name).flatMap(Data.fromDatabaseValue) }
    func key(_ name: String) -> ContentKey? { blob(name).flatMap(ContentKey.init(bytes:)) }

    private func value(_ name: String) -> DatabaseValue? { self[name] }
}
