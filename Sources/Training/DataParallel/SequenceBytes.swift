/// Training sequences as bytes, for processes of one program on machines of one byte order.
enum SequenceBytes {
    static func write(_ sequences: [TrainingSequence]) -> [UInt8] {
        var bytes: [UInt8] = []
        func add<Value>(_ values: [Value]) {
            withUnsafeBytes(of: Int64(values.count)) { bytes += $0 }
            values.withUnsafeBytes { bytes += $0 }
        }
        add([Int64(sequences.count)])
        for sequence in sequences {
            add(sequence.tokens)
            add(sequence.answers)
            add(sequence.targets.map { Int64($0.tokens.count) })
            add(sequence.targets.flatMap(\.tokens))
            add(sequence.targets.flatMap(\.probabilities))
            add(sequence.targets.map(\.tail) + [sequence.weight])
        }
        return bytes
    }

    static func read(_ bytes: ArraySlice<UInt8>) -> [TrainingSequence] {
        var rest = bytes
        func next<Value: BitwiseCopyable>(_: Value.Type) -> [Value] {
            rest.withUnsafeBytes { memory in
                let count = Int(memory.loadUnaligned(as: Int64.self))
                let size = MemoryLayout<Value>.stride
                let values = (0..<count).map { memory.loadUnaligned(fromByteOffset: 8 + $0 * size, as: Value.self) }
                rest = rest.dropFirst(8 + count * size)
                return values
            }
        }
        return (0..<next(Int64.self)[0]).map { _ in
            let tokens = next(Int32.self)
            let answers = next(Int32.self)
            let counts = next(Int64.self)
            let named = next(Int32.self)
            let probabilities = next(Float.self)
            let tails = next(Float.self)
            var place = 0
            let targets = counts.indices.map { index in
                let range = place..<place + Int(counts[index])
                place = range.upperBound
                return SoftTarget(
                    tokens: Array(named[range]), probabilities: Array(probabilities[range]), tail: tails[index])
            }
            return TrainingSequence(tokens: tokens, targets: targets, answers: answers, weight: tails[counts.count])
        }
    }
}
