internal import LanguageModels

/// Tokens that many requests begin with, computed once. Made by ``InferenceEngine/prefix(_:)``.
public final class SharedPrefix: @unchecked Sendable {
    /// Number of tokens.
    public let count: Int
    /// Only forked from, never fed.
    let cache: SequenceCache

    init(cache: SequenceCache) {
        self.cache = cache
        count = cache.count
    }
}
