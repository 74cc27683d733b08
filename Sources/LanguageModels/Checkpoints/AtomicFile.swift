package import Foundation

/// A file being written: into a temporary file beside its destination, which it replaces in one step on `commit`.
/// Without a commit nothing of it stays.
package final class AtomicFile {
    /// Where the file will be.
    package let path: String
    /// Bytes written so far.
    package private(set) var count = 0
    private let temporary: String
    private var descriptor: Int32
    private var buffer: [UInt8] = []

    private static let bufferSize = 1 << 20

    /// Creates the temporary file; the folder must exist.
    ///
    /// - Throws: `ModelError` when the folder cannot be written to, or something else than a file lies at the path already: a
    ///   folder, or a device, which a renamed file would put out of the world.
    package init(path: String) throws {
        self.path = path
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            throw ModelError(.inputOutput, "cannot be written: it is there already, and no regular file", file: path)
        }
        let folder = (path as NSString).deletingLastPathComponent
        let name = (path as NSString).lastPathComponent
        let unique = String(UInt64.random(in: 0 ... .max), radix: 36)
        temporary = (folder as NSString).appendingPathComponent(".\(name).\(unique).partial")
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw ModelError.system("creating the file", file: path) }
        buffer.reserveCapacity(Self.bufferSize)
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        unlink(temporary)
    }

    /// Appends bytes.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        count += bytes.count
        if buffer.count + bytes.count <= Self.bufferSize {
            buffer.append(contentsOf: bytes)
            return
        }
        try flush()
        if bytes.count < Self.bufferSize { buffer.append(contentsOf: bytes) } else { try writeThrough(bytes) }
    }

    package func write(_ bytes: some Collection<UInt8>) throws {
        if try bytes.withContiguousStorageIfAvailable({ try write(UnsafeRawBufferPointer($0)) }) == nil {
            try Swift.Array(bytes).withUnsafeBytes { try write($0) }
        }
    }

    /// Appends zeros until `count` is a multiple of `alignment`.
    package func pad(to alignment: Int) throws {
        let excess = count % alignment
        if excess > 0 { try write(Swift.Array(repeating: UInt8(0), count: alignment - excess)) }
    }

    /// Puts the file in place, once its bytes are on the disk.
    package func commit() throws {
        try flush()
        guard fsync(descriptor) == 0 else { throw ModelError.system("writing to the disk", file: path) }
        guard rename(temporary, path) == 0 else { throw ModelError.system("putting the file in place", file: path) }
        close(descriptor)
        descriptor = -1
        Self.synchronizeFolder((path as NSString).deletingLastPathComponent)
    }

    /// Makes renames inside a folder last through a power failure, where the system can.
    static func synchronizeFolder(_ folder: String) {
        let descriptor = open(folder.isEmpty ? "." : folder, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    private func flush() throws {
        try buffer.withUnsafeBytes { try writeThrough($0) }
        buffer.removeAll(keepingCapacity: true)
    }

    private func writeThrough(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while !rest.isEmpty {
            let written = Foundation.write(descriptor, rest.baseAddress, rest.count)
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw ModelError.system("writing", file: path) }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }
}

extension AtomicFile {
    /// Writes a whole small file.
    package static func write(_ data: Data, to path: String) throws {
        let file = try AtomicFile(path: path)
        try file.write(data)
        try file.commit()
    }
}
