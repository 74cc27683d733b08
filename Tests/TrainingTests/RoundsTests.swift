import Foundation
import LanguageModels
import Tensors
import Testing
import Training

/// Rows that are made from the weights as they are at the beginning of a round.
struct RoundsTests {
    /// Answers what the model itself finds most probable.
    private final class Own {
        var rows: [Trainer.Place: TrainingSequence] = [:]
        var prepared: [Int] = []
        let data: [TrainingSequence]
        init(_ data: [TrainingSequence]) { self.data = data }

        func prepare(_ round: Int, _ places: [Trainer.Place], _ model: TrainableDecoder) {
            prepared.append(round)
            rows = [:]
            for place in places {
                var row = data[place.index]
                let logits = model.rowLogits(TrainingBatch([row]))
                let v = model.configuration.vocabularySize
                row.answers = row.answers.indices.map { index in
                    let own = logits[index * v..<(index + 1) * v]
                    return Int32(own.indices.max { own[$0] < own[$1] }! - own.startIndex)
                }
                row.targets = row.answers.map { .only($0) }
                rows[place] = row
            }
        }
    }

    private final class Stop: TrainingObserver {
        let limit: Int
        var step = 0
        init(_ limit: Int) { self.limit = limit }
        func didStep(_ step: Int, of steps: Int, record: TrainingRecord) { self.step = step }
        func shouldStop() -> Bool { step >= limit }
    }

    private struct Killed: Error {}

    private func train(_ checkpoint: URL?, stopAt: Int = .max, killIn: Int = .max) throws -> (Own, [Float]) {
        let configuration = TinyDecoder.experts()
        let parameters = TinyDecoder.parameters(configuration)
        let data = TinyDecoder.copies(24)
        let own = Own(data)
        var options = TrainingOptions()
        options.batch = 4
        options.epochs = 2
        options.rate = 3e-3
        options.checkpointInterval = 4
        let model = TinyDecoder.decoder(configuration, parameters)
        let trainer = try Trainer(
            model: model, data: data, options: options,
            variant: { index, epoch in own.rows[Trainer.Place(index: index, epoch: epoch)]! },
            rounds: .init(updates: 4) { round, places in
                if round == killIn { throw Killed() }
                own.prepare(round, places, model)
            }, checkpoint: checkpoint, key: "rounds", observer: Stop(stopAt))
        _ = try trainer.run()
        return (own, parameters.values.values)
    }

    @Test func eachRoundIsPreparedOnceFromItsWeights() throws {
        let (own, weights) = try train(nil)
        #expect(own.prepared == [0, 1, 2])
        #expect(try train(nil).1 == weights)
    }

    @Test func aRunKilledBetweenRoundsGoesOnBitForBit() throws {
        let (_, whole) = try train(nil)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("rounds-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let checkpoint = folder.appendingPathComponent("state.bin")
        #expect(throws: Killed.self) { try train(checkpoint, killIn: 2) }
        let (own, resumed) = try train(checkpoint)
        #expect(own.prepared == [2])
        #expect(resumed == whole)
    }
}
