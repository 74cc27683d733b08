import Foundation
import LanguageModels
import Tensors
import Testing
import Training

/// Balance by a bias on the choice of experts.
struct SelectionBiasTests {
    private func train(speed: Float, checkpoint: URL? = nil, stopAt: Int = .max) throws -> (TrainingRecord, [Float]) {
        var configuration = TinyDecoder.experts()
        configuration.experts?.activeCount = 1
        let parameters = TinyDecoder.parameters(configuration)
        var options = TrainingOptions()
        options.batch = 8
        options.epochs = 20
        options.rate = 1e-3
        options.balance = 0
        options.biasSpeed = speed
        options.checkpointInterval = 7
        let trainer = try Trainer(
            model: TinyDecoder.decoder(configuration, parameters), data: TinyDecoder.copies(32),
            validation: TinyDecoder.copies(4, seed: 5), options: options, checkpoint: checkpoint, key: "bias",
            observer: Stop(stopAt))
        _ = try trainer.run()
        return (trainer.record, parameters.values.values)
    }

    private final class Stop: TrainingObserver {
        let limit: Int
        var step = 0
        init(_ limit: Int) { self.limit = limit }
        func didStep(_ step: Int, of steps: Int, record: TrainingRecord) { self.step = step }
        func shouldStop() -> Bool { step >= limit }
    }

    /// The largest share of an expert, over the middle of the run.
    private func unevenness(_ record: TrainingRecord) -> Double {
        let middle = record.points[record.points.count / 2..<record.points.count * 3 / 4].compactMap(\.experts)
        return middle.reduce(0) { $0 + $1.maximumShare } / Double(middle.count)
    }

    @Test func loadsBecomeEven() throws {
        let free = try train(speed: 0).0
        let balanced = try train(speed: 0.02).0
        #expect(unevenness(free) > 0.4)
        #expect(unevenness(balanced) < 0.85 * unevenness(free))
    }

    @Test func resumedIsUninterruptedBitForBit() throws {
        let (record, whole) = try train(speed: 0.02)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("bias-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let checkpoint = folder.appendingPathComponent("state.bin")
        _ = try train(speed: 0.02, checkpoint: checkpoint, stopAt: 30)
        let (resumed, weights) = try train(speed: 0.02, checkpoint: checkpoint)
        #expect(weights == whole)
        #expect(resumed.validations.last == record.validations.last)
    }
}
