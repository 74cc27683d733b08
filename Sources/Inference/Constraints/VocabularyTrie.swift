internal import Tokenizers

/// A vocabulary's tokens sorted by their bytes, so that tokens with the same beginning are looked at once.
struct VocabularyTrie: Sendable {
    /// Tokens in the order of their bytes; special and empty tokens are left out.
    let tokens: [Int32]
    /// All tokens' bytes, one after another.
    let bytes: [UInt8]
    /// Where a token's bytes begin; one more than tokens.
    let starts: [Int32]
    /// How many bytes a token shares with the one before.
    let shared: [Int32]
    /// Number of the vocabulary's tokens.
    let size: Int

    init(_ tokenizer: Tokenizer) {
        let definition = tokenizer.definition
        size = definition.tokens.count
        let order = definition.tokens.indices
            .filter { definition.tokens[$0].kind != .special && !definition.tokens[$0].bytes.isEmpty }
            .sorted { definition.tokens[$0].bytes.lexicographicallyPrecedes(definition.tokens[$1].bytes) }
        var bytes: [UInt8] = []
        var starts: [Int32] = [0]
        var shared: [Int32] = []
        var last: [UInt8] = []
        for index in order {
            let own = definition.tokens[index].bytes
            shared.append(Int32(zip(last, own).prefix { $0 == $1 }.count))
            bytes += own
            starts.append(Int32(bytes.count))
            last = own
        }
        tokens = order.map(Int32.init)
        self.bytes = bytes
        self.starts = starts
        self.shared = shared
    }
}

/// A set of tokens, a bit for each of the vocabulary.
struct TokenMask: Sendable, Hashable {
    private(set) var words: [UInt64]

    init(size: Int) { words = [UInt64](repeating: 0, count: (size + 63) / 64) }

    var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    func contains(_ token: Int32) -> Bool {
        let index = Int(token)
        return index >> 6 < words.count && words[index >> 6] >> UInt64(index & 63) & 1 == 1
    }

    /// Makes what is not in the mask impossible.
    func apply(to logits: UnsafeMutableBufferPointer<Float>) {
        for index in stride(from: 0, to: logits.count, by: 64) {
            let word = index >> 6 < words.count ? words[index >> 6] : 0
            // Most words are all or nothing.
            if word == .max { continue }
            let end = min(index + 64, logits.count)
            if word == 0 {
                logits[index..<end].update(repeating: -.infinity)
            } else {
                for place in index..<end where word >> UInt64(place - index) & 1 == 0 { logits[place] = -.infinity }
            }
        }
    }

    mutating func remove(_ token: Int32) {
        let index = Int(token)
        if index >> 6 < words.count { words[index >> 6] &= ~(1 << UInt64(index & 63)) }
    }

    mutating func insert(_ token: Int32) {
        let index = Int(token)
        if index >> 6 < words.count { words[index >> 6] |= 1 << UInt64(index & 63) }
    }
}
