/// Follows one JSON value byte by byte (RFC 8259, without spaces between its parts) and tells what may come next: an
/// answer that keeps to it can be parsed.
public struct JSONConstraint: Sendable, Hashable {
    private enum State: Sendable, Hashable {
        case value
        /// A value, or the end of the array that was just opened.
        case firstElement
        /// A key, or the end of the object that was just opened.
        case firstKey
        case key
        case colon
        case string(isKey: Bool)
        case escape(isKey: Bool)
        case hexadecimal(left: Int, isKey: Bool)
        case number(Number)
        case literal(rest: [UInt8])
        /// A comma or the end of the container; at the top nothing.
        case afterValue
    }

    private enum Number: Sendable, Hashable {
        case sign, zero, digits, point, fraction, exponent, exponentSign, exponentDigits
    }

    private var state = State.value
    /// Open containers; true for objects.
    private var stack: [Bool] = []

    private static let depthLimit = 64

    public init() {}

    /// Whether the value is whole.
    public var isComplete: Bool {
        guard stack.isEmpty else { return false }
        switch state {
        case .afterValue: return true
        case .number(let part): return Self.canEnd(part)
        default: return false
        }
    }

    /// Goes on by some bytes.
    ///
    /// - Returns: false when they cannot stand here; what follows then means nothing.
    public mutating func accept(_ bytes: some Sequence<UInt8>) -> Bool {
        for byte in bytes where !accept(byte) { return false }
        return true
    }

    private mutating func accept(_ byte: UInt8) -> Bool {
        switch state {
        case .value: return begin(byte)
        case .firstElement: return byte == UInt8(ascii: "]") ? close(object: false) : begin(byte)
        case .firstKey where byte == UInt8(ascii: "}"): return close(object: true)
        case .firstKey, .key:
            state = .string(isKey: true)
            return byte == UInt8(ascii: "\"")
        case .colon:
            state = .value
            return byte == UInt8(ascii: ":")
        case .string(let isKey):
            if byte == UInt8(ascii: "\"") {
                state = isKey ? .colon : .afterValue
            } else if byte == UInt8(ascii: "\\") {
                state = .escape(isKey: isKey)
            }
            return byte >= 0x20
        case .escape(let isKey):
            state = byte == UInt8(ascii: "u") ? .hexadecimal(left: 4, isKey: isKey) : .string(isKey: isKey)
            return Array("\"\\/bfnrtu".utf8).contains(byte)
        case .hexadecimal(let left, let isKey):
            state = left > 1 ? .hexadecimal(left: left - 1, isKey: isKey) : .string(isKey: isKey)
            return Self.isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
        case .literal(let rest):
            state = rest.count > 1 ? .literal(rest: Array(rest.dropFirst())) : .afterValue
            return byte == rest[0]
        case .number(let part): return acceptNumber(byte, part)
        case .afterValue:
            guard let isObject = stack.last else { return false }
            if byte == UInt8(ascii: ",") {
                state = isObject ? .key : .value
                return true
            }
            return byte == UInt8(ascii: isObject ? "}" : "]") && close(object: isObject)
        }
    }

    private mutating func begin(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            stack.append(byte == UInt8(ascii: "{"))
            state = byte == UInt8(ascii: "{") ? .firstKey : .firstElement
            return stack.count <= Self.depthLimit
        case UInt8(ascii: "\""): state = .string(isKey: false)
        case UInt8(ascii: "t"): state = .literal(rest: Array("rue".utf8))
        case UInt8(ascii: "f"): state = .literal(rest: Array("alse".utf8))
        case UInt8(ascii: "n"): state = .literal(rest: Array("ull".utf8))
        case UInt8(ascii: "-"): state = .number(.sign)
        case UInt8(ascii: "0"): state = .number(.zero)
        default:
            state = .number(.digits)
            return Self.isDigit(byte)
        }
        return true
    }

    private mutating func close(object: Bool) -> Bool {
        guard stack.popLast() == object else { return false }
        state = .afterValue
        return true
    }

    private mutating func acceptNumber(_ byte: UInt8, _ part: Number) -> Bool {
        let isDigit = Self.isDigit(byte)
        switch part {
        case .sign where isDigit: state = .number(byte == UInt8(ascii: "0") ? .zero : .digits)
        case .digits where isDigit: break
        case .zero where byte == UInt8(ascii: "."), .digits where byte == UInt8(ascii: "."): state = .number(.point)
        case .point where isDigit, .fraction where isDigit: state = .number(.fraction)
        case .zero where byte | 0x20 == UInt8(ascii: "e"), .digits where byte | 0x20 == UInt8(ascii: "e"),
            .fraction where byte | 0x20 == UInt8(ascii: "e"):
            state = .number(.exponent)
        case .exponent where byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-"): state = .number(.exponentSign)
        case .exponent where isDigit, .exponentSign where isDigit, .exponentDigits where isDigit:
            state = .number(.exponentDigits)
        default:
            // What comes after a number ends it.
            guard Self.canEnd(part) else { return false }
            state = .afterValue
            return accept(byte)
        }
        return true
    }

    private static func canEnd(_ part: Number) -> Bool {
        [.zero, .digits, .fraction, .exponentDigits].contains(part)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}
