/// Byte-pair merges left out at random, so that a word is met in several cuts (BPE-dropout, Provilkov et al.,
/// arXiv 1910.13267).
struct MergeDropout {
    /// Probability that a possible merge is left out at a step.
    let probability: Double
    private var state: UInt64

    init(probability: Double, seed: UInt64) {
        self.probability = probability
        state = seed
    }

    /// SplitMix64 (Steele, Lea & Flood 2014): one number a decision.
    mutating func drops() -> Bool {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Double((z ^ (z >> 31)) >> 11) * 0x1p-53 < probability
    }
}

extension Tokenizer {
    /// The tokens of a text with merges left out at random: the same bytes, cut more finely here and there.
    ///
    /// - Parameters:
    ///   - dropout: probability that a possible merge is left out at a step; 0 gives the tokens of ``encode(_:)``, 1
    ///     single bytes.
    ///   - seed: the same seed gives the same tokens.
    public func encode(_ text: String, dropout: Double, seed: UInt64) -> [Int32] {
        guard dropout > 0 else { return encode(text) }
        var merger = Merger()
        merger.dropout = MergeDropout(probability: dropout, seed: seed)
        return encode(
            text, specials: false, prefix: definition.characters?.prefix ?? .never, merger: &merger)
    }
}
