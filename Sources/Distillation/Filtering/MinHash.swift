internal import Tensors

/// Signatures of sets whose share of equal places is the sets' Jaccard similarity, about (Broder 1997).
///
/// With 128 permutations the estimate's standard deviation is at most 0.044.
package struct MinHash: Sendable {
    package static let permutations = 128
    /// The Mersenne prime 2⁶¹ − 1.
    private static let prime: UInt64 = (1 << 61) - 1
    /// x ↦ (a·x + b) mod prime (Carter & Wegman 1979), one for each place.
    private let factors: [(a: UInt64, b: UInt64)]

    package init(seed: UInt64 = 1) {
        var random = RandomNumbers(seed: seed)
        factors = (0..<Self.permutations).map { _ in
            (a: 1 + random.next() % (Self.prime - 1), b: random.next() % Self.prime)
        }
    }

    /// - Parameter shingles: numbers of the set's elements.
    /// - Returns: as many numbers as permutations; all the greatest for an empty set.
    package func signature(_ shingles: [UInt64]) -> [UInt64] {
        let reduced = shingles.map { $0 % Self.prime }
        return factors.map { factor in
            var least = UInt64.max
            for x in reduced {
                let product = factor.a.multipliedFullWidth(by: x)
                // 2⁶¹ counts as 1: the product's bits above it are added to those below.
                let sum = (product.low & Self.prime) + (product.high << 3 | product.low >> 61) + factor.b
                var value = (sum & Self.prime) + (sum >> 61)
                if value >= Self.prime { value -= Self.prime }
                least = min(least, value)
            }
            return least
        }
    }

    /// The share of equal places.
    package static func similarity(_ a: [UInt64], _ b: [UInt64]) -> Double {
        Double(zip(a, b).count { $0 == $1 }) / Double(max(1, a.count))
    }
}

/// Finds texts nearly the same as one that is already there: signatures cut into bands of which one must be equal
/// (locality-sensitive hashing; Leskovec, Rajaraman & Ullman, "Mining of Massive Datasets", section 3.4), then the exact
/// Jaccard similarity of the shingles.
package struct NearDuplicateIndex: Sendable {
    /// What texts are compared by.
    package enum Shingles: Sendable {
        /// Runs of five characters, for short texts.
        case characters
        /// Runs of three words, for long ones.
        case words

        /// What suits texts like these: words from 60 words on in the mean.
        package init(for texts: [String]) {
            let sample = texts.prefix(1000)
            let words = sample.reduce(0) { $0 + NormalText($1).words.count }
            self = words >= 60 * max(1, sample.count) ? .words : .characters
        }
    }

    /// Four places a band: of pairs with similarity 0.8 all but 10⁻⁷ are found, with 0.6 all but one in a hundred.
    private static let rowsPerBand = 4
    private let hash = MinHash()
    private let kind: Shingles
    private let threshold: Double
    private var bands: [[UInt64: [Int32]]]
    private var sets: [[UInt64]] = []

    /// - Parameter threshold: the Jaccard similarity from which texts count as the same, above 0.5.
    package init(threshold: Double, shingles: Shingles) {
        self.threshold = threshold
        kind = shingles
        bands = Array(repeating: [:], count: MinHash.permutations / Self.rowsPerBand)
    }

    package var count: Int { sets.count }

    /// Adds a text, whose number is how many were there before.
    package mutating func insert(_ text: NormalText) {
        let set = shingles(text)
        for (band, key) in keys(set).enumerated() { bands[band][key, default: []].append(Int32(sets.count)) }
        sets.append(set)
    }

    /// The most similar text from the threshold on, the earliest of equals; nil for none.
    package func match(_ text: NormalText) -> (number: Int, similarity: Double)? {
        let set = shingles(text)
        guard !set.isEmpty else { return nil }
        var candidates: Set<Int32> = []
        for (band, key) in keys(set).enumerated() { candidates.formUnion(bands[band][key] ?? []) }
        var best: (number: Int, similarity: Double)?
        for candidate in candidates.sorted() {
            let similarity = Self.jaccard(set, sets[Int(candidate)])
            if similarity >= threshold, similarity > best?.similarity ?? 0 { best = (Int(candidate), similarity) }
        }
        return best
    }

    private func shingles(_ text: NormalText) -> [UInt64] {
        kind == .characters ? text.characterShingles() : text.wordShingles()
    }

    private func keys(_ set: [UInt64]) -> [UInt64] {
        guard !set.isEmpty else { return [] }
        let signature = hash.signature(set)
        return stride(from: 0, to: signature.count, by: Self.rowsPerBand).map { start in
            signature[start..<(start + Self.rowsPerBand)].reduce(0xCBF2_9CE4_8422_2325 as UInt64) {
                ($0 ^ $1) &* 0x9E37_79B9_7F4A_7C15 ^ ($0 >> 29)
            }
        }
    }

    /// Of two sorted sets.
    static func jaccard(_ a: [UInt64], _ b: [UInt64]) -> Double {
        var i = 0
        var j = 0
        var both = 0
        while i < a.count, j < b.count {
            if a[i] == b[j] {
                both += 1
                i += 1
                j += 1
            } else if a[i] < b[j] {
                i += 1
            } else {
                j += 1
            }
        }
        let all = a.count + b.count - both
        return all == 0 ? 1 : Double(both) / Double(all)
    }
}
