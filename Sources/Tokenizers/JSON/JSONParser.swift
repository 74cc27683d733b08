/// Reads JSON (RFC 8259), strictly: UTF-8, no duplicate keys, at most 100 levels deep.
public struct JSONParser {
    /// What was expected, and at which byte.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public var message: String
        public var offset: Int
        public var description: String { "\(message) at byte \(offset)" }
    }

    private let bytes: [UInt8]
    private var at = 0

    private static let depthLimit = 100

    /// - Throws: ``Failure``.
    public static func parse(_ bytes: some Sequence<UInt8>) throws -> JSONValue {
        var parser = JSONParser(bytes: Array(bytes))
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        if parser.at < parser.bytes.count {
            throw Failure(message: "unexpected text after the value", offset: parser.at)
        }
        return value
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private mutating func skipSpace() {
        while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    }

    private func fail(_ message: String) -> Failure { Failure(message: message, offset: at) }

    private mutating func value(depth: Int) throws -> JSONValue {
        guard depth < Self.depthLimit else { throw fail("more than \(Self.depthLimit) levels") }
        skipSpace()
        guard at < bytes.count else { throw fail("expected a value, found the end") }
        switch bytes[at] {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ text: String, _ value: JSONValue) throws -> JSONValue {
        guard bytes[at...].starts(with: text.utf8) else { throw fail("expected a value") }
        at += text.utf8.count
        return value
    }

    private mutating func number() throws -> JSONValue {
        let start = at
        func isDigit(_ place: Int) -> Bool { place < bytes.count && (0x30...0x39).contains(bytes[place]) }
        if at < bytes.count, bytes[at] == UInt8(ascii: "-") { at += 1 }
        guard isDigit(at) else { throw Failure(message: "expected a value", offset: start) }
        if bytes[at] == 0x30 { at += 1 } else { while isDigit(at) { at += 1 } }
        if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
            at += 1
            guard isDigit(at) else { throw fail("expected a digit") }
            while isDigit(at) { at += 1 }
        }
        if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
            at += 1
            if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") { at += 1 }
            guard isDigit(at) else { throw fail("expected a digit") }
            while isDigit(at) { at += 1 }
        }
        return .number(String(decoding: bytes[start..<at], as: UTF8.self))
    }

    private mutating func array(depth: Int) throws -> JSONValue {
        at += 1
        var values: [JSONValue] = []
        skipSpace()
        if at < bytes.count, bytes[at] == UInt8(ascii: "]") {
            at += 1
            return .array([])
        }
        while true {
            values.append(try value(depth: depth + 1))
            skipSpace()
            guard at < bytes.count else { throw fail("expected ',' or ']', found the end") }
            if bytes[at] == UInt8(ascii: "]") {
                at += 1
                return .array(values)
            }
            guard bytes[at] == UInt8(ascii: ",") else { throw fail("expected ',' or ']'") }
            at += 1
        }
    }

    private mutating func object(depth: Int) throws -> JSONValue {
        at += 1
        var members: [(key: String, value: JSONValue)] = []
        var seen: Set<String> = []
        skipSpace()
        if at < bytes.count, bytes[at] == UInt8(ascii: "}") {
            at += 1
            return .object([])
        }
        while true {
            skipSpace()
            guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { throw fail("expected a key") }
            let start = at
            let key = try string()
            guard seen.insert(key).inserted else {
                throw Failure(message: "the key \"\(key)\" occurs twice", offset: start)
            }
            skipSpace()
            guard at < bytes.count, bytes[at] == UInt8(ascii: ":") else { throw fail("expected ':'") }
            at += 1
            members.append((key, try value(depth: depth + 1)))
            skipSpace()
            guard at < bytes.count else { throw fail("expected ',' or '}', found the end") }
            if bytes[at] == UInt8(ascii: "}") {
                at += 1
                return .object(members)
            }
            guard bytes[at] == UInt8(ascii: ",") else { throw fail("expected ',' or '}'") }
            at += 1
        }
    }

    private mutating func string() throws -> String {
        let start = at
        at += 1
        var result: [UInt8] = []
        while true {
            guard at < bytes.count else { throw Failure(message: "the string has no end", offset: start) }
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                at += 1
                guard let text = String(validating: result, as: UTF8.self) else {
                    throw Failure(message: "the string is not valid UTF-8", offset: start)
                }
                return text
            }
            guard byte >= 0x20 else { throw fail("a control character in a string must be escaped") }
            at += 1
            if byte != UInt8(ascii: "\\") {
                result.append(byte)
                continue
            }
            result += try escape().utf8
        }
    }

    private mutating func escape() throws -> String {
        guard at < bytes.count else { throw fail("the string has no end") }
        let byte = bytes[at]
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return String(UnicodeScalar(byte))
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "u"):
            var unit = try hexadecimal()
            if (0xD800..<0xDC00).contains(unit), at + 1 < bytes.count, bytes[at] == UInt8(ascii: "\\"),
                bytes[at + 1] == UInt8(ascii: "u")
            {
                at += 2
                let low = try hexadecimal()
                guard (0xDC00..<0xE000).contains(low) else { throw fail("half of a surrogate pair") }
                unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = UnicodeScalar(unit) else { throw fail("half of a surrogate pair") }
            return String(scalar)
        default:
            at -= 1
            throw fail("unknown escape")
        }
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard at + 4 <= bytes.count else { throw fail("expected four hexadecimal digits") }
        var value: UInt32 = 0
        for byte in bytes[at..<at + 4] {
            guard
                let digit = UnicodeScalar(byte).properties.numericType != nil || (byte | 0x20) >= 0x61
                    ? Character(UnicodeScalar(byte)).hexDigitValue : nil
            else { throw fail("expected four hexadecimal digits") }
            value = value << 4 | UInt32(digit)
        }
        at += 4
        return value
    }
}
