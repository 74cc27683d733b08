package import Foundation
import GRDB

extension Workspace {
    /// Names a file by path and content. The content is read only if the file changed since it was last hashed
    /// (path, size, modification time, inode and device).
    /// - Throws: ``WorkspaceError`` when it is missing, not a regular file, or unreadable.
    package func reference(to file: URL) throws -> FileReference {
        let path = file.standardizedFileURL.path
        let (key, stamp) = try digest(path)
        return FileReference(path: relative(path), size: stamp.size, sha256: key)
    }

    /// Where a reference's file is.
    package func url(of reference: FileReference) -> URL {
        reference.path.hasPrefix("/")
            ? URL(fileURLWithPath: reference.path) : folder.appendingPathComponent(reference.path)
    }

    /// Whether the file is there with the size and content it had.
    package func isCurrent(_ reference: FileReference) -> Bool {
        let path = url(of: reference).standardizedFileURL.path
        guard let stamp = FileHasher.stamp(at: path), stamp.size == reference.size else { return false }
        return (try? digest(path))?.key == reference.sha256
    }

    private func relative(_ path: String) -> String {
        let prefix = folder.path.hasSuffix("/") ? folder.path : folder.path + "/"
        return path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : path
    }

    private func digest(_ path: String) throws -> (key: ContentKey, stamp: FileStamp) {
        if let stamp = FileHasher.stamp(at: path), let key = try cachedKey(path, stamp) { return (key, stamp) }
        let (key, stamp) = try FileHasher.hash(path)
        try remember(key, stamp, at: path)
        return (key, stamp)
    }

    private func cachedKey(_ path: String, _ stamp: FileStamp) throws -> ContentKey? {
        try reading { db in
            try Row.fetchOne(
                db,
                sql: """
                    SELECT sha256 FROM files
                    WHERE path = ? AND size = ? AND modified = ? AND device = ? AND inode = ?
                    """,
                arguments: [path, stamp.size, stamp.modified, stamp.device, stamp.inode])?.key("sha256")
        }
    }

    private func remember(_ key: ContentKey, _ stamp: FileStamp, at path: String) throws {
        // A file written this very moment could be written again without its time changing.
        let age = Date().timeIntervalSince1970 - Double(stamp.modified) / 1e9
        guard age > 2, !isReadOnly else { return }
        try writing { db in
            try db.execute(
                sql: "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [path, stamp.size, stamp.modified, stamp.device, stamp.inode, key.bytes])
        }
    }

    private var isReadOnly: Bool { database.configuration.readonly }
}
