import Foundation
import Tensors
import Testing
import Training

/// Matching a teacher's last hidden states.
struct HiddenStateTests {
    private let width = 48
    private let compute = Compute(pool: WorkerPool(threadCount: 2))

    private func drawn(_ count: Int, seed: UInt64) -> [Float] {
        var random = RandomNumbers(seed: seed)
        return (0..<count).map { _ in random.normal() }
    }

    private func batch(_ directions: [[Int8]?], weights: [Float]) -> TrainingBatch {
        TrainingBatch(
            zip(directions, weights).map { direction, weight in
                var target = SoftTarget.only(1)
                target.hidden = direction
                return TrainingSequence(tokens: [0], targets: [target], answers: [1], weight: weight)
            })
    }

    private func directions(_ hidden: [Float]) -> [[Int8]] {
        let memory = FloatBuffer(hidden)
        return withExtendedLifetime(memory) {
            HiddenStateLoss(width: width).directions(memory.base, rows: hidden.count / width, compute: compute)
        }
    }

    private func run(_ hidden: [Float], _ batch: TrainingBatch) -> (loss: Double, gradient: [Float]) {
        let memory = FloatBuffer(hidden)
        let gradient = FloatBuffer(count: hidden.count)
        let loss = withExtendedLifetime(memory) {
            HiddenStateLoss(width: width).run(
                hidden: memory.base, rows: hidden.count / width, batch: batch, coefficient: 0.7, scale: 0.5,
                dHidden: gradient.base, compute: compute)
        }
        return (loss, gradient.values)
    }

    /// Three rows of different weights, the middle one without a teacher.
    @Test func theGradientIsTheDifferences() {
        let teacher = directions(drawn(3 * width, seed: 1))
        let batch = batch([teacher[0], nil, teacher[2]], weights: [1, 1, 0.4])
        let hidden = drawn(3 * width, seed: 2)
        let (loss, gradient) = run(hidden, batch)
        #expect(loss > 0)
        for place in stride(from: 0, to: hidden.count, by: 5) {
            var above = hidden, below = hidden
            above[place] += 1e-2
            below[place] -= 1e-2
            let difference =
                0.5 * (run(above, batch).loss - run(below, batch).loss) / Double(above[place] - below[place])
            #expect(abs(difference - Double(gradient[place])) < 1e-4, "\(place)")
        }
        #expect(gradient[width..<2 * width].allSatisfy { $0 == 0 })
        #expect(gradient.contains { abs($0) > 1e-3 })
    }

    /// The bytes of a state are near to it whatever its length, and unlike states stay unlike.
    @Test func bytesKeepDirections() {
        let state = drawn(width, seed: 3)
        let bytes = directions(state)[0]
        #expect(bytes.count == 64 && bytes.contains { abs($0) == 127 })
        let batch = batch([bytes], weights: [1])
        #expect(run(state.map { $0 * 7 }, batch).loss < 1e-3)
        var worst = 0.0
        for seed in 10..<60 {
            let other = drawn(width, seed: UInt64(seed))
            let dot = zip(state, other).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            let norms = [state, other].map { $0.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot() }
            worst = max(worst, abs(run(other, batch).loss / 0.7 - (1 - dot / norms[0] / norms[1])))
        }
        #expect(worst < 0.5)
    }

    /// A state of zeros, on either side, is nothing to learn from and no number that is not finite.
    @Test func zerosTeachNothing() {
        let zeros = [Float](repeating: 0, count: width)
        let none = directions(zeros)[0]
        #expect(none.allSatisfy { $0 == 0 })
        for (state, direction) in [(drawn(width, seed: 5), none), (zeros, directions(drawn(width, seed: 4))[0])] {
            let (loss, gradient) = run(state, batch([direction], weights: [1]))
            #expect(loss == 0 && gradient.allSatisfy { $0 == 0 })
        }
    }

    /// Through a whole decoder: the gradient of a weight by differences, and training brings the states together.
    @Test(arguments: [false, true])
    func aDecoderComesNearItsTeacher(hasExperts: Bool) throws {
        let c = hasExperts ? TinyDecoder.experts() : TinyDecoder.dense()
        let teacher = TinyDecoder.decoder(TinyDecoder.dense(), TinyDecoder.parameters(TinyDecoder.dense(), seed: 8))
        var data = TinyDecoder.copies(16)
        for row in data.indices {
            let directions = teacher.hiddenDirections(TrainingBatch([data[row]]))
            for place in directions.indices { data[row].targets[place].hidden = directions[place] }
        }
        let parameters = TinyDecoder.parameters(c)
        let model = TinyDecoder.decoder(c, parameters)
        model.balanceCoefficient = 0
        model.zCoefficient = 0
        model.hiddenCoefficient = 2
        let batch = TrainingBatch(data)
        parameters.zeroGradients()
        _ = model.run(batch, backward: true)
        let entry = parameters.entry("model.norm.weight")
        let gradient = parameters.gradients.base[entry.offset + 5]
        func loss(_ change: Float) -> Double {
            parameters.values.base[entry.offset + 5] += change
            defer { parameters.values.base[entry.offset + 5] -= change }
            let result = model.run(batch, backward: false).loss
            return result.loss / result.weight
        }
        let difference = (loss(1e-2) - loss(-1e-2)) / 2e-2
        #expect(abs(difference - Double(gradient)) < 2e-3 * max(1, abs(difference)), "\(difference), \(gradient)")

        func distance() -> Double {
            model.hiddenCoefficient = 0
            let plain = model.run(batch, backward: false).loss
            model.hiddenCoefficient = 1
            return (model.run(batch, backward: false).loss.loss - plain.loss) / plain.weight
        }
        let before = distance()
        var options = TrainingOptions()
        options.hidden = 2
        options.epochs = 30
        options.batch = 8
        options.rate = 1e-2
        _ = try Trainer(model: model, data: data, options: options).run()
        let after = distance()
        #expect(before > 0.5 && after < before / 3, "\(before), \(after)")
    }
}
