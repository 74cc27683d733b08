import Foundation

/// A file mapped read-only into memory. Its bytes stay valid as long as the object lives.
///
/// The file must not be cut shorter while it is mapped: the operating system then ends the program at the next read.
public final class MappedFile: Sendable {
    /// The path it was opened with; errors name it.
    public let path: String
    /// The length in bytes.
    public let count: Int
    nonisolated(unsafe) private let base: UnsafeRawPointer?

    /// Maps a regular file.
    ///
    /// - Throws: `ModelError` when the file is not there, not a regular file, or cannot be mapped.
    public init(path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ModelError.system("opening the file", file: path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw ModelError.system("reading the file's size", file: path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw ModelError(.inputOutput, "expected a regular file", file: path)
        }
        self.path = path
        count = Int(status.st_size)
        guard count > 0 else {
            base = nil
            return
        }
        let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
        guard let address, address != MAP_FAILED else { throw ModelError.system("mapping the file", file: path) }
        base = UnsafeRawPointer(address)
    }

    deinit {
        if let base { munmap(UnsafeMutableRawPointer(mutating: base), count) }
    }

    /// All bytes of the file; valid as long as the object lives.
    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: count)
    }

    /// The address of byte `offset`, which must lie inside the file.
    package func pointer(at offset: Int) -> UnsafeRawPointer {
        precondition(offset >= 0 && offset < count, "MappedFile.pointer: byte \(offset) of \(count)")
        return base.unsafelyUnwrapped + offset
    }

    /// Gives the memory of the whole pages inside `range` back to the system. The bytes stay readable; the next read
    /// fetches them from the file again.
    package func release(_ range: Range<Int>) {
        guard let base else { return }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let lower = (max(range.lowerBound, 0) + page - 1) / page * page
        // The last page of the file may be released although the file ends inside it.
        let upper = range.upperBound >= count ? count : range.upperBound / page * page
        guard lower < upper else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + lower), upper - lower, MADV_DONTNEED)
    }
}
