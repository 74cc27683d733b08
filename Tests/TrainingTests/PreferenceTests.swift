import Foundation
import LanguageModels
import Tensors
import Testing
import Training

/// Direct preference optimisation: its loss by definition, its gradient by differences, what it teaches.
struct PreferenceTests {
    private let configuration = TinyDecoder.experts()

    private func pairs(_ count: Int, model: TrainableDecoder) -> [TrainingSequence] {
        var random = RandomNumbers(seed: 4)
        return TinyDecoder.copies(count).map { better in
            var pair = better
            let wrong = better.answers.map { _ in Int32(20 + random.below(8)) }
            let worse = TrainingSequence(
                tokens: better.tokens.prefix(better.tokens.count - 1) + wrong.dropLast(),
                targets: wrong.map { .only($0) }, answers: wrong)
            let known = PreferenceLoss.logProbabilities(model, [better, worse])
            pair.rejected = RejectedAnswer(
                tokens: worse.tokens, answers: worse.answers, referenceMargin: known[0] - known[1] - 0.5)
            return pair
        }
    }

    @Test func logProbabilitiesAreTheRows() {
        let decoder = TinyDecoder.decoder(configuration, TinyDecoder.parameters(configuration))
        let sequences = TinyDecoder.copies(3)
        let logits = decoder.rowLogits(TrainingBatch(sequences)).map(Double.init)
        let v = configuration.vocabularySize
        var row = 0
        let expected = sequences.map { sequence in
            sequence.answers.reduce(0.0) { sum, token in
                let own = logits[row * v..<(row + 1) * v]
                row += 1
                return sum + own[own.startIndex + Int(token)] - log(own.reduce(0) { $0 + exp($1) })
            }
        }
        let known = PreferenceLoss.logProbabilities(decoder, sequences)
        #expect(zip(known, expected).allSatisfy { abs($0 - $1) < 1e-4 })
    }

    @Test func gradientIsTheDifferences() {
        let parameters = TinyDecoder.parameters(configuration)
        let decoder = TinyDecoder.decoder(configuration, parameters)
        decoder.balanceCoefficient = 0
        decoder.zCoefficient = 0
        let pairs = pairs(3, model: decoder)
        let beta = 0.7
        // By the definition: -log σ(β · 0.5) at the reference's weights.
        func pass() -> (loss: Double, loads: [[Int]]) {
            parameters.zeroGradients()
            let result = PreferenceLoss.addGradient(decoder, pairs, beta: beta)
            return (result.loss.loss / result.loss.weight, result.loads)
        }
        let first = pass()
        #expect(abs(first.loss - log(1 + exp(-beta * 0.5))) < 1e-5)
        let gradients = parameters.gradients.values
        var random = RandomNumbers(seed: 11)
        var compared = 0
        for entry in parameters.entries {
            for _ in 0..<4 {
                let place = entry.offset + random.below(entry.specification.count)
                let value = parameters.values.base[place]
                let step: Float = 4e-3
                parameters.values.base[place] = value + step
                let above = pass()
                parameters.values.base[place] = value - step
                let below = pass()
                parameters.values.base[place] = value
                // Where the step sends a token to another expert, the loss has a corner.
                guard above.loads == first.loads, below.loads == first.loads else { continue }
                let difference = (above.loss - below.loss) / Double(2 * step)
                #expect(
                    abs(difference - Double(gradients[place])) < 1e-3 + 0.02 * abs(difference),
                    "\(entry.specification.name): \(gradients[place]), by differences \(difference)")
                compared += 1
            }
        }
        #expect(compared > parameters.entries.count)
    }

    @Test func whatIsPreferredBecomesMoreProbable() throws {
        let parameters = TinyDecoder.parameters(configuration)
        let decoder = TinyDecoder.decoder(configuration, parameters)
        let pairs = pairs(24, model: decoder)
        var options = TrainingOptions()
        options.preference = 0.5
        options.batch = 8
        options.epochs = 8
        options.rate = 1e-3
        let trainer = try Trainer(model: decoder, data: pairs, options: options)
        _ = try trainer.run()
        let first = try #require(trainer.record.points.first)
        let last = try #require(trainer.record.points.last)
        #expect(last.loss < 0.5 * first.loss)
        #expect(last.accuracy > 0.9)
    }
}
