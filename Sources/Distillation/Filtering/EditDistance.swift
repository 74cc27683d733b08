/// Levenshtein's distance from one text to others, 64 letters at a time (Myers 1999, with the blocks of Hyyrö 2003).
package struct EditDistance: Sendable {
    private let count: Int
    private let blocks: Int
    /// Where each letter stands: `blocks` words for each letter of ASCII, one behind the other, and the other letters.
    private var ascii: [UInt64]
    private var others: [Unicode.Scalar: [UInt64]] = [:]

    package init(_ letters: [Unicode.Scalar]) {
        count = letters.count
        blocks = (letters.count + 63) / 64
        ascii = [UInt64](repeating: 0, count: 128 * blocks)
        for (place, letter) in letters.enumerated() {
            let bit = 1 << UInt64(place % 64) as UInt64
            if letter.isASCII {
                ascii[Int(letter.value) * blocks + place / 64] |= bit
            } else {
                others[letter, default: [UInt64](repeating: 0, count: blocks)][place / 64] |= bit
            }
        }
    }

    /// The letters that must be put in, taken out or exchanged.
    package func edits(to other: [Unicode.Scalar]) -> Int {
        guard count > 0 else { return other.count }
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * blocks) { columns in
            let up = columns.extracting(..<blocks), down = columns.extracting(blocks...)
            up.initialize(repeating: .max)
            down.initialize(repeating: 0)
            let last = 1 << UInt64((count - 1) % 64) as UInt64
            var result = count
            for letter in other {
                let far = letter.isASCII ? nil : others[letter]
                // The first row grows by one with each letter.
                var carry = 1
                for block in 0..<blocks {
                    var here = letter.isASCII ? ascii[Int(letter.value) * blocks + block] : far?[block] ?? 0
                    let vertical = here | down[block]
                    if carry < 0 { here |= 1 }
                    let horizontal = (((here & up[block]) &+ up[block]) ^ up[block]) | here
                    var more = down[block] | ~(horizontal | up[block])
                    var less = up[block] & horizontal
                    let top = block == blocks - 1 ? last : 1 << 63
                    let next = more & top != 0 ? 1 : less & top != 0 ? -1 : 0
                    more = more << 1 | (carry > 0 ? 1 : 0)
                    less = less << 1 | (carry < 0 ? 1 : 0)
                    up[block] = less | ~(vertical | more)
                    down[block] = more & vertical
                    carry = next
                }
                result += carry
            }
            return result
        }
    }
}
