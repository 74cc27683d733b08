/// Merges two tokens make, by both: open addressing, so that a look-up costs one or two cache lines.
struct PairTable: Sendable {
    /// A merge's rank and the token it makes.
    struct Found {
        var rank: Int32
        var result: Int32
    }

    private var keys: [UInt64]
    private var values: [UInt64]
    private let mask: Int

    /// - Parameter ranks: one a merge, not negative.
    init(_ merges: [TokenizerDefinition.Merge], ranks: [Int32]) {
        var size = 16
        while size < merges.count * 2 { size *= 2 }
        mask = size - 1
        keys = [UInt64](repeating: .max, count: size)
        values = [UInt64](repeating: 0, count: size)
        for (rank, merge) in zip(ranks, merges) {
            let key = Self.key(merge.left, merge.right)
            var slot = Self.slot(key) & mask
            while keys[slot] != .max && keys[slot] != key { slot = (slot + 1) & mask }
            // A pair that is listed twice keeps its first rank.
            if keys[slot] == key { continue }
            keys[slot] = key
            values[slot] = UInt64(UInt32(rank)) << 32 | UInt64(UInt32(bitPattern: merge.result))
        }
    }

    @inline(__always)
    private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    @inline(__always)
    private static func slot(_ key: UInt64) -> Int {
        Int(truncatingIfNeeded: (key &* 0x9e37_79b9_7f4a_7c15) >> 32)
    }

    @inline(__always)
    func find(_ left: Int32, _ right: Int32) -> Found? {
        let key = Self.key(left, right)
        var slot = Self.slot(key) & mask
        while keys[slot] != key {
            if keys[slot] == .max { return nil }
            slot = (slot + 1) & mask
        }
        return Found(rank: Int32(values[slot] >> 32), result: Int32(truncatingIfNeeded: values[slot]))
    }
}

/// Merges the tokens of one piece, lowest rank first, leftmost first among equals. Its buffers are used again.
struct Merger {
    private var ids: [Int32] = []
    /// Rank of merging a token with the next one; `Int32.max` for none.
    private var ranks: [Int32] = []
    private var results: [Int32] = []

    /// Leaves merges out by chance; nil: all are made.
    var dropout: MergeDropout?

    /// Pieces longer than this take the heap, whose cost does not grow with the square of the length.
    private static let scanLimit = 96

    mutating func start(_ bytes: Slice<UnsafeBufferPointer<UInt8>>, byteTokens: [Int32]) {
        ids.removeAll(keepingCapacity: true)
        for byte in bytes where byteTokens[Int(byte)] >= 0 {
            ids.append(byteTokens[Int(byte)])
        }
    }

    /// Begins with no tokens, for `append`.
    mutating func start() { ids.removeAll(keepingCapacity: true) }

    mutating func append(_ token: Int32) { ids.append(token) }

    var last: Int32? { ids.last }

    func appendResult(to list: inout [Int32]) {
        list.append(contentsOf: ids)
    }

    /// - Parameter visit: is called with every token made.
    mutating func merge(_ table: PairTable, visit: (Int32) -> Void = { _ in }) {
        guard ids.count > 1 else { return }
        if dropout != nil {
            mergeByChance(table)
            return
        }
        if ids.count > Self.scanLimit {
            mergeWithHeap(table, visit: visit)
            return
        }
        ranks.removeAll(keepingCapacity: true)
        results.removeAll(keepingCapacity: true)
        for index in 0..<(ids.count - 1) {
            let found = table.find(ids[index], ids[index + 1])
            ranks.append(found?.rank ?? .max)
            results.append(found?.result ?? -1)
        }
        while true {
            var best = Int32.max
            var place = -1
            for index in ranks.indices where ranks[index] < best {
                best = ranks[index]
                place = index
            }
            guard place >= 0 else { return }
            ids[place] = results[place]
            visit(ids[place])
            ids.remove(at: place + 1)
            ranks.remove(at: place)
            results.remove(at: place)
            for index in [place - 1, place] where index >= 0 && index < ranks.count {
                let found = table.find(ids[index], ids[index + 1])
                ranks[index] = found?.rank ?? .max
                results[index] = found?.result ?? -1
            }
        }
    }

    /// At every step each possible merge is left out with the dropout's probability; the first of the others is made.
    private mutating func mergeByChance(_ table: PairTable) {
        while ids.count > 1 {
            var best: (found: PairTable.Found, place: Int)?
            for place in 0..<(ids.count - 1) {
                guard let found = table.find(ids[place], ids[place + 1]), !dropout!.drops() else { continue }
                if best == nil || found.rank < best!.found.rank { best = (found, place) }
            }
            guard let best else { return }
            ids[best.place] = best.found.result
            ids.remove(at: best.place + 1)
        }
    }

    /// A merge that may still be possible, waiting in the heap.
    private struct Candidate {
        var rank: Int32
        var place: Int32
        var left: Int32
        var right: Int32
        var result: Int32

        func isBefore(_ other: Candidate) -> Bool {
            (rank, place) < (other.rank, other.place)
        }
    }

    private mutating func mergeWithHeap(_ table: PairTable, visit: (Int32) -> Void) {
        var next = (0..<ids.count).map { Int32($0 + 1) }
        var previous = (0..<ids.count).map { Int32($0 - 1) }
        var heap: [Candidate] = []
        func push(_ candidate: Candidate) {
            heap.append(candidate)
            var child = heap.count - 1
            while child > 0, heap[child].isBefore(heap[(child - 1) / 2]) {
                heap.swapAt(child, (child - 1) / 2)
                child = (child - 1) / 2
            }
        }
        func pop() -> Candidate? {
            guard let first = heap.first else { return nil }
            let last = heap.removeLast()
            if heap.isEmpty { return first }
            heap[0] = last
            var parent = 0
            while true {
                var least = parent
                for child in [2 * parent + 1, 2 * parent + 2]
                where child < heap.count && heap[child].isBefore(heap[least]) {
                    least = child
                }
                if least == parent { return first }
                heap.swapAt(parent, least)
                parent = least
            }
        }
        func offer(_ place: Int) {
            let right = Int(next[place])
            guard right < ids.count, let found = table.find(ids[place], ids[right]) else { return }
            push(
                Candidate(
                    rank: found.rank, place: Int32(place), left: ids[place], right: ids[right], result: found.result))
        }
        for place in 0..<(ids.count - 1) { offer(place) }
        while let candidate = pop() {
            let place = Int(candidate.place)
            let right = Int(next[place])
            // Skip what an earlier merge has changed.
            guard ids[place] == candidate.left, right < ids.count, ids[right] == candidate.right else { continue }
            ids[place] = candidate.result
            visit(candidate.result)
            ids[right] = -1
            next[place] = next[right]
            if next[right] < ids.count { previous[Int(next[right])] = Int32(place) }
            offer(place)
            if previous[place] >= 0 { offer(Int(previous[place])) }
        }
        ids.removeAll { $0 < 0 }
    }
}
