internal import CKernels
internal import LanguageModels
internal import Tensors

extension TrainableDecoder {
    /// The loss of a batch's answers when one layer more is left out, for each of those still in use: what its layer is
    /// worth to the task (block removal by loss, Kim et al., arXiv 2402.02834).
    ///
    /// - Parameter layers: those in use, in their order.
    /// - Returns: for each of them the loss without it, in nats a target.
    package func lossesWithout(eachOf layers: [Int], _ batch: TrainingBatch) -> [Double] {
        let count = batch.tokens.count * configuration.width
        let before = FloatBuffer(count: count)
        let stream = FloatBuffer(count: count)
        embed(batch.tokens, into: before.base)
        return layers.indices.map { place in
            stream.base.update(from: before.base, count: count)
            for layer in layers[(place + 1)...] { forward(layer, stream.base, batch) }
            let loss = answerLoss(stream.base, batch)
            forward(layers[place], before.base, batch)
            return loss
        }
    }
}
