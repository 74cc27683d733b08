/// The tokens of pieces met before, up to 16 bytes and 6 tokens each: most of a text is the same few thousand words.
///
/// Each piece has one place; a later piece takes the place of an earlier. One owner at a time.
final class PieceCache {
    private struct Entry {
        var low: UInt64
        var high: UInt64
        /// Bytes of the piece; 0: empty.
        var length: UInt8
        var count: UInt8
        var tokens: (Int32, Int32, Int32, Int32, Int32, Int32)
    }

    static let longestPiece = 16
    static let mostTokens = 6
    private static let size = 1 << 14
    private let entries: UnsafeMutablePointer<Entry>

    init() {
        entries = .allocate(capacity: Self.size)
        entries.initialize(
            repeating: Entry(low: 0, high: 0, length: 0, count: 0, tokens: (0, 0, 0, 0, 0, 0)), count: Self.size)
    }

    deinit { entries.deallocate() }

    /// A piece of at most 16 bytes as two words, and its place.
    struct Key {
        fileprivate var low: UInt64
        fileprivate var high: UInt64
        fileprivate var length: UInt8
        fileprivate var place: Int

        /// - Parameter room: bytes that can be read from `text` on.
        @inline(__always)
        init(_ text: UnsafePointer<UInt8>, length: Int, room: Int) {
            let raw = UnsafeRawPointer(text)
            if room >= 16 {
                low = raw.loadUnaligned(as: UInt64.self)
                high = raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
                if length < 8 {
                    low &= (1 << UInt64(8 * length)) - 1
                    high = 0
                } else if length < 16 {
                    high &= (1 << UInt64(8 * (length - 8))) - 1
                }
            } else {
                low = 0
                high = 0
                for index in 0..<min(length, 8) { low |= UInt64(text[index]) << UInt64(8 * index) }
                for index in 8..<max(length, 8) { high |= UInt64(text[index]) << UInt64(8 * (index - 8)) }
            }
            self.length = UInt8(length)
            let mixed = (low ^ (high &* 0xff51_afd7_ed55_8ccd) ^ UInt64(length)) &* 0x9e37_79b9_7f4a_7c15
            place = Int(truncatingIfNeeded: mixed >> 50)
        }
    }

    /// Appends the piece's tokens where they are known.
    @inline(__always)
    func append(_ key: Key, to ids: inout [Int32]) -> Bool {
        let entry = entries + key.place
        guard entry.pointee.low == key.low, entry.pointee.high == key.high, entry.pointee.length == key.length else {
            return false
        }
        if entry.pointee.count == 1 {
            ids.append(entry.pointee.tokens.0)
            return true
        }
        let count = Int(entry.pointee.count)
        withUnsafeBytes(of: &entry.pointee.tokens) { tokens in
            for index in 0..<count { ids.append(tokens.load(fromByteOffset: 4 * index, as: Int32.self)) }
        }
        return true
    }

    func store(_ key: Key, _ tokens: ArraySlice<Int32>) {
        guard tokens.count <= Self.mostTokens else { return }
        var entry = Entry(
            low: key.low, high: key.high, length: key.length, count: UInt8(tokens.count), tokens: (0, 0, 0, 0, 0, 0))
        withUnsafeMutableBytes(of: &entry.tokens) { place in
            for (index, token) in tokens.enumerated() {
                place.storeBytes(of: token, toByteOffset: 4 * index, as: Int32.self)
            }
        }
        entries[key.place] = entry
    }
}
