import Crypto
import Foundation

/// A file by its path and its content, as a stage's output names it. Wherever it stands inside a stage's output,
/// the workspace checks that the file is still there, with the same content, before the output is used again.
package struct FileReference: Hashable, Sendable, Codable {
    /// Relative to the workspace's folder when inside it, otherwise absolute.
    package let path: String
    /// Bytes.
    package let size: Int64
    /// SHA-256 of the content.
    package let sha256: ContentKey

    package init(path: String, size: Int64, sha256: ContentKey) {
        self.path = path
        self.size = size
        self.sha256 = sha256
    }

    private enum CodingKeys: String, CodingKey {
        case path, size, sha256
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        path = try container.decode(String.self, forKey: .path)
        size = try container.decode(Int64.self, forKey: .size)
        sha256 = try container.decode(ContentKey.self, forKey: .sha256)
        guard size >= 0, !path.isEmpty, !path.utf8.contains(0) else {
            throw DecodingError.dataCorruptedError(
                forKey: .path, in: container, debugDescription: "expected a path and a size of at least 0")
        }
        (decoder.userInfo[FileCollector.userInfoKey] as? FileCollector)?.note(self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(path, forKey: .path)
        try container.encode(size, forKey: .size)
        try container.encode(sha256, forKey: .sha256)
        (encoder.userInfo[FileCollector.userInfoKey] as? FileCollector)?.note(self)
    }
}

/// What tells one version of a file from another without reading it.
struct FileStamp: Hashable, Sendable {
    var size: Int64
    /// Nanoseconds since 1970.
    var modified: Int64
    var device: Int64
    var inode: Int64
}

/// Reads a whole regular file through SHA-256, one megabyte at a time.
enum FileHasher {
    /// - Returns: the content's key and the file's stamp, which did not change while it was read.
    /// - Throws: ``WorkspaceError`` when it is missing, not a regular file, unreadable, or changes while it is read.
    static func hash(_ path: String) throws -> (key: ContentKey, stamp: FileStamp) {
        // Not blocking: opening a pipe that nobody writes to must not hang.
        let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw WorkspaceError.system(errno, "cannot read \(path)") }
        defer { close(descriptor) }
        let before = try stamp(of: descriptor, path)
        var hash = SHA256()
        var count: Int64 = 0
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { buffer.deallocate() }
        // A file that grows all the time is noticed rather than read for ever.
        while count <= before.size {
            let got = read(descriptor, buffer.baseAddress, buffer.count)
            if got < 0 {
                if errno == EINTR { continue }
                throw WorkspaceError.system(errno, "cannot read \(path)")
            }
            if got == 0 { break }
            hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: buffer[..<got]))
            count += Int64(got)
        }
        guard count == before.size, try stamp(of: descriptor, path) == before else {
            throw WorkspaceError(.invalidFile, "\(path) changed while it was read")
        }
        return (ContentKey(digest: hash.finalize()), before)
    }

    /// The stamp of the regular file at `path`; nil when there is none.
    static func stamp(at path: String) -> FileStamp? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return FileStamp(status)
    }

    private static func stamp(of descriptor: Int32, _ path: String) throws -> FileStamp {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw WorkspaceError.system(errno, "cannot read \(path)") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw WorkspaceError(.invalidFile, "cannot read \(path): not a regular file")
        }
        return FileStamp(status)
    }
}

extension FileStamp {
    fileprivate init(_ status: stat) {
        #if canImport(Darwin)
            let time = status.st_mtimespec
        #else
            let time = status.st_mtim
        #endif
        self.init(
            size: Int64(status.st_size),
            modified: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec),
            device: Int64(truncatingIfNeeded: status.st_dev),
            inode: Int64(truncatingIfNeeded: status.st_ino))
    }
}
