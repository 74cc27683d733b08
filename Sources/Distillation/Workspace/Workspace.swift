package import Foundation
import GRDB
import Synchronization

/// What a task's runs remember, in `DIR/.understudy/`: finished stages by the content of their inputs, every answer
/// a teacher gave, the curves, the hashes of files.
///
/// Every change is one transaction in write-ahead-log mode with full synchronisation: a process killed, or a machine
/// switched off, at any moment leaves the state of the last finished call.
package final class Workspace: Sendable {
    package enum Access: Sendable {
        /// For a run: reads and writes, and no other run may enter the folder meanwhile.
        case exclusive
        /// For looking at results, also while a run is at work.
        case reading
    }

    /// The task's folder.
    package let folder: URL
    /// `folder/.understudy`, where stages may keep their own files.
    package let hiddenFolder: URL

    let database: DatabaseQueue
    let databasePath: String
    let running = Mutex<Set<StageIdentity>>([])
    private let lock: FolderLock?

    /// Opens the workspace of a task's folder, and makes it when there is none.
    /// - Parameters:
    ///   - folder: the task's folder, which exists.
    ///   - maximumBytes: a limit on the database's size; nil: none but the disk's.
    /// - Throws: ``WorkspaceError``: `.busy` when another run is at work, `.damaged`, `.newer`, `.notWritable`,
    ///   `.diskFull`, `.missing`.
    package init(folder: URL, access: Access = .exclusive, maximumBytes: Int? = nil) throws {
        self.folder = folder.standardizedFileURL
        hiddenFolder = self.folder.appendingPathComponent(".understudy", isDirectory: true)
        databasePath = hiddenFolder.appendingPathComponent("workspace.sqlite").path
        switch access {
        case .exclusive:
            try Self.makeFolder(hiddenFolder, in: self.folder)
            lock = try FolderLock(
                path: hiddenFolder.appendingPathComponent("lock").path, folder: self.folder.path)
        case .reading:
            guard FileManager.default.fileExists(atPath: databasePath) else {
                throw WorkspaceError(.missing, "\(self.folder.path) has no results yet: \(databasePath) does not exist")
            }
            lock = nil
        }
        database = try WorkspaceSchema.open(databasePath, access: access, maximumBytes: maximumBytes)
    }

    /// Makes the hidden folder, which version control ignores.
    private static func makeFolder(_ hidden: URL, in folder: URL) throws {
        var status = stat()
        guard stat(folder.path, &status) == 0 else {
            throw WorkspaceError.system(errno, "cannot use the folder \(folder.path)")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw WorkspaceError(.invalidFile, "cannot use \(folder.path): it is not a folder")
        }
        if mkdir(hidden.path, 0o755) == 0 {
            try AtomicFile.write("*\n", to: hidden.appendingPathComponent(".gitignore"))
        } else if errno != EEXIST {
            throw WorkspaceError.system(errno, "cannot make \(hidden.path)")
        }
    }

    /// Runs one read, with the database's failures as ``WorkspaceError``.
    func reading<Value>(_ body: (Database) throws -> Value) throws -> Value {
        do {
            return try database.read(body)
        } catch {
            throw WorkspaceError.database(error, at: databasePath)
        }
    }

    /// Runs one transaction, with the database's failures as ``WorkspaceError``.
    func writing<Value>(_ body: (Database) throws -> Value) throws -> Value {
        do {
            return try database.write(body)
        } catch {
            throw WorkspaceError.database(error, at: databasePath)
        }
    }

    /// Looks through the whole database for damage.
    /// - Throws: ``WorkspaceError`` `.damaged`.
    package func checkIntegrity() throws {
        let findings = try reading { db in
            try Row.fetchAll(db, sql: "PRAGMA integrity_check(3)").compactMap { $0.text("integrity_check") }
        }
        guard findings == ["ok"] else {
            throw WorkspaceError(.damaged, "\(databasePath) is damaged: \(findings.joined(separator: "; "))")
        }
    }
}
