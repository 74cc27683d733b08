extension TokenizerDefinition {
    /// This tokenizer trained further on some texts: the pair that occurs most becomes a token, again and again
    /// (Sennrich et al., arXiv 1508.07909). New merges come after the old ones, so that a text without the new words is
    /// cut as before.
    ///
    /// - Parameters:
    ///   - count: the most tokens to add.
    ///   - minimumCount: a pair must occur this often.
    public func extended(with texts: [String], count: Int, minimumCount: Int = 4) throws -> TokenizerDefinition {
        let tokenizer = try Tokenizer(self)
        // Words with how often each occurs; pairs never reach across words.
        var words: [[Int32]: Int] = [:]
        for text in texts {
            tokenizer.visitPieces(of: text) { words[$0, default: 0] += 1 }
        }
        var list = words.filter { $0.value >= minimumCount && $0.key.count > 1 }.map {
            (tokens: $0.key, count: $0.value)
        }
        list.sort { $0.tokens.lexicographicallyPrecedes($1.tokens) }
        var result = self
        var present = Set(tokens.map(\.bytes))
        var lowest = scores.min() ?? 0
        while result.tokens.count < tokens.count + count {
            var pairs: [Pair: Int] = [:]
            for word in list {
                for place in 1..<max(word.tokens.count, 1) {
                    pairs[Pair(left: word.tokens[place - 1], right: word.tokens[place]), default: 0] += word.count
                }
            }
            let best = pairs.max { ($0.value, $1.key.left, $1.key.right) < ($1.value, $0.key.left, $0.key.right) }
            guard let (pair, occurrences) = best, occurrences >= minimumCount else { break }
            let bytes = result.tokens[Int(pair.left)].bytes + result.tokens[Int(pair.right)].bytes
            guard present.insert(bytes).inserted else {
                // The old merges make this text another way; leave the pair alone.
                list = list.filter { word in
                    !zip(word.tokens, word.tokens.dropFirst()).contains { $0 == (pair.left, pair.right) }
                }
                continue
            }
            let new = Int32(result.tokens.count)
            result.tokens.append(Token(bytes: bytes))
            if !scores.isEmpty {
                lowest = lowest.nextDown
                result.scores.append(lowest)
            }
            result.merges.append(Merge(left: pair.left, right: pair.right, result: new))
            for index in list.indices {
                var merged: [Int32] = []
                for token in list[index].tokens {
                    if token == pair.right, merged.last == pair.left {
                        merged[merged.count - 1] = new
                    } else {
                        merged.append(token)
                    }
                }
                list[index].tokens = merged
            }
            list.removeAll { $0.tokens.count < 2 }
        }
        return result
    }

    private struct Pair: Hashable {
        var left: Int32
        var right: Int32
    }
}
