import Foundation

/// A cursor over the bytes of a file: little-endian numbers and strings, every read checked against the end.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    let file: String
    private(set) var offset: Int

    init(_ bytes: UnsafeRawBufferPointer, file: String, offset: Int = 0) {
        self.bytes = bytes
        self.file = file
        self.offset = offset
    }

    var remaining: Int { bytes.count - offset }

    func error(_ message: String, at position: Int? = nil) -> ModelError {
        ModelError(.malformed, message, file: file, byteOffset: position ?? offset)
    }

    /// Moves past `count` bytes.
    mutating func take(_ count: Int, _ what: @autoclosure () -> String) throws -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else {
            throw error("expected \(count) bytes of \(what()), but only \(remaining) are left")
        }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }

    mutating func integer<T: FixedWidthInteger>(_: T.Type, _ what: @autoclosure () -> String) throws -> T {
        T(littleEndian: try take(MemoryLayout<T>.size, what()).loadUnaligned(as: T.self))
    }

    /// A 64-bit count of things that take at least `minimum` bytes each: refused when the file cannot hold them.
    mutating func count(minimum: Int, _ what: @autoclosure () -> String) throws -> Int {
        let start = offset
        let value = try integer(UInt64.self, what())
        guard value <= UInt64(remaining / minimum) else {
            throw error("\(what()) is \(value), more than the \(remaining) bytes left can hold", at: start)
        }
        return Int(value)
    }

    /// A string: 64-bit byte count, then UTF-8.
    mutating func string(_ what: @autoclosure () -> String, limit: Int = .max) throws -> String {
        let start = offset
        let length = try count(minimum: 1, "the length of \(what())")
        guard length <= limit else {
            throw error("\(what()) has \(length) bytes; at most \(limit) are allowed", at: start)
        }
        let buffer = try take(length, what())
        guard let text = String(validating: buffer, as: UTF8.self) else {
            throw error("\(what()) is not valid UTF-8", at: start)
        }
        return text
    }
}
