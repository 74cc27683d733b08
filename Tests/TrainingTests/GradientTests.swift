import LanguageModels
import Tensors
import Testing
import Training

/// Every parameter's gradient against central differences of the loss.
struct GradientTests {
    private var batch: TrainingBatch {
        TrainingBatch([
            TrainingSequence(
                tokens: [1, 5, 9, 13, 7], targets: [.only(4), .only(8)], answers: [4, 8]),
            TrainingSequence(
                tokens: [2, 30, 31],
                targets: [
                    SoftTarget(tokens: [3, 4, 5], probabilities: [0.5, 0.2, 0.1], tail: 0.2), .only(6),
                ], answers: [3, 6], weight: 0.5),
            TrainingSequence(
                tokens: [9, 9, 1, 0], targets: [SoftTarget(tokens: [1], probabilities: [0.7], tail: 0.3)], answers: [1]),
        ])
    }

    private func check(_ c: ModelConfiguration, adapterRank: Int? = nil) {
        let parameters = TinyDecoder.parameters(c, adapterRank: adapterRank)
        let decoder = TinyDecoder.decoder(c, parameters)
        decoder.balanceCoefficient = 0.3
        decoder.zCoefficient = 0.1
        let batch = batch
        func pass() -> (loss: Double, loads: [[Int]]) {
            parameters.zeroGradients()
            let result = decoder.run(batch, backward: true)
            let extra = 0.3 * result.balance + 0.1 * result.z
            return (result.loss.loss / result.loss.weight + extra, result.loads)
        }
        let loads = pass().loads
        let gradients = parameters.gradients.values
        var random = RandomNumbers(seed: 11)
        var compared = 0
        for entry in parameters.entries where entry.specification.trains {
            for _ in 0..<6 {
                let place = entry.offset + random.below(entry.specification.count)
                let value = parameters.values.base[place]
                let step: Float = 4e-3
                parameters.values.base[place] = value + step
                let above = pass()
                parameters.values.base[place] = value - step
                let below = pass()
                parameters.values.base[place] = value
                // Where the step sends a token to another expert, the loss has a corner.
                guard above.loads == loads, below.loads == loads else { continue }
                let difference = (above.loss - below.loss) / Double(2 * step)
                let gradient = Double(gradients[place])
                #expect(
                    abs(difference - gradient) < 1e-3 + 0.02 * abs(difference),
                    "\(entry.specification.name): \(gradient), by differences \(difference)")
                compared += 1
            }
        }
        #expect(compared > parameters.entries.count)
    }

    @Test func mixtureOfExperts() { check(TinyDecoder.experts()) }
    @Test func denseFeedForward() { check(TinyDecoder.dense()) }
    @Test func lowRankAdapters() { check(TinyDecoder.dense(), adapterRank: 3) }

    @Test func packedIsSingle() {
        let c = TinyDecoder.experts()
        let decoder = TinyDecoder.decoder(c, TinyDecoder.parameters(c))
        let sequences = TinyDecoder.copies(3)
        let together = decoder.rowLogits(TrainingBatch(sequences))
        let alone = sequences.flatMap { decoder.rowLogits(TrainingBatch([$0])) }
        #expect(zip(together, alone).allSatisfy { abs($0 - $1) < 1e-5 })
    }

    @Test func threadsDoNotChangeAnything() {
        let c = TinyDecoder.experts()
        func gradients(_ threads: Int) -> [Float] {
            let parameters = TinyDecoder.parameters(c)
            _ = TinyDecoder.decoder(c, parameters, threads: threads).run(batch, backward: true)
            return parameters.gradients.values
        }
        #expect(gradients(1) == gradients(3))
    }

    @Test func mergedAdaptersComputeTheSame() {
        let c = TinyDecoder.dense()
        let parameters = TinyDecoder.parameters(c, adapterRank: 3)
        let compute = Compute(pool: WorkerPool(threadCount: 2))
        let decoder = TrainableDecoder(c, parameters: parameters, contextLength: 64, compute: compute)
        let before = decoder.rowLogits(batch)
        parameters.mergeAdapters(c, scale: 2, compute: compute)
        let after = decoder.rowLogits(batch)
        #expect(zip(before, after).allSatisfy { abs($0 - $1) < 1e-3 })
    }
}
