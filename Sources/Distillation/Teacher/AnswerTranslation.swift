internal import Inference
package import Tokenizers

/// Turns a teacher's answers into the student's tokens, where the two have different vocabularies.
///
/// Both spell the same bytes. Where a token of the student begins at the byte at which one of the teacher's does, the
/// teacher's distribution there is the student's target: the token the teacher wrote stands for the one the student
/// writes, another one for the student's token with the same bytes; what has none goes to the tail. At other places the
/// answer alone is known. A label is one token in both.
package struct AnswerTranslation {
    private let source: Vocabulary
    private let target: Vocabulary
    /// The student's token with the same bytes, or for the same label, for each of the teacher's.
    private let same: [Int32: Int32]

    /// A tokenizer and how a task is written with it.
    package struct Vocabulary {
        fileprivate let tokenizer: Tokenizer
        fileprivate let format: TaskFormat
        fileprivate let end: Int32

        /// - Throws: ``TaskError`` when the tokenizer lacks the format's marks.
        package init(tokenizer: Tokenizer, format: TaskFormat) throws {
            self.tokenizer = tokenizer
            self.format = format
            end = try format.marks(tokenizer).end
        }

        fileprivate func bytes(_ token: Int32) -> [UInt8] {
            token == end ? [] : tokenizer.definition.tokens[Int(token)].bytes
        }

        /// The byte of the answer at which each token begins.
        fileprivate func offsets(_ tokens: [Int32]) -> [Int] {
            var offset = 0
            return tokens.map { token in
                defer { offset += bytes(token).count }
                return offset
            }
        }
    }

    package init(from source: Vocabulary, to target: Vocabulary) {
        self.source = source
        self.target = target
        let ids = target.tokenizer.definition.idsByBytes
        var same: [Int32: Int32] = [:]
        for (id, token) in source.tokenizer.definition.tokens.enumerated() {
            same[Int32(id)] = ids[token.bytes]
        }
        same[source.end] = target.end
        self.same = same
    }

    /// - Throws: ``TaskError`` when the student has no token for a label.
    package func translate(_ answer: TaskAnswer) throws -> TaskAnswer {
        var result = answer
        guard !answer.tokens.isEmpty else { return result }
        result.tokens = try target.format.answerTokens(answer.output, tokenizer: target.tokenizer)
        result.outputTokens = result.tokens.count
        let places = Dictionary(
            zip(source.offsets(answer.tokens), answer.tokens.indices), uniquingKeysWith: { first, _ in first })
        result.alternatives = zip(target.offsets(result.tokens), result.tokens).map { offset, token in
            guard let place = places[offset], place < answer.alternatives.count else {
                return TokenDistribution(tokens: [token], probabilities: [1], tail: 0)
            }
            return translate(answer.alternatives[place], written: answer.tokens[place], as: token)
        }
        if target.format.kind == .label { result.alternatives.removeLast(result.alternatives.count - 1) }
        if answer.alternatives.isEmpty { result.alternatives = [] }
        return result
    }

    private func translate(
        _ distribution: TokenDistribution, written: Int32, as token: Int32
    ) -> TokenDistribution {
        var found: [Int32: Float] = [:]
        var tail = distribution.tail
        for (other, probability) in zip(distribution.tokens, distribution.probabilities) {
            if let id = other == written ? token : same[other] {
                found[id, default: 0] += probability
            } else {
                tail += probability
            }
        }
        let ranked = found.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return TokenDistribution(tokens: ranked.map(\.key), probabilities: ranked.map(\.value), tail: tail)
    }
}
