import Foundation

/// An exclusive lock on a file, released when this value goes away or the process dies, however it dies.
final class FolderLock: Sendable {
    private let descriptor: Int32

    /// - Throws: ``WorkspaceError`` `.busy` naming the process that holds the lock; others when it cannot be made.
    init(path: String, folder: String) throws {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw WorkspaceError.system(errno, "cannot use the folder \(folder)") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let number = errno
            defer { close(descriptor) }
            guard number == EWOULDBLOCK else { throw WorkspaceError.system(number, "cannot lock \(path)") }
            var holder = ""
            if let process = Self.process(in: descriptor) { holder = " (process \(process))" }
            throw WorkspaceError(
                .busy, "another run\(holder) is working in \(folder); wait until it ends, or stop it first")
        }
        self.descriptor = descriptor
        // The number is a courtesy to whoever is refused; the lock does not depend on it.
        let text = Array("\(getpid())\n".utf8)
        if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.count, 0) }
    }

    deinit { close(descriptor) }

    private static func process(in descriptor: Int32) -> Int32? {
        var buffer = [UInt8](repeating: 0, count: 16)
        let count = pread(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return nil }
        return Int32(String(decoding: buffer[..<count], as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
