internal import CKernels
internal import LanguageModels
internal import Tensors
internal import Tokenizers

/// A smaller model that guesses for a larger one. Where their vocabularies differ it guesses text, cut anew into the large
/// model's tokens.
final class ModelDrafter: Drafter {
    private struct Own {
        var cache: SequenceCache
        /// The small model's tokens that the cache holds.
        var tokens: [Int32] = []
        var length: DraftLength
    }

    private let small: LanguageModel
    private let large: LanguageModel
    private let sharesVocabulary: Bool
    private let maximum: Int
    private let pass: DecoderPass
    private let pages: PagePool
    private var sequences: [Int: Own] = [:]
    /// The text a small model sees of a sequence: its end.
    private static let window = 512

    init(_ small: LanguageModel, for large: LanguageModel, maximum: Int, pool: WorkerPool) {
        self.small = small
        self.large = large
        self.maximum = maximum
        sharesVocabulary = small.tokenizer.definition.tokens == large.tokenizer.definition.tokens
        pass = DecoderPass(model: small, pool: pool)
        pages = PagePool(small.configuration)
    }

    func draft(_ request: Int, tokens: [Int32], limit: Int) -> [Int32] {
        var own =
            sequences[request]
            ?? Own(
                cache: SequenceCache(small.configuration, pool: pages), length: DraftLength(maximum: maximum))
        defer { sequences[request] = own }
        let count = min(own.length.next(), limit)
        guard count > 0 else { return [] }
        let context = self.context(tokens)
        guard !context.isEmpty, context.count + count + 1 < small.configuration.contextLength else { return [] }
        // What is the same as last time is in the cache.
        let same = min(zip(own.tokens, context).prefix { $0 == $1 }.count, context.count - 1)
        own.cache.truncate(to: same)
        var feed = Array(context[same...])
        var guessed: [Int32] = []
        while guessed.count < count + (sharesVocabulary ? 0 : 2) {
            guard own.cache.reserve(own.cache.count + feed.count) else { break }
            let logits = pass.run([SequenceInput(cache: own.cache, tokens: feed)])
            var best = 0
            _ = uk_log_sum_exp(logits.baseAddress!, small.configuration.vocabularySize, &best)
            guard small.tokenizer.definition.tokens.indices.contains(best) else { break }
            guessed.append(Int32(best))
            feed = [Int32(best)]
            if small.tokenizer.definition.tokens[best].kind == .special { break }
        }
        own.tokens = context + guessed.dropLast()
        own.tokens.removeLast(max(0, own.tokens.count - own.cache.count))
        if sharesVocabulary { return Array(guessed.prefix(count)) }
        let text = small.tokenizer.decode(guessed, skippingSpecials: true)
        // The last token may be cut short.
        return Array(large.tokenizer.encodeContinuation(text).dropLast().prefix(count))
    }

    /// The sequence as the small model reads it.
    private func context(_ tokens: [Int32]) -> [Int32] {
        if sharesVocabulary { return tokens }
        return small.tokenizer.encodeParsingSpecials(large.tokenizer.decode(tokens.suffix(Self.window)))
    }

    func learn(_ request: Int, drafted: Int, accepted: Int) {
        sequences[request]?.length.learn(drafted: drafted, accepted: accepted)
    }

    func forget(_ request: Int) { sequences[request] = nil }
}
