internal import Foundation

/// A seeded generator of random numbers: xoshiro256** (Blackman & Vigna 2018), seeded through SplitMix64.
///
/// Its state is a value, so that a training checkpoint can keep it and a resumed run draws the same numbers.
public struct RandomNumbers: RandomNumberGenerator, Sendable, Hashable, Codable {
    private var s0, s1, s2, s3: UInt64

    /// Generators with different seeds are independent for all practical purposes; the same seed gives the same numbers.
    public init(seed: UInt64) {
        var state = seed
        func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
        s0 = next()
        s1 = next()
        s2 = next()
        s3 = next()
    }

    public mutating func next() -> UInt64 {
        let result = rotate(s1 &* 5, 7) &* 9
        let t = s1 << 17
        s2 ^= s0
        s3 ^= s1
        s1 ^= s2
        s0 ^= s3
        s2 ^= t
        s3 = rotate(s3, 45)
        return result
    }

    /// A number in 0 ..< 1 with 24 random bits.
    public mutating func uniform() -> Float {
        Float(next() >> 40) * 0x1p-24
    }

    /// A number from the normal distribution with mean 0 and deviation 1 (Box & Muller 1958; one of the pair).
    public mutating func normal() -> Float {
        let u = Double(next() >> 11) * 0x1p-53
        let v = Double(next() >> 11) * 0x1p-53
        return Float((-2 * log(1 - u)).squareRoot() * cos(2 * .pi * v))
    }

    /// A number in 0 ..< bound without bias.
    public mutating func below(_ bound: Int) -> Int {
        Int.random(in: 0..<bound, using: &self)
    }

    private func rotate(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 - k)) }
}
