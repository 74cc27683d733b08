/// A set of Unicode scalars as sorted ranges that do not touch.
struct ScalarSet: Sendable, Hashable {
    private(set) var ranges: [ClosedRange<UInt32>]

    init(_ ranges: [ClosedRange<UInt32>]) {
        var merged: [ClosedRange<UInt32>] = []
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound <= last.upperBound &+ 1 {
                merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        self.ranges = merged
    }

    init(_ scalars: String) { self.init(scalars.unicodeScalars.map { $0.value...$0.value }) }

    static let all = ScalarSet([0...0xD7FF, 0xE000...0x10FFFF])
    static let digits = ScalarSet([0x30...0x39])
    static let word = ScalarSet([0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
    static let space = ScalarSet([0x09...0x0D, 0x20...0x20])
    static let control = ScalarSet([0...0x1F])

    var isEmpty: Bool { ranges.isEmpty }

    func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

    /// All scalars that are not in it.
    var inverted: ScalarSet {
        var result: [ClosedRange<UInt32>] = []
        var next: UInt32 = 0
        for range in ranges {
            if range.lowerBound > next { result.append(next...range.lowerBound - 1) }
            next = range.upperBound + 1
        }
        if next <= 0x10FFFF { result.append(next...0x10FFFF) }
        return ScalarSet(result).intersection(.all)
    }

    func intersection(_ other: ScalarSet) -> ScalarSet {
        var result: [ClosedRange<UInt32>] = []
        for a in ranges {
            for b in other.ranges where a.overlaps(b) { result.append(a.clamped(to: b)) }
        }
        return ScalarSet(result)
    }

    func subtracting(_ other: ScalarSet) -> ScalarSet { intersection(other.inverted) }

    func contains(_ scalar: UInt32) -> Bool { ranges.contains { $0.contains(scalar) } }

    /// The set's UTF-8 encodings as sequences of byte ranges.
    var utf8: [[ClosedRange<UInt8>]] { ranges.flatMap { Self.utf8($0.lowerBound, $0.upperBound) } }

    private static func utf8(_ low: UInt32, _ high: UInt32) -> [[ClosedRange<UInt8>]] {
        // Within one length first.
        for limit: UInt32 in [0x7F, 0x7FF, 0xFFFF] where low <= limit && high > limit {
            return utf8(low, limit) + utf8(limit + 1, high)
        }
        let first = bytes(low)
        let last = bytes(high)
        // Then so that trailing bytes run through all their values wherever an earlier byte varies.
        for place in stride(from: first.count - 1, to: 0, by: -1) {
            let mask = (UInt32(1) << UInt32(6 * place)) - 1
            if low & ~mask != high & ~mask {
                if low & mask != 0 { return utf8(low, low | mask) + utf8((low | mask) + 1, high) }
                if high & mask != mask { return utf8(low, (high & ~mask) - 1) + utf8(high & ~mask, high) }
            }
        }
        return [zip(first, last).map { $0...$1 }]
    }

    private static func bytes(_ scalar: UInt32) -> [UInt8] {
        switch scalar {
        case 0...0x7F: [UInt8(scalar)]
        case 0x80...0x7FF: [0xC0 | UInt8(scalar >> 6), tail(scalar)]
        case 0x800...0xFFFF: [0xE0 | UInt8(scalar >> 12), tail(scalar >> 6), tail(scalar)]
        default: [0xF0 | UInt8(scalar >> 18), tail(scalar >> 12), tail(scalar >> 6), tail(scalar)]
        }
    }

    private static func tail(_ bits: UInt32) -> UInt8 { 0x80 | UInt8(bits & 0x3F) }
}
