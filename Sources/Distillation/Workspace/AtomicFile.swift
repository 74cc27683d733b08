package import Foundation
import Synchronization

/// Writes a file so that its path holds either the old content or the whole new one, whenever the power goes:
/// a temporary file beside it, `fsync`, `rename`, `fsync` of the folder.
package enum AtomicFile {
    private static let counter = Atomic<Int>(0)

    /// - Throws: ``WorkspaceError`` (not writable, disk full …); the old file is then untouched.
    package static func write(_ data: Data, to url: URL) throws {
        try write(to: url) { try $0.write(data) }
    }

    /// - Throws: ``WorkspaceError`` (not writable, disk full …); the old file is then untouched.
    package static func write(_ text: String, to url: URL) throws {
        try write(Data(text.utf8), to: url)
    }

    /// Writes piece by piece, for files too large to hold.
    /// - Parameter body: writes the content; if it throws, the old file is untouched.
    /// - Throws: ``WorkspaceError``, or what `body` throws.
    package static func write(to url: URL, _ body: (inout Writer) throws -> Void) throws {
        let folder = url.deletingLastPathComponent()
        removeLeftovers(of: url.lastPathComponent, in: folder)
        let number = counter.add(1, ordering: .relaxed).newValue
        let temporary = folder.appendingPathComponent(".\(url.lastPathComponent).\(getpid())-\(number).tmp").path
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw WorkspaceError.system(errno, "cannot write \(url.path)") }
        var writer = Writer(descriptor: descriptor, path: url.path)
        do {
            defer { close(descriptor) }
            try body(&writer)
            try writer.flush()
            guard fsync(descriptor) == 0 else { throw WorkspaceError.system(errno, "cannot write \(url.path)") }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, url.path) == 0 else {
            let error = WorkspaceError.system(errno, "cannot write \(url.path)")
            unlink(temporary)
            throw error
        }
        synchronize(folder: folder)
    }

    /// Receives the content of a file; buffers small pieces.
    package struct Writer: ~Copyable {
        private let descriptor: Int32
        private let path: String
        private var pending = Data()
        /// Bytes written so far.
        package private(set) var count = 0

        fileprivate init(descriptor: Int32, path: String) {
            self.descriptor = descriptor
            self.path = path
        }

        /// - Throws: ``WorkspaceError`` when the disk refuses.
        package mutating func write(_ data: Data) throws {
            count += data.count
            if pending.isEmpty, data.count >= 1 << 16 { return try put(data) }
            pending.append(data)
            if pending.count >= 1 << 16 { try flush() }
        }

        /// - Throws: ``WorkspaceError`` when the disk refuses.
        package mutating func write(_ text: String) throws { try write(Data(text.utf8)) }

        fileprivate mutating func flush() throws {
            try put(pending)
            pending.removeAll(keepingCapacity: true)
        }

        private func put(_ data: Data) throws {
            let (descriptor, path) = (descriptor, path)
            try data.withUnsafeBytes { bytes in
                var done = 0
                while done < bytes.count {
                    let put = writeSome(descriptor, UnsafeRawBufferPointer(rebasing: bytes[done...]))
                    if put < 0 {
                        if errno == EINTR { continue }
                        throw WorkspaceError.system(errno, "cannot write \(path)")
                    }
                    done += put
                }
            }
        }
    }

    /// Makes the folder's entries durable. Best effort: not every file system allows it.
    private static func synchronize(folder: URL) {
        let descriptor = open(folder.path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        _ = fsync(descriptor)
        close(descriptor)
    }

    /// Removes temporary files for the same name that a killed process left behind.
    private static func removeLeftovers(of name: String, in folder: URL) {
        guard let entries = try? FileManager.default.contentsOfDirectory(atPath: folder.path) else { return }
        let prefix = ".\(name)."
        for entry in entries where entry.hasPrefix(prefix) && entry.hasSuffix(".tmp") {
            let middle = entry.dropFirst(prefix.count).dropLast(4)
            guard let process = middle.split(separator: "-").first.flatMap({ Int32($0) }), process > 0,
                kill(process, 0) != 0, errno == ESRCH
            else { continue }
            unlink(folder.appendingPathComponent(entry).path)
        }
    }
}

/// `write(2)`, out of reach of the methods of the same name.
private func writeSome(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}
