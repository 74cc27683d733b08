extension TokenizerDefinition {
    /// This tokenizer with fewer tokens and some new ones.
    ///
    /// Kept besides those asked for: single bytes, special tokens, and every token on the way to a kept one, so that
    /// a text made of kept tokens is cut as before. New tokens are found as a whole in any text; one that is there
    /// already keeps its place.
    ///
    /// - Parameters:
    ///   - kept: numbers of tokens to keep.
    ///   - specials: which of the special tokens to keep; the others go.
    ///   - additions: texts of new tokens.
    /// - Returns: the tokenizer, and each token's old number (`nil` for a new one).
    public func trimmed(
        keeping kept: Set<Int32>, specials: Set<Int32>, adding additions: [String]
    ) throws -> (definition: TokenizerDefinition, oldIDs: [Int32?]) {
        let tokenizer = try Tokenizer(self)
        var wanted = specials
        for (id, token) in tokens.enumerated() {
            let id = Int32(id)
            if token.kind == .normal && token.bytes.count == 1 || token.kind == .byte { wanted.insert(id) }
            if id == characters?.unknownToken { wanted.insert(id) }
            guard kept.contains(id), token.kind != .special else { continue }
            wanted.insert(id)
            if token.kind == .normal { tokenizer.visitMerges(of: token.bytes) { wanted.insert($0) } }
        }
        var result = self
        let old = wanted.sorted()
        let places = Dictionary(uniqueKeysWithValues: old.enumerated().map { ($1, Int32($0)) })
        result.tokens = old.map { tokens[Int($0)] }
        result.merges = merges.compactMap { merge in
            guard let left = places[merge.left], let right = places[merge.right], let sum = places[merge.result] else {
                return nil
            }
            return Merge(left: left, right: right, result: sum)
        }
        if !scores.isEmpty { result.scores = old.map { scores[Int($0)] } }
        result.characters?.unknownToken = characters?.unknownToken.flatMap { places[$0] }
        result.furtherEndTokens = furtherEndTokens.compactMap { places[$0] }
        result.beginToken = beginToken.flatMap { places[$0] }
        result.endToken = endToken.flatMap { places[$0] }
        var oldIDs: [Int32?] = old
        var present = Dictionary(
            result.tokens.enumerated().map { ($1.bytes, $0) }, uniquingKeysWith: { first, _ in first })
        for text in additions {
            let bytes = Array(text.utf8)
            guard !bytes.isEmpty else { continue }
            if let place = present[bytes] {
                if result.tokens[place].kind == .normal { result.tokens[place].kind = .added }
                continue
            }
            present[bytes] = result.tokens.count
            result.tokens.append(Token(bytes: bytes, kind: .added))
            if !scores.isEmpty { result.scores.append(0) }
            oldIDs.append(nil)
        }
        return (result, oldIDs)
    }
}
