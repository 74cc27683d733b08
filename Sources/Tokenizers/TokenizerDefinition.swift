/// What a BPE tokenizer is made of: its tokens, their merges, and how text is cut into pieces first.
///
/// Byte-pair encoding: Sennrich et al., arXiv 1508.07909; over bytes: GPT-2 (Radford et al., 2019); over characters, with
/// bytes for those that have no token: SentencePiece (Kudo and Richardson, arXiv 1808.06226).
public struct TokenizerDefinition: Sendable, Hashable {
    /// How a text is cut into pieces before merging.
    public enum PreTokenizer: Sendable, Hashable {
        /// GPT-2's pattern; `individualDigits` makes each digit a piece (SmolLM, StarCoder).
        case gpt2(individualDigits: Bool)
        /// Llama 3's pattern: numbers in groups of three digits.
        case llama3
        /// Qwen 2's pattern: Llama 3's with single digits.
        case qwen2
        /// Not at all (Llama 2, Mixtral, Gemma).
        case whole
        /// Before every space.
        case spaces
    }

    /// What is peculiar to a vocabulary over characters. Its tokens' bytes have spaces where the files write `▁`.
    public struct CharacterCoding: Sendable, Hashable {
        /// Where a text gets a space in front before it is cut.
        public enum SpacePrefix: Sendable, Hashable {
            case never
            /// At the beginning and after every token that is found as a whole.
            case always
            /// The same, unless there is a space already.
            case unlessSpaced
            /// At the beginning only, unless there is a space already.
            case firstUnlessSpaced
        }

        public var prefix: SpacePrefix
        /// Stands for a character that has no token, where bytes have none either.
        public var unknownToken: Int32?
        /// Whether several such characters in a row are one token.
        public var fusesUnknown: Bool

        public init(prefix: SpacePrefix, unknownToken: Int32? = nil, fusesUnknown: Bool = false) {
            self.prefix = prefix
            self.unknownToken = unknownToken
            self.fusesUnknown = fusesUnknown
        }
    }

    /// One entry of the vocabulary.
    public struct Token: Sendable, Hashable {
        public enum Kind: Sendable, Hashable {
            /// Made by merging.
            case normal
            /// Found as a whole in any text, before merging.
            case added
            /// Marks structure (a turn, an end); found only where the caller asks for it.
            case special
            /// A byte of a character that has no token, in vocabularies over characters.
            case byte
        }

        public var bytes: [UInt8]
        public var kind: Kind

        public init(bytes: [UInt8], kind: Kind = .normal) {
            self.bytes = bytes
            self.kind = kind
        }
    }

    /// Two tokens that become one. The earlier in the list, the sooner, unless scores say otherwise.
    public struct Merge: Sendable, Hashable {
        public var left: Int32
        public var right: Int32
        public var result: Int32
    }

    /// By number.
    public var tokens: [Token]
    public var merges: [Merge]
    /// By token, the higher the sooner it is made; empty: the merges' order counts. Merges whose results have the same score
    /// are done from left to right.
    public var scores: [Float] = []
    /// nil: tokens are made of bytes.
    public var characters: CharacterCoding?
    public var preTokenizer: PreTokenizer
    /// Whether a piece that is a token is taken as it is, whatever the merges would make of it (Llama 3).
    public var ignoresMerges = false
    /// Whether text is brought to Unicode's composed form first (Qwen 2).
    public var composesText = false
    public var beginToken: Int32?
    public var endToken: Int32?
    /// Other tokens that end an answer.
    public var furtherEndTokens: [Int32] = []
    /// Whether the model expects `beginToken` before every text.
    public var addsBeginToken = false

    /// The most tokens a vocabulary may have.
    static let sizeLimit = 4_000_000

    init(
        tokens: [Token], mergeTexts: [(left: [UInt8], right: [UInt8])], preTokenizer: PreTokenizer,
        characters: CharacterCoding? = nil, file: String?
    ) throws {
        guard !tokens.isEmpty, tokens.count <= Self.sizeLimit else {
            throw TokenizerError(.malformed, "a vocabulary of \(tokens.count) tokens", file: file)
        }
        self.tokens = tokens
        self.preTokenizer = preTokenizer
        self.characters = characters
        let numbers = TokenNumbers(tokens, where: { $0.kind != .special && $0.kind != .byte })
        merges = []
        merges.reserveCapacity(mergeTexts.count)
        for (rank, merge) in mergeTexts.enumerated() {
            guard let left = numbers[merge.left], let right = numbers[merge.right],
                let result = numbers[merge.left + merge.right]
            else {
                throw TokenizerError(
                    .malformed,
                    "merge \(rank) (\(TokenizerError.quoted(ByteAlphabet.text(of: merge.left))) with \(TokenizerError.quoted(ByteAlphabet.text(of: merge.right)))) names a token that the vocabulary lacks",
                    file: file)
            }
            merges.append(Merge(left: left, right: right, result: result))
        }
        guard characters == nil else {
            try checkFallback(file: file)
            return
        }
        for byte in UInt8.min...UInt8.max where numbers[[byte]] == nil {
            // GPT-2's alphabet has all bytes; some trained vocabularies lack those that UTF-8 never uses.
            if byte < 0x80 && byte >= 0x20 {
                throw TokenizerError(.malformed, "the vocabulary has no token for byte \(byte)", file: file)
            }
        }
    }
}

extension TokenizerDefinition {
    /// A tokenizer as a GGUF file holds it (`tokenizer.ggml.*`, model `gpt2`).
    ///
    /// - Parameters:
    ///   - types: llama.cpp's token types, one a token; empty means all normal.
    ///   - preTokenizer: name of the pattern (`tokenizer.ggml.pre`).
    /// - Throws: `TokenizerError` for lists that do not fit together, and patterns this program does not know.
    public init(
        ggufTokens: [String], merges: [String], types: [Int32], preTokenizer: String, bos: Int32?, eos: Int32?
    ) throws {
        guard types.isEmpty || types.count == ggufTokens.count else {
            throw TokenizerError(.malformed, "\(types.count) token types for \(ggufTokens.count) tokens")
        }
        var tokens: [Token] = []
        tokens.reserveCapacity(ggufTokens.count)
        for (index, text) in ggufTokens.enumerated() {
            switch types.isEmpty ? 1 : types[index] {
            case 3, 2: tokens.append(Token(bytes: Array(text.utf8), kind: .special))
            case 4: tokens.append(Token(bytes: Array(text.utf8), kind: .added))
            case 5: tokens.append(Token(bytes: Array(text.utf8), kind: .special))
            default: tokens.append(Token(bytes: ByteAlphabet.bytes(of: text) ?? Array(text.utf8)))
            }
        }
        let pattern: PreTokenizer
        var ignoresMerges = false
        switch preTokenizer {
        case "gpt-2", "gpt2": pattern = .gpt2(individualDigits: false)
        case "smollm", "starcoder", "refact", "command-r": pattern = .gpt2(individualDigits: true)
        case "llama-bpe", "llama3", "llama-v3":
            pattern = .llama3
            ignoresMerges = true
        case "qwen2", "deepseek-r1-qwen": pattern = .qwen2
        default:
            throw TokenizerError(
                .unsupported,
                "pre-tokenizer \(TokenizerError.quoted(preTokenizer)) is not supported (gpt-2, smollm, llama-bpe and qwen2 are)"
            )
        }
        try self.init(
            tokens: tokens, mergeTexts: try Self.mergeTexts(merges.lazy.map { Self.split($0) }, file: nil),
            preTokenizer: pattern, file: nil)
        self.ignoresMerges = ignoresMerges
        composesText = pattern == .qwen2
        try setEnds(bos: bos, eos: eos)
    }

    mutating func setEnds(bos: Int32?, eos: Int32?) throws {
        for (name, id) in [("first", bos), ("last", eos)] {
            if let id, !tokens.indices.contains(Int(id)) {
                throw TokenizerError(.malformed, "the \(name) token is \(id), but there are \(tokens.count) tokens")
            }
        }
        beginToken = bos
        endToken = eos
    }

    /// The two sides of a merge written `left right`. The alphabet has no space.
    static func split(_ merge: String) -> (String, String)? {
        let bytes = merge.utf8
        guard let space = bytes.firstIndex(of: 0x20) else { return nil }
        let second = bytes.index(after: space)
        return bytes[second...].contains(0x20) ? nil : (String(merge[..<space]), String(merge[second...]))
    }

    static func mergeTexts(
        _ merges: some Sequence<(String, String)?>, file: String?
    ) throws -> [(left: [UInt8], right: [UInt8])] {
        var result: [(left: [UInt8], right: [UInt8])] = []
        for (rank, merge) in merges.enumerated() {
            guard let merge, let left = ByteAlphabet.bytes(of: merge.0), let right = ByteAlphabet.bytes(of: merge.1),
                !left.isEmpty, !right.isEmpty
            else {
                throw TokenizerError(.malformed, "merge \(rank) is not two tokens", file: file)
            }
            result.append((left, right))
        }
        return result
    }
}

extension TokenizerDefinition {
    /// For bytes of text the first token that has them.
    package var idsByBytes: [[UInt8]: Int32] {
        var result: [[UInt8]: Int32] = [:]
        for (id, token) in tokens.enumerated() where !token.bytes.isEmpty && result[token.bytes] == nil {
            result[token.bytes] = Int32(id)
        }
        return result
    }
}
