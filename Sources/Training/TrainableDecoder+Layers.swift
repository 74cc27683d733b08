internal import CKernels
internal import LanguageModels
internal import Tensors

extension TrainableDecoder {
    /// The loss of a batch's answers when one layer more is left out, for each of those that may go: what its layer is
    /// worth to the task (block removal by loss, Kim et al., arXiv 2402.02834).
    ///
    /// - Parameters:
    ///   - layers: those in use, in their order.
    ///   - first: the place of the first that may go.
    /// - Returns: for each layer from that place on the loss without it, in nats a target.
    package func lossesWithout(eachOf layers: [Int], from first: Int, _ batch: TrainingBatch) -> [Double] {
        let count = batch.tokens.count * configuration.width
        let before = FloatBuffer(count: count)
        let stream = FloatBuffer(count: count)
        embed(batch.tokens, into: before.base)
        for layer in layers.prefix(first) { forward(layer, before.base, batch) }
        return layers.indices.dropFirst(first).map { place in
            stream.base.update(from: before.base, count: count)
            let behind = layers[(place + 1)...]
            for layer in behind { forward(layer, stream.base, batch) }
            if !behind.isEmpty { forward(layers[place], before.base, batch) }
            return answerLoss(stream.base, batch)
        }
    }
}
