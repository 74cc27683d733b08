import Foundation
import LanguageModels
import Tensors
import TestSupport
import Testing
import Training

struct DataParallelTests {
    /// Trains a small decoder with so many processes.
    private func train(
        processes: Int, microBatch: Int = 0, balance: Float = 1e-2, adapters: Bool = false, checkpoint: URL? = nil,
        precision: Precision = .float32,
        data: [TrainingSequence] = TinyDecoder.copies(40)
    ) throws -> (weights: [Float], record: TrainingRecord) {
        let c = adapters ? TinyDecoder.dense() : TinyDecoder.experts()
        let threads = ThreadGroup(processes)
        let helpers = threads.help { [GradientWorker(pool: WorkerPool(threadCount: 1))] }
        var options = TrainingOptions()
        options.epochs = 2
        options.batch = 8
        options.rate = 1e-3
        options.microBatch = microBatch
        options.balance = balance
        options.checkpointInterval = 3
        options.validationInterval = 4
        let parameters = TinyDecoder.parameters(c, adapterRank: adapters ? 2 : nil)
        let trainer = try Trainer(
            model: TinyDecoder.decoder(c, parameters, precision: precision), data: data,
            validation: TinyDecoder.copies(4, seed: 5),
            options: options, checkpoint: checkpoint, key: "k", group: processes > 1 ? threads.members[0] : nil)
        #expect(try trainer.run())
        helpers.end()
        #expect(threads.calls == (processes > 1 ? processes * 10 : 0))
        return (parameters.values.values, trainer.record)
    }

    private func distance(_ a: [Float], _ b: [Float]) -> Float {
        zip(a, b).map { abs($0 - $1) }.max() ?? .infinity
    }

    @Test(arguments: [2, 3]) func processesTogetherAreOne(processes: Int) throws {
        // Without the load-balance loss, which is a mean of the shares' losses, only the order of sums differs.
        let one = try train(processes: 1, balance: 0)
        let many = try train(processes: processes, balance: 0)
        #expect(distance(one.weights, many.weights) < 2e-5)
        for (a, b) in zip(one.record.points, many.record.points) {
            #expect(abs(a.loss - b.loss) < 1e-5 && abs(a.gradientNorm - b.gradientNorm) < 1e-4)
            #expect(a.accuracy == b.accuracy)
            #expect(abs(a.experts!.routerEntropy - b.experts!.routerEntropy) < 1e-5)
        }
        #expect(one.record.expertLoads == many.record.expertLoads)
        #expect(one.record.tokens == many.record.tokens)
    }

    @Test func twoProcessesAreTwoMicroBatches() throws {
        let one = try train(processes: 1, microBatch: 4)
        let two = try train(processes: 2)
        #expect(distance(one.weights, two.weights) < 2e-5)
        #expect(distance(one.weights, try train(processes: 1, balance: 0).weights) > 2e-5)
    }

    @Test func precisionIsThatOfRankZero() throws {
        func norm(_ processes: Int, _ precision: Precision) throws -> Double {
            try train(processes: processes, balance: 0, precision: precision).record.points[0].gradientNorm
        }
        let one = try norm(1, .bfloat16)
        #expect(abs(try norm(2, .bfloat16) - one) < 1e-5)
        #expect(abs(try norm(1, .float32) - one) > 1e-4)
    }

    @Test func theSameProcessesGiveTheSameBits() throws {
        #expect(try train(processes: 3).weights == train(processes: 3).weights)
    }

    @Test func frozenWeightsAreSentToo() throws {
        let one = try train(processes: 1, adapters: true)
        #expect(distance(one.weights, try train(processes: 2, adapters: true).weights) < 2e-5)
    }

    @Test func aProcessMayHaveNothingToDo() throws {
        let one = try train(processes: 1, balance: 0)
        #expect(distance(one.weights, try train(processes: 9, balance: 0).weights) < 2e-5)
    }

    @Test func softTargetsAreSentWhole() throws {
        let data = TinyDecoder.copies(40).enumerated().map { index, sequence in
            var sequence = sequence
            sequence.weight = index % 3 == 0 ? 0.25 : 1
            sequence.targets[0] = SoftTarget(tokens: [4, 7, 9], probabilities: [0.5, 0.2, 0.1], tail: 0.2)
            return sequence
        }
        let one = try train(processes: 1, balance: 0, data: data)
        #expect(distance(one.weights, try train(processes: 2, balance: 0, data: data).weights) < 2e-5)
    }
}
