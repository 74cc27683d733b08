internal import CKernels

/// Keys and values of one sequence, in pages of a pool. One owner at a time, the pool's.
package final class SequenceCache {
    /// Tokens whose keys and values it holds.
    package private(set) var count = 0
    /// The most it may ever hold.
    package let limit: Int
    package let pool: PagePool

    private let heads: Int
    private let headDimension: Int
    private var pages: [Int] = []
    /// The pages' addresses, in order, for the kernels.
    private(set) var addresses = UnsafeMutablePointer<UnsafeRawPointer>.allocate(capacity: 8)
    private var room = 8

    package init(_ configuration: ModelConfiguration, pool: PagePool) {
        heads = configuration.keyValueHeadCount
        headDimension = configuration.headDimension
        limit = configuration.contextLength
        self.pool = pool
    }

    /// A sequence with a pool of its own.
    package convenience init(_ configuration: ModelConfiguration, format: CacheFormat = .float16) {
        self.init(configuration, pool: PagePool(configuration, format: format))
    }

    deinit {
        // The end of a sequence first: should memory run short, beginnings are kept longest.
        for page in pages.reversed() { pool.release(page) }
        addresses.deallocate()
    }

    /// Pages held, in order.
    package var pageNumbers: [Int] { pages }

    /// Makes room for `tokens` in all.
    ///
    /// - Returns: false when the pool has no page left; what was held is still held.
    package func reserve(_ tokens: Int) -> Bool {
        precondition(tokens <= limit, "SequenceCache: \(tokens) tokens in a context of \(limit)")
        while pages.count * PagePool.pageTokens < tokens {
            guard let page = pool.take() else { return false }
            add(page)
        }
        return true
    }

    /// Begins with pages that others filled. The sequence must be empty.
    package func share(_ shared: [Int]) {
        precondition(pages.isEmpty, "SequenceCache: pages to share come first")
        for page in shared {
            pool.retain(page)
            add(page)
        }
        count = shared.count * PagePool.pageTokens
    }

    /// Forgets all tokens from `length` on, and gives pages back that are not needed.
    package func truncate(to length: Int) {
        precondition(length >= 0 && length <= count, "SequenceCache: cut at \(length) of \(count)")
        count = length
        let needed = (length + PagePool.pageTokens - 1) / PagePool.pageTokens
        while pages.count > needed {
            pool.release(pages.removeLast())
        }
    }

    private func add(_ page: Int) {
        if pages.count == room {
            let grown = UnsafeMutablePointer<UnsafeRawPointer>.allocate(capacity: room * 2)
            grown.update(from: addresses, count: room)
            addresses.deallocate()
            addresses = grown
            room *= 2
        }
        addresses[pages.count] = UnsafeRawPointer(pool.address(page))
        pages.append(page)
    }

    /// Bytes from a page's begin to a layer's keys, and to its values.
    func keyOffset(_ layer: Int) -> Int { layer * pool.layerBytes }
    func valueOffset(_ layer: Int) -> Int { layer * pool.layerBytes + heads * pool.headBytes }

    /// Stores one token's keys and values of one layer, given as floats [kv heads, head dimension].
    func store(layer: Int, position: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>) {
        let (number, row) = position.quotientAndRemainder(dividingBy: PagePool.pageTokens)
        let page = UnsafeMutableRawPointer(mutating: addresses[number])
        let format = pool.format.kernel
        for head in 0..<heads {
            let offset = head * pool.headBytes
            uk_cache_store_key(
                format, keys + head * headDimension, headDimension, page + keyOffset(layer) + offset, row)
            uk_cache_store_value(
                format, values + head * headDimension, headDimension, page + valueOffset(layer) + offset, row)
        }
    }

    /// Counts tokens as held, once all layers have stored them.
    func advance(_ tokens: Int) { count += tokens }
}
