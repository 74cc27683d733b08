import Crypto
package import Foundation

/// A SHA-256 over named inputs: two runs whose inputs are the same have the same key.
package struct ContentKey: Hashable, Sendable, Codable, CustomStringConvertible {
    /// 32 bytes.
    package let bytes: Data

    /// - Parameter bytes: 32 bytes; nil for another count.
    package init?(bytes: Data) {
        guard bytes.count == SHA256.byteCount else { return nil }
        self.bytes = bytes
    }

    /// - Parameter hexadecimal: 64 hexadecimal digits; nil for anything else.
    package init?(hexadecimal: String) {
        guard let bytes = Hexadecimal.bytes(hexadecimal) else { return nil }
        self.init(bytes: bytes)
    }

    init(digest: SHA256.Digest) {
        bytes = Data(digest)
    }

    /// The key of one piece of text, such as a teacher request.
    package init(of text: String) {
        self.init(digest: SHA256.hash(data: Data(text.utf8)))
    }

    /// The key of some bytes.
    package init(of data: Data) {
        self.init(digest: SHA256.hash(data: data))
    }

    /// The key of the inputs that `add` names.
    ///
    ///     let key = try ContentKey.of { key in
    ///         key.add("seed", 7)
    ///         key.add("inputs", inputsFile)
    ///         try key.add("recipe", encoding: recipe)
    ///     }
    package static func of(_ add: (inout Builder) throws -> Void) rethrows -> ContentKey {
        var builder = Builder()
        try add(&builder)
        return builder.key
    }

    /// The key of the part of this stage that begins with its row `first`.
    func part(_ first: Int) -> ContentKey {
        ContentKey.of {
            $0.add("whole", self)
            $0.add("first", first)
        }
    }

    /// 64 lower-case hexadecimal digits.
    package var hexadecimal: String { Hexadecimal.text(bytes) }
    package var description: String { hexadecimal }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let key = ContentKey(hexadecimal: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected 64 hexadecimal digits")
        }
        self = key
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(hexadecimal)
    }
}

extension ContentKey {
    /// Collects named inputs. The order of the calls does not matter; a name may be used once.
    package struct Builder: Sendable {
        private var entries: [String: Data] = [:]

        package init() {}

        package mutating func add(_ name: String, _ value: String) { add(name, tag: "s", Data(value.utf8)) }
        package mutating func add(_ name: String, _ value: Bool) { add(name, tag: "b", Data([value ? 1 : 0])) }
        package mutating func add(_ name: String, _ value: Data) { add(name, tag: "d", value) }
        /// The key of an upstream stage or output.
        package mutating func add(_ name: String, _ value: ContentKey) { add(name, tag: "k", value.bytes) }
        /// The content of a file; its path does not count.
        package mutating func add(_ name: String, _ value: FileReference) { add(name, tag: "f", value.sha256.bytes) }

        package mutating func add(_ name: String, _ value: some FixedWidthInteger) {
            add(name, tag: "i", Data(String(value).utf8))
        }

        /// Numbers with equal bits are equal inputs; 0 and -0 are not.
        package mutating func add(_ name: String, _ value: Double) {
            add(name, tag: "n", withUnsafeBytes(of: value.bitPattern.littleEndian) { Data($0) })
        }

        /// The list's elements, in order.
        package mutating func add(_ name: String, _ values: [String]) {
            var bytes = Data()
            for value in values { Self.append(Data(value.utf8), to: &bytes) }
            add(name, tag: "l", bytes)
        }

        /// Any value, by its JSON with sorted keys. A ``FileReference`` in it counts with its path.
        /// - Throws: what encoding throws.
        package mutating func add(_ name: String, encoding value: some Encodable) throws {
            add(name, tag: "j", try StableJSON.encode(value))
        }

        private mutating func add(_ name: String, tag: Unicode.Scalar, _ value: Data) {
            precondition(entries[name] == nil, "ContentKey: the input \(name) was added twice")
            entries[name] = Data(String(tag).utf8) + value
        }

        /// The key of what was added so far.
        package var key: ContentKey {
            var bytes = Data("understudy-key-1".utf8)
            for (name, value) in entries.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                Self.append(Data(name.utf8), to: &bytes)
                Self.append(value, to: &bytes)
            }
            return ContentKey(of: bytes)
        }

        /// Appends a length and the bytes, so that no two different lists give the same bytes.
        private static func append(_ value: Data, to bytes: inout Data) {
            withUnsafeBytes(of: UInt64(value.count).littleEndian) { bytes.append(contentsOf: $0) }
            bytes.append(value)
        }
    }
}

/// Bytes as hexadecimal digits and back.
enum Hexadecimal {
    static func text(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func bytes(_ text: String) -> Data? {
        func value(_ digit: UInt8) -> UInt8? {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
            default: nil
            }
        }
        var bytes = Data()
        var high: UInt8?
        for digit in text.utf8 {
            guard let value = value(digit) else { return nil }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return high == nil ? bytes : nil
    }
}
