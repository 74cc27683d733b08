import Foundation
import LanguageModels
import Tensors
import Testing
import Training

struct TrainerTests {
    private final class Stop: TrainingObserver {
        private let after: Int
        private var done = 0
        init(after: Int) { self.after = after }
        func didStep(_ step: Int, of steps: Int, record: TrainingRecord) { done = step }
        func shouldStop() -> Bool { done >= after }
    }

    private func options(epochs: Double) -> TrainingOptions {
        var options = TrainingOptions()
        options.epochs = epochs
        options.batch = 8
        options.rate = 4e-3
        options.checkpointInterval = 3
        return options
    }

    private func trainer(
        _ parameters: Parameters, precision: Precision = .float32, checkpoint: URL? = nil, epochs: Double = 4,
        observer: (any TrainingObserver)? = nil
    ) throws -> Trainer {
        try Trainer(
            model: TinyDecoder.decoder(TinyDecoder.experts(), parameters, precision: precision),
            data: TinyDecoder.copies(40),
            validation: TinyDecoder.copies(8, seed: 77), options: options(epochs: epochs), checkpoint: checkpoint,
            key: "k", observer: observer)
    }

    @Test(arguments: Precision.allCases) func itLearnsToCopy(_ precision: Precision) throws {
        let parameters = TinyDecoder.parameters(TinyDecoder.experts())
        let trainer = try trainer(parameters, precision: precision, epochs: 60)
        #expect(try trainer.run())
        let points = trainer.record.points
        #expect(points[points.count - 1].answerLoss < 0.3)
        #expect(points[0].answerLoss > 1.5)
        #expect(trainer.record.expertLoads.count == 2)
    }

    @Test func whatCannotBeTrainedOnIsRefused() throws {
        func error(_ data: [TrainingSequence]) throws -> TrainingError? {
            let configuration = TinyDecoder.experts()
            let model = TinyDecoder.decoder(configuration, TinyDecoder.parameters(configuration))
            return #expect(throws: TrainingError.self) {
                try Trainer(model: model, data: data, options: options(epochs: 1))
            }
        }
        #expect(try error([])?.code == .noData)
        var long = TinyDecoder.copies(1)[0]
        long.tokens = [Int32](repeating: 1, count: 1000) + long.tokens
        let tooLong = try error(TinyDecoder.copies(3) + [long])
        #expect(tooLong?.code == .configuration)
        #expect(tooLong?.message.contains("has \(long.tokens.count) tokens") == true)
    }

    @Test func resumedIsUninterruptedBitForBit() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let whole = TinyDecoder.parameters(TinyDecoder.experts())
        let uninterrupted = try trainer(whole)
        #expect(try uninterrupted.run())

        let checkpoint = folder.appendingPathComponent("state.bin")
        for stop in [2, 7, 11] {
            let parameters = TinyDecoder.parameters(TinyDecoder.experts())
            #expect(!(try trainer(parameters, checkpoint: checkpoint, observer: Stop(after: stop)).run()))
        }
        let resumed = TinyDecoder.parameters(TinyDecoder.experts())
        let last = try trainer(resumed, checkpoint: checkpoint)
        #expect(try last.run())
        #expect(resumed.values.values == whole.values.values)
        #expect(last.record.steps == uninterrupted.record.steps)
        #expect(last.record.points.map(\.loss) == uninterrupted.record.points.map(\.loss))
    }

    @Test func damagedCheckpointsAreLeftAlone() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let checkpoint = folder.appendingPathComponent("state.bin")
        let parameters = TinyDecoder.parameters(TinyDecoder.experts())
        _ = try trainer(parameters, checkpoint: checkpoint, observer: Stop(after: 3)).run()
        let good = try Data(contentsOf: checkpoint)
        for cut in [0, 7, 15, 40, good.count / 2, good.count - 1] {
            try good.prefix(cut).write(to: checkpoint)
            let fresh = TinyDecoder.parameters(TinyDecoder.experts())
            #expect(try trainer(fresh, checkpoint: checkpoint).run())
        }
        var lengths = good
        lengths.replaceSubrange(8..<16, with: [UInt8](repeating: 0xff, count: 8))
        try lengths.write(to: checkpoint)
        #expect(try trainer(TinyDecoder.parameters(TinyDecoder.experts()), checkpoint: checkpoint).run())
    }

    @Test func nothingToTrainOnIsAnError() throws {
        let c = TinyDecoder.experts()
        let decoder = TinyDecoder.decoder(c, TinyDecoder.parameters(c))
        #expect(throws: TrainingError.self) { try Trainer(model: decoder, data: [], options: TrainingOptions()) }
    }

    @Test func anExpertWithoutTokensIsLegal() throws {
        let c = TinyDecoder.experts()
        let parameters = TinyDecoder.parameters(c)
        // A token has two experts of four: a batch of one token leaves two without any.
        let decoder = TinyDecoder.decoder(c, parameters)
        let result = decoder.run(
            TrainingBatch([TrainingSequence(tokens: [3], targets: [.only(4)], answers: [4])]), backward: true)
        #expect(result.loads.allSatisfy { $0.contains(0) })
        #expect(parameters.gradients.values.allSatisfy { $0.isFinite })
    }
}
