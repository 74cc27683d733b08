internal import LanguageModels

/// Tokens that many requests begin with, computed once and kept as long as this object lives. Made by
/// ``BatchEngine/prefix(_:)``; other beginnings are shared, too, but may be forgotten when memory runs short.
public final class SharedPrefix: @unchecked Sendable {
    public let tokens: [Int32]
    /// Number of tokens.
    public var count: Int { tokens.count }
    /// Holds the pages; never fed. Touched by the engine that made it only.
    let cache: SequenceCache?

    init(tokens: [Int32], cache: SequenceCache?) {
        self.tokens = tokens
        self.cache = cache
    }
}
