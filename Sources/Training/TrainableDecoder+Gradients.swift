extension TrainableDecoder {
    /// What a batch is a part of.
    struct Whole {
        /// Σ weight over its targets.
        var weight: Double
        var tokens: Int
    }

    /// Sets the gradients of a batch, a micro-batch after the other.
    ///
    /// - Parameters:
    ///   - microBatch: sequences of a pass; 0: all of them.
    ///   - whole: the batch that the sequences are a part of; nil: they are all of it.
    func gradients(_ sequences: [TrainingSequence], microBatch: Int, of whole: Whole? = nil) -> PassResult {
        parameters.zeroGradients()
        var sum = PassResult(loss: .init())
        guard !sequences.isEmpty else { return sum }
        let size = microBatch > 0 ? microBatch : sequences.count
        let parts = stride(from: 0, to: sequences.count, by: size).map {
            TrainingBatch(sequences[$0..<min($0 + size, sequences.count)])
        }
        if parts.count == 1, whole == nil { return run(parts[0], backward: true) }
        let weight = whole?.weight ?? parts.reduce(0) { $0 + $1.totalWeight }
        let tokens = whole?.tokens ?? parts.reduce(0) { $0 + $1.tokens.count }
        for part in parts {
            let share = Double(part.tokens.count) / Double(tokens)
            sum.add(run(part, backward: true, weight: weight, share: Float(share)), share: share)
        }
        return sum
    }
}
