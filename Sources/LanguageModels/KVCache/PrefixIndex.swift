/// Finds filled pages by the tokens they hold and all tokens before them.
///
/// A page is known by its chain, a hash of everything up to its end; its own tokens are compared, too. Knows page
/// numbers only, not memory.
package struct PrefixIndex: Sendable {
    private struct Entry {
        var page: Int
        var parent: UInt64
        var tokens: [Int32]
        var lastUse: UInt64
    }

    private var entries: [UInt64: Entry] = [:]
    private var chains: [Int: UInt64] = [:]
    private var clock: UInt64 = 0

    package init() {}

    package var count: Int { entries.count }
    package func contains(_ page: Int) -> Bool { chains[page] != nil }

    /// The chains of all whole pages of a sequence.
    package static func chains(_ tokens: [Int32]) -> [UInt64] {
        let size = PagePool.pageTokens
        var result: [UInt64] = []
        var chain: UInt64 = 0
        for page in 0..<tokens.count / size {
            chain = next(chain, tokens[page * size..<(page + 1) * size])
            result.append(chain)
        }
        return result
    }

    /// The chain after one more page. Seeded by the process: nobody can choose tokens that collide.
    package static func next(_ chain: UInt64, _ tokens: ArraySlice<Int32>) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(chain)
        for token in tokens { hasher.combine(token) }
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// The pages of the longest known beginning, at most `limit` of them.
    mutating func match(_ tokens: [Int32], chains: [UInt64], limit: Int) -> [Int] {
        let size = PagePool.pageTokens
        clock += 1
        var pages: [Int] = []
        var parent: UInt64 = 0
        for chain in chains.prefix(limit) {
            let own = tokens[pages.count * size..<(pages.count + 1) * size]
            guard let entry = entries[chain], entry.parent == parent, entry.tokens.elementsEqual(own) else { break }
            pages.append(entry.page)
            entries[chain]!.lastUse = clock
            parent = chain
        }
        return pages
    }

    /// Does nothing where the chain is known already: the first page of equals is kept.
    mutating func insert(_ page: Int, chain: UInt64, parent: UInt64, tokens: ArraySlice<Int32>) {
        guard entries[chain] == nil, chains[page] == nil else { return }
        clock += 1
        entries[chain] = Entry(page: page, parent: parent, tokens: Array(tokens), lastUse: clock)
        chains[page] = chain
    }

    /// Forgets up to `count` of the pages that may go, the longest unused first, later parts of a sequence before earlier.
    mutating func removeOldest(_ count: Int, where canGo: (Int) -> Bool) -> [Int] {
        let candidates = entries.filter { canGo($0.value.page) }.sorted { $0.value.lastUse < $1.value.lastUse }
        // A page whose continuation is known goes after it: what cannot be reached is of no use.
        var parents: [UInt64: Int] = [:]
        for entry in entries.values { parents[entry.parent, default: 0] += 1 }
        var removed: [Int] = []
        var left = candidates
        while removed.count < count, !left.isEmpty {
            var kept: [(key: UInt64, value: Entry)] = []
            let before = removed.count
            for (chain, entry) in left {
                if removed.count < count, parents[chain, default: 0] == 0 {
                    entries[chain] = nil
                    chains[entry.page] = nil
                    parents[entry.parent, default: 1] -= 1
                    removed.append(entry.page)
                } else {
                    kept.append((chain, entry))
                }
            }
            left = kept
            if removed.count == before { break }
        }
        return removed
    }
}
