internal import CKernels
internal import Tensors

/// How keys and values are kept.
public enum CacheFormat: String, Sendable, Hashable, Codable, CaseIterable {
    case float16 = "f16"
    /// 8 bits with a scale for each token and head: about half the memory.
    case int8 = "q8"
    /// For exact runs.
    case float32 = "f32"

    var kernel: uk_cache_format {
        switch self {
        case .float16: UK_CACHE_F16
        case .int8: UK_CACHE_Q8
        case .float32: UK_CACHE_F32
        }
    }
}

/// Memory for keys and values in pages of 16 tokens, which sequences take, share and give back.
///
/// A page holds the rows of all layers: [layer][keys, values][kv head][16][head dimension]. Pages that a prefix index
/// knows stay filled when nobody uses them, until their memory is needed: least recently used first. One owner at a time.
package final class PagePool {
    /// Tokens of a page.
    package static let pageTokens = Int(UK_PAGE_TOKENS)

    package let format: CacheFormat
    /// Pages there may be at a time.
    package let limit: Int
    /// Bytes of a page.
    package let pageBytes: Int
    package let headBytes: Int
    package let layerBytes: Int
    /// Filled pages by their tokens.
    package private(set) var index = PrefixIndex()

    private let slabPages: Int
    private var slabs: [AlignedBuffer] = []
    private var users: [Int32] = []
    private var free: [Int] = []
    private var cached = 0

    /// - Parameter limit: the most pages; memory is taken as they are needed.
    package init(_ c: ModelConfiguration, format: CacheFormat = .float16, limit: Int = .max) {
        self.format = format
        self.limit = max(1, limit)
        headBytes = (uk_cache_rows_bytes(format.kernel, c.headDimension) + 63) / 64 * 64
        layerBytes = 2 * c.keyValueHeadCount * headBytes
        pageBytes = c.layerCount * layerBytes
        slabPages = min(max(1, (2 << 20) / max(pageBytes, 1)), self.limit)
    }

    /// Bytes of pages of this shape for so many tokens.
    package static func bytes(_ c: ModelConfiguration, format: CacheFormat, tokens: Int) -> Int {
        PagePool(c, format: format).pageBytes * ((tokens + pageTokens - 1) / pageTokens)
    }

    /// Pages that can be taken now.
    package var available: Int { limit - (users.count - free.count - cached) }
    /// Pages that sequences hold.
    package var used: Int { users.count - free.count - cached }
    /// Pages that are filled and not held by any sequence.
    package var cachedCount: Int { cached }

    package func address(_ page: Int) -> UnsafeMutableRawPointer {
        slabs[page / slabPages].base + page % slabPages * pageBytes
    }

    /// A page nobody else writes to; nil when none is left.
    package func take() -> Int? {
        if free.isEmpty, users.count < limit {
            slabs.append(AlignedBuffer(byteCount: slabPages * pageBytes))
            let first = users.count
            let count = min(slabPages, limit - first)
            users.append(contentsOf: repeatElement(0, count: count))
            free.append(contentsOf: (first..<first + count).reversed())
        }
        if free.isEmpty {
            let dropped = index.removeOldest(16) { users[$0] == 0 }
            cached -= dropped.count
            free += dropped
        }
        guard let page = free.popLast() else { return nil }
        users[page] = 1
        return page
    }

    /// One more user of a page.
    package func retain(_ page: Int) {
        if users[page] == 0 { cached -= 1 }
        users[page] += 1
    }

    /// One user less.
    package func release(_ page: Int) {
        precondition(users[page] > 0, "PagePool: page \(page) is not in use")
        users[page] -= 1
        guard users[page] == 0 else { return }
        if index.contains(page) { cached += 1 } else { free.append(page) }
    }

    /// Remembers a filled page for sequences that begin with the same tokens.
    package func remember(_ page: Int, chain: UInt64, parent: UInt64, tokens: ArraySlice<Int32>) {
        index.insert(page, chain: chain, parent: parent, tokens: tokens)
    }

    /// Pages that hold the first tokens of a sequence; whoever uses them retains them.
    package func match(_ tokens: [Int32], chains: [UInt64], limit: Int) -> [Int] {
        index.match(tokens, chains: chains, limit: limit)
    }
}
