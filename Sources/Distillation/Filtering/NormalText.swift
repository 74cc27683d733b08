internal import Foundation

/// A text as it is compared with others: what case, marks and spaces there are makes it no other one.
package struct NormalText: Sendable, Hashable {
    /// Runs of letters and numbers in lower case; characters that look alike in another width or form are one.
    package let words: [String]

    package init(_ text: String) {
        words = text.precomposedStringWithCompatibilityMapping.lowercased()
            .split { !$0.isLetter && !$0.isNumber }.map(String.init)
    }

    /// The words with one space between them.
    package var text: String { words.joined(separator: " ") }

    /// A number for each run of `length` characters, sorted, each once; of shorter texts one for the whole.
    func characterShingles(_ length: Int = 5) -> [UInt64] {
        let scalars = Array(text.unicodeScalars)
        guard scalars.count > length else { return scalars.isEmpty ? [] : [TextHash.of(scalars[...])] }
        return TextHash.unique((0...(scalars.count - length)).map { TextHash.of(scalars[$0..<($0 + length)]) })
    }

    /// A number for each run of `length` words, sorted, each once; of shorter texts one for the whole.
    func wordShingles(_ length: Int = 3) -> [UInt64] {
        guard words.count > length else { return words.isEmpty ? [] : [TextHash.of(words[...])] }
        return TextHash.unique(wordRuns(length))
    }

    /// A number for each run of `length` words, in their order; none where there are fewer.
    func wordRuns(_ length: Int) -> [UInt64] {
        guard words.count >= length, length > 0 else { return [] }
        return (0...(words.count - length)).map { TextHash.of(words[$0..<($0 + length)]) }
    }
}

/// Numbers for texts: FNV-1a with the finisher of SplitMix64, so that all bits depend on all of the text.
enum TextHash {
    static func of(_ scalars: ArraySlice<Unicode.Scalar>) -> UInt64 {
        mixed(
            scalars.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1.value)) &* 0x100_0000_01B3 })
    }

    static func of(_ words: ArraySlice<String>) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for word in words {
            for byte in word.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
            hash = (hash ^ 0x20) &* 0x100_0000_01B3
        }
        return mixed(hash)
    }

    private static func mixed(_ hash: UInt64) -> UInt64 {
        var z = hash
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    static func unique(_ hashes: [UInt64]) -> [UInt64] {
        var result: [UInt64] = []
        result.reserveCapacity(hashes.count)
        for hash in hashes.sorted() where hash != result.last { result.append(hash) }
        return result
    }
}
