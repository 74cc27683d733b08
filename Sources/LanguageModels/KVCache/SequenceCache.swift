internal import CKernels
internal import Tensors

/// Keys and values of one sequence, f16, [layer][kv head][capacity][head dimension], for reading on.
///
/// Grows by doubling. One owner at a time.
package final class SequenceCache {
    /// Tokens whose keys and values it holds.
    package private(set) var count = 0
    /// Tokens it has room for.
    package private(set) var capacity: Int
    /// The most it may ever hold.
    package let limit: Int

    private let layers: Int
    private let heads: Int
    private let headDimension: Int
    private var keyMemory: AlignedBuffer
    private var valueMemory: AlignedBuffer

    package init(_ configuration: ModelConfiguration, capacity: Int = 64) {
        layers = configuration.layerCount
        heads = configuration.keyValueHeadCount
        headDimension = configuration.headDimension
        limit = configuration.contextLength
        self.capacity = max(1, min(capacity, limit))
        let bytes = layers * heads * self.capacity * headDimension * 2
        keyMemory = AlignedBuffer(byteCount: bytes)
        valueMemory = AlignedBuffer(byteCount: bytes)
    }

    /// Bytes held.
    package var byteCount: Int { keyMemory.byteCount + valueMemory.byteCount }

    /// Makes room for `tokens` in all.
    package func reserve(_ tokens: Int) {
        precondition(tokens <= limit, "SequenceCache: \(tokens) tokens in a context of \(limit)")
        if tokens <= capacity { return }
        let grown = SequenceCache(copying: self, capacity: min(limit, max(tokens, capacity * 2)))
        keyMemory = grown.keyMemory
        valueMemory = grown.valueMemory
        capacity = grown.capacity
    }

    /// A copy that goes its own way from here: how requests share a prefix.
    package func fork(room: Int) -> SequenceCache {
        SequenceCache(copying: self, capacity: min(limit, max(count + room, 1)))
    }

    /// Forgets all tokens from `length` on.
    package func truncate(to length: Int) {
        precondition(length >= 0 && length <= count, "SequenceCache: cut at \(length) of \(count)")
        count = length
    }

    private init(copying other: SequenceCache, capacity: Int) {
        layers = other.layers
        heads = other.heads
        headDimension = other.headDimension
        limit = other.limit
        count = other.count
        self.capacity = max(capacity, other.count, 1)
        let bytes = layers * heads * self.capacity * headDimension * 2
        keyMemory = AlignedBuffer(byteCount: bytes)
        valueMemory = AlignedBuffer(byteCount: bytes)
        for layer in 0..<layers {
            for head in 0..<heads {
                let used = count * headDimension
                keys(layer, head).update(from: other.keys(layer, head), count: used)
                values(layer, head).update(from: other.values(layer, head), count: used)
            }
        }
    }

    func keys(_ layer: Int, _ head: Int = 0) -> UnsafeMutablePointer<UInt16> {
        keyMemory.base.assumingMemoryBound(to: UInt16.self) + (layer * heads + head) * capacity * headDimension
    }

    func values(_ layer: Int, _ head: Int = 0) -> UnsafeMutablePointer<UInt16> {
        valueMemory.base.assumingMemoryBound(to: UInt16.self) + (layer * heads + head) * capacity * headDimension
    }

    /// Stores one token's keys and values of one layer, given as floats [kv heads, head dimension].
    func store(layer: Int, position: Int, keys newKeys: UnsafePointer<Float>, values newValues: UnsafePointer<Float>) {
        for head in 0..<heads {
            let place = position * headDimension
            uk_convert_f16(newKeys + head * headDimension, headDimension, keys(layer, head) + place)
            uk_convert_f16(newValues + head * headDimension, headDimension, values(layer, head) + place)
        }
    }

    /// Counts tokens as held, once all layers have stored them.
    func advance(_ tokens: Int) { count += tokens }
}
