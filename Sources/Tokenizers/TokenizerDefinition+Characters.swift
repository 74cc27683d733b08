/// Vocabularies over characters, as SentencePiece trains them.
extension TokenizerDefinition {
    /// A tokenizer as a GGUF file holds it (`tokenizer.ggml.*`, model `llama`): whatever two tokens make a third may be
    /// merged, the one with the highest score first.
    ///
    /// - Parameters:
    ///   - scores: one a token.
    ///   - types: llama.cpp's token types, one a token.
    ///   - unknown: stands for what cannot be written.
    ///   - addsSpace: whether a text gets a space in front.
    /// - Throws: `TokenizerError` for lists that do not fit together.
    public init(
        ggufPieces pieces: [String], scores: [Float], types: [Int32], unknown: Int32?, addsSpace: Bool, bos: Int32?,
        eos: Int32?
    ) throws {
        guard types.count == pieces.count, scores.count == pieces.count else {
            throw TokenizerError(
                .malformed, "\(types.count) token types and \(scores.count) scores for \(pieces.count) tokens")
        }
        guard !scores.contains(where: \.isNaN) else { throw TokenizerError(.malformed, "a token's score is no number") }
        var tokens: [Token] = []
        tokens.reserveCapacity(pieces.count)
        for (index, piece) in pieces.enumerated() {
            switch types[index] {
            case 2, 3, 5: tokens.append(Token(bytes: Array(piece.utf8), kind: .special))
            case 4: tokens.append(Token(bytes: Self.bytes(ofPiece: piece), kind: .added))
            case 6:
                guard let byte = Self.byte(named: piece) else {
                    throw TokenizerError(
                        .malformed,
                        "token \(index) is marked as a byte, but is \(TokenizerError.quoted(piece)) instead of <0x00> to <0xFF>"
                    )
                }
                tokens.append(Token(bytes: [byte], kind: .byte))
            default: tokens.append(Token(bytes: Self.bytes(ofPiece: piece)))
            }
        }
        if let unknown, !tokens.indices.contains(Int(unknown)) {
            throw TokenizerError(
                .malformed, "the unknown token is \(unknown), but there are \(tokens.count) tokens")
        }
        try self.init(
            tokens: tokens, mergeTexts: [], preTokenizer: .whole,
            characters: CharacterCoding(prefix: addsSpace ? .always : .never, unknownToken: unknown), file: nil)
        self.scores = scores
        setMergesByScore()
        try setEnds(bos: bos, eos: eos)
    }

    /// All ways to make a token of two others, in the order of the scores.
    private mutating func setMergesByScore() {
        let numbers = TokenNumbers(tokens, where: { $0.kind == .normal })
        var found: [Merge] = []
        for (id, token) in tokens.enumerated() where token.kind == .normal && token.bytes.count > 1 {
            // Of two tokens with the same bytes only the first is ever made; a token of one character is not made at all.
            guard numbers[token.bytes] == Int32(id), token.bytes.count <= Self.longestPiece else { continue }
            token.bytes.withUnsafeBufferPointer { bytes in
                for place in 1..<bytes.count where bytes[place] & 0xc0 != 0x80 {
                    guard let left = numbers[UnsafeBufferPointer(rebasing: bytes[..<place])],
                        let right = numbers[UnsafeBufferPointer(rebasing: bytes[place...])]
                    else { continue }
                    found.append(Merge(left: left, right: right, result: Int32(id)))
                }
            }
        }
        merges = Self.sorted(found, by: scores)
    }

    /// The most bytes of a token made by merging: no real vocabulary has longer ones, and finding its parts takes the square
    /// of this.
    private static let longestPiece = 1024

    static func sorted(_ merges: [Merge], by scores: [Float]) -> [Merge] {
        merges.indices.sorted {
            let (a, b) = (scores[Int(merges[$0].result)], scores[Int(merges[$1].result)])
            return a != b ? a > b : $0 < $1
        }.map { merges[$0] }
    }

    /// What comes before what: lower first, equals from left to right. One a merge.
    var ranks: [Int32] {
        guard !scores.isEmpty else { return merges.indices.map { Int32($0) } }
        var rank: Int32 = -1
        var last = Float.nan
        return merges.map { merge in
            let score = scores[Int(merge.result)]
            if score != last { rank += 1 }
            last = score
            return rank
        }
    }

    /// A score for each token that puts merges in their order: llama.cpp knows no other order.
    package var scoresByOrder: [Float] {
        if !scores.isEmpty { return scores }
        var result = [Float](repeating: -1e6, count: tokens.count)
        for (rank, merge) in merges.enumerated().reversed() { result[Int(merge.result)] = -Float(rank) }
        return result
    }

    /// A character without a token must be writable.
    func checkFallback(file: String?) throws {
        let bytes = Set(tokens.lazy.filter { $0.kind == .byte }.map { $0.bytes[0] })
        guard bytes.count == 256 || characters?.unknownToken != nil else {
            throw TokenizerError(
                .malformed,
                "the vocabulary has neither all of <0x00> to <0xFF> nor a token for unknown characters", file: file)
        }
    }

    /// A piece's bytes: `▁` is a space.
    static func bytes(ofPiece piece: String) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(piece.utf8.count)
        for byte in piece.utf8 {
            result.append(byte)
            if byte == 0x81, result.count >= 3, result[result.count - 3] == 0xe2, result[result.count - 2] == 0x96 {
                result.removeLast(3)
                result.append(0x20)
            }
        }
        return result
    }

    /// A piece as the files write it.
    static func piece(of bytes: [UInt8]) -> String {
        String(decoding: bytes, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false).joined(
            separator: "▁")
    }

    /// The byte that `<0x0A>` and the like stand for.
    static func byte(named piece: String) -> UInt8? {
        let text = Array(piece.utf8)
        guard text.count == 6, piece.hasPrefix("<0x"), text[5] == UInt8(ascii: ">") else { return nil }
        return UInt8(piece.dropFirst(3).dropLast(), radix: 16)
    }

    static func name(ofByte byte: UInt8) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "<0x" + (digits.count == 1 ? "0" : "") + digits + ">"
    }
}
