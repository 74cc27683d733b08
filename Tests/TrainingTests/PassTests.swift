import LanguageModels
import Tensors
import Testing
import Training

/// Passes that compute less, or compute again, against the plain one.
struct PassTests {
    /// Shapes whose passes differ: experts, dense, low-rank adapters, and a frozen embedding below them.
    enum Shape: CaseIterable {
        case experts, dense, adapters, frozenEmbedding

        var configuration: ModelConfiguration { self == .experts ? TinyDecoder.experts() : TinyDecoder.dense() }

        func parameters() -> Parameters {
            let drawn = TinyDecoder.parameters(
                configuration, adapterRank: self == .experts || self == .dense ? nil : 3)
            guard self == .frozenEmbedding else { return drawn }
            let parameters = Parameters(
                TrainableDecoder.specifications(configuration, adapterRank: 3, trainsEmbedding: false))
            for entry in parameters.entries {
                parameters.set(entry.specification.name, drawn.array(entry.specification.name))
            }
            return parameters
        }
    }

    private func run(
        _ shape: Shape, _ sequences: [TrainingSequence], threads: Int = 2, precision: Precision = .float32,
        set: (TrainableDecoder) -> Void = { _ in }
    ) -> (result: TrainableDecoder.PassResult, gradients: [Float]) {
        let parameters = shape.parameters()
        let decoder = TinyDecoder.decoder(shape.configuration, parameters, threads: threads, precision: precision)
        set(decoder)
        let result = decoder.run(TrainingBatch(sequences), backward: true)
        // A second pass finds memory that is not zero.
        parameters.zeroGradients()
        let again = decoder.run(TrainingBatch(sequences), backward: true)
        #expect(result.loss.loss == again.loss.loss)
        return (result, parameters.gradients.values)
    }

    /// Targets on one, all, none and some of the tokens.
    private let mixed = [
        TrainingSequence(tokens: [1, 5, 9, 13, 7], targets: [.only(4)], answers: [4]),
        TrainingSequence(tokens: [2, 30], targets: [.only(3), .only(6)], answers: [3, 6], weight: 0.5),
        TrainingSequence(tokens: [8, 8, 21], targets: [], answers: []),
        TrainingSequence(
            tokens: [9, 9, 1, 0], targets: [.only(5), SoftTarget(tokens: [1], probabilities: [0.7], tail: 0.3)],
            answers: [5, 1]),
    ]

    @Test(arguments: Shape.allCases) func lastLayerOnTargetsIsTheWholeOne(_ shape: Shape) {
        func pass(_ onTargets: Bool) -> (result: TrainableDecoder.PassResult, gradients: [Float]) {
            run(shape, mixed) {
                $0.lastLayerOnTargetsOnly = onTargets
                // Their means are over other tokens.
                ($0.balanceCoefficient, $0.zCoefficient) = (0, 0)
            }
        }
        let (some, all) = (pass(true), pass(false))
        #expect(abs(some.result.loss.loss - all.result.loss.loss) < 1e-5)
        #expect(some.result.loss.rows == 5)
        #expect(some.gradients.count == all.gradients.count)
        let largest = all.gradients.map(abs).max() ?? 0
        let worst = zip(some.gradients, all.gradients).map { abs($0 - $1) }.max() ?? 1
        #expect(largest > 0.01 && worst < 1e-5 * largest, "\(worst) of \(largest)")
        if shape == .experts { #expect(some.result.loads.map { $0.reduce(0, +) } == [28, 10]) }
    }

    @Test(arguments: Shape.allCases) func lastLayerOnTargetsIsTheSameWhereAllAreTargets(_ shape: Shape) {
        let sequences = [
            TrainingSequence(tokens: [1, 5, 9], targets: [.only(4), .only(7), .only(2)], answers: [4, 7, 2]),
            TrainingSequence(tokens: [2, 30], targets: [.only(3), .only(6)], answers: [3, 6]),
        ]
        let some = run(shape, sequences)
        let all = run(shape, sequences) { $0.lastLayerOnTargetsOnly = false }
        #expect(some.result.loss.loss == all.result.loss.loss && some.result.loads == all.result.loads)
        #expect(some.gradients == all.gradients)
    }

    @Test(arguments: Shape.allCases) func recomputedIsKeptBitForBit(_ shape: Shape) {
        let kept = run(shape, mixed)
        let again = run(shape, mixed) { $0.recompute = true }
        #expect(kept.result.loss.loss == again.result.loss.loss && kept.result.balance == again.result.balance)
        #expect(kept.result.loads == again.result.loads)
        #expect(kept.gradients == again.gradients)
    }

    @Test(arguments: Shape.allCases, [(Precision.bfloat16, 0.01, 0.03), (.int16, 1e-4, 1e-3)])
    func otherPrecisionsAreNearFloat32(
        _ shape: Shape, _ other: (precision: Precision, loss: Double, gradients: Double)
    ) {
        let exact = run(shape, mixed)
        let rounded = run(shape, mixed, precision: other.precision)
        #expect(rounded.gradients != exact.gradients)
        #expect(abs(rounded.result.loss.loss - exact.result.loss.loss) < other.loss * exact.result.loss.loss)
        func length(_ x: [Float]) -> Double { x.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot() }
        let difference = length(zip(rounded.gradients, exact.gradients).map { $0 - $1 })
        let share = difference / length(exact.gradients)
        #expect(share < other.gradients, "\(other.precision): \(share)")
        #expect(run(shape, mixed, threads: 1, precision: other.precision).gradients == rounded.gradients)
    }

    @Test func whatALayerIsWorth() {
        var c = TinyDecoder.dense()
        c.layerCount = 4
        let decoder = TinyDecoder.decoder(c, TinyDecoder.parameters(c))
        let batch = TrainingBatch(mixed)
        let losses = decoder.lossesWithout(eachOf: [0, 1, 2, 3], from: 0, batch)
        #expect(Set(losses).count == 4)
        #expect(decoder.lossesWithout(eachOf: [0, 1, 2, 3], from: 2, batch) == Array(losses[2...]))
        // The last one of these is the layer that goes: the others are all that is left.
        for (layer, loss) in losses.enumerated() {
            let others = (0..<4).filter { $0 != layer }
            #expect(decoder.lossesWithout(eachOf: others + [layer], from: 3, batch) == [loss])
        }
    }
}
