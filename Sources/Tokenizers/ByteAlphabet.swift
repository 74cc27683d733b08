/// GPT-2's alphabet: a printable character for each of the 256 bytes, so that any bytes can be
/// written as text. Printable Latin-1 characters stand for themselves, the rest for U+0100 onwards.
package enum ByteAlphabet {
    /// The character that stands for each byte.
    package static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0..<256).map { byte in
            let value = UInt32(byte)
            if (0x21...0x7e).contains(value) || (0xa1...0xac).contains(value) || (0xae...0xff).contains(value) {
                return Unicode.Scalar(UInt8(value))
            }
            defer { next += 1 }
            return Unicode.Scalar(next) ?? " "
        }
    }()

    /// The byte of each character below U+0144, or 256 where there is none.
    private static let bytes: [UInt16] = {
        var table = [UInt16](repeating: 256, count: 0x144)
        for (byte, scalar) in scalars.enumerated() {
            table[Int(scalar.value)] = UInt16(byte)
        }
        return table
    }()

    /// The bytes a text of the alphabet stands for, or `nil` when it holds a character outside of it.
    package static func bytes(of text: String) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            guard scalar.value < 0x144 else { return nil }
            let byte = bytes[Int(scalar.value)]
            guard byte < 256 else { return nil }
            result.append(UInt8(byte))
        }
        return result
    }

    /// Bytes written in the alphabet.
    package static func text(of bytes: some Sequence<UInt8>) -> String {
        var result = String.UnicodeScalarView()
        for byte in bytes {
            result.append(scalars[Int(byte)])
        }
        return String(result)
    }
}
