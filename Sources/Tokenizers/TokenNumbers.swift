/// Token numbers by their bytes: open addressing over one block of bytes, made in a few milliseconds for a large vocabulary.
struct TokenNumbers: Sendable {
    private var slots: [Int32]
    private var bytes: [UInt8] = []
    private var starts: [Int32] = []
    private let mask: Int

    /// - Parameter tokens: of equals the first is kept, unless `replaces` says that a later one goes before.
    init(
        _ tokens: [TokenizerDefinition.Token], where isWanted: (TokenizerDefinition.Token) -> Bool = { _ in true },
        replaces: (TokenizerDefinition.Token) -> Bool = { _ in false }
    ) {
        var size = 16
        while size < tokens.count * 2 { size *= 2 }
        mask = size - 1
        slots = [Int32](repeating: -1, count: size)
        starts.reserveCapacity(tokens.count + 1)
        bytes.reserveCapacity(tokens.count * 8)
        for token in tokens {
            starts.append(Int32(bytes.count))
            bytes += token.bytes
        }
        starts.append(Int32(bytes.count))
        for (id, token) in tokens.enumerated() where isWanted(token) {
            token.bytes.withUnsafeBufferPointer { own in
                let slot = place(own)
                if slots[slot] < 0 || replaces(token) { slots[slot] = Int32(id) }
            }
        }
    }

    private func place(_ key: UnsafeBufferPointer<UInt8>) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in key { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash ^= hash >> 29
        var slot = Int(truncatingIfNeeded: hash &* 0x9e37_79b9_7f4a_7c15 >> 20) & mask
        while slots[slot] >= 0 {
            let id = Int(slots[slot])
            let start = Int(starts[id])
            let length = Int(starts[id + 1]) - start
            if length == key.count {
                var index = 0
                while index < length, bytes[start + index] == key[index] { index += 1 }
                if index == length { break }
            }
            slot = (slot + 1) & mask
        }
        return slot
    }

    subscript(key: UnsafeBufferPointer<UInt8>) -> Int32? {
        let id = slots[place(key)]
        return id < 0 ? nil : id
    }

    subscript(key: [UInt8]) -> Int32? { key.withUnsafeBufferPointer { self[$0] } }
}
