public import Foundation
import GRDB

/// Why a workspace, or a file written for it, could not be used. `message` is one sentence for the user.
public struct WorkspaceError: Error, Sendable, Equatable, CustomStringConvertible, LocalizedError {
    /// The kind of failure, for programs. New codes may be added.
    public struct Code: RawRepresentable, Hashable, Sendable {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }

        /// Another run holds the folder, or the same stage is already running in this process.
        public static let busy = Code(rawValue: "busy")
        /// The database is not a database, or its pages are damaged.
        public static let damaged = Code(rawValue: "damaged")
        /// The folder or a file in it may not be written.
        public static let notWritable = Code(rawValue: "not-writable")
        /// The disk, or the size the workspace was allowed, is full.
        public static let diskFull = Code(rawValue: "disk-full")
        /// The database was written by a newer version of the program.
        public static let newer = Code(rawValue: "newer")
        /// A file or folder does not exist.
        public static let missing = Code(rawValue: "missing")
        /// A file is not what was expected (a folder, a device, changed while it was read).
        public static let invalidFile = Code(rawValue: "invalid-file")
        /// A value could not be stored, or not be read back.
        public static let invalidValue = Code(rawValue: "invalid-value")
        /// Any other failure of the system underneath.
        public static let system = Code(rawValue: "system")
    }

    public var code: Code
    /// One sentence: what failed, where, and what to do.
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
    public var errorDescription: String? { message }
}

extension WorkspaceError {
    /// The error for a failed system call.
    /// - Parameters:
    ///   - number: the value of `errno`.
    ///   - action: what was tried, as the beginning of a sentence ("cannot write /a/b").
    static func system(_ number: Int32, _ action: String) -> WorkspaceError {
        let code: Code =
            switch number {
            case EACCES, EPERM, EROFS: .notWritable
            case ENOSPC, EDQUOT, EFBIG: .diskFull
            case ENOENT: .missing
            case ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG: .invalidFile
            default: .system
            }
        let reason =
            switch number {
            case EACCES, EPERM: "permission denied"
            case EROFS: "the file system is read-only"
            case ENOSPC: "the disk is full"
            case EDQUOT: "the disk quota is used up"
            case EFBIG: "the file would grow beyond the allowed size"
            case ENOENT: "no such file or folder"
            case ENOTDIR: "a part of the path is not a folder"
            case EISDIR: "it is a folder"
            default: String(cString: strerror(number))
            }
        return WorkspaceError(code, "\(action): \(reason)")
    }

    /// The error for a failure of the database at `path`.
    static func database(_ error: any Error, at path: String) -> any Error {
        if error is RowDecodingError {
            return WorkspaceError(
                .damaged, "\(path) is damaged: a value has the wrong type; move it away to start afresh")
        }
        guard let failure = error as? DatabaseError else { return error }
        switch failure.resultCode {
        case .SQLITE_NOTADB, .SQLITE_CORRUPT, .SQLITE_FORMAT:
            return WorkspaceError(
                .damaged,
                "\(path) is damaged or not a workspace database; move it away to start afresh "
                    + "(teacher answers stored in it will be asked for again)")
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
            return WorkspaceError(.notWritable, "cannot write \(path): permission denied or a read-only file system")
        case .SQLITE_CANTOPEN:
            return WorkspaceError(.notWritable, "cannot open or create \(path): check that its folder may be written")
        case .SQLITE_FULL:
            return WorkspaceError(.diskFull, "cannot write \(path): the disk, or the space allowed to it, is full")
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return WorkspaceError(.busy, "\(path) is in use by another program")
        case .SQLITE_TOOBIG, .SQLITE_CONSTRAINT, .SQLITE_MISMATCH:
            return WorkspaceError(.invalidValue, "\(path) cannot hold a value: \(failure.message ?? "too big")")
        default:
            return WorkspaceError(
                .system, "\(path): \(failure.message ?? "the database failed (\(failure.resultCode))")")
        }
    }
}
