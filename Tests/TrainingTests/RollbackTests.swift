import Foundation
import LanguageModels
import Tensors
import TestSupport
import Testing
import Training

/// Training that diverges goes back once, names what went wrong, and gives the same weights when it is killed meanwhile.
struct RollbackTests {
    /// Stops after so many updates in all.
    private final class Stop: TrainingObserver {
        private let after: Int
        private let before: () -> Void
        private var done = 0
        init(after: Int, before: @escaping () -> Void = {}) {
            self.after = after
            self.before = before
        }
        func didStep(_ step: Int, of steps: Int, record: TrainingRecord) { done += 1 }
        func shouldStop() -> Bool {
            if done >= after { before() }
            return done >= after
        }
    }

    /// Spoils visits to sequences by their order.
    private final class Spoiler {
        private let visits: Range<Int>
        private let change: (TrainingSequence) -> TrainingSequence
        private var visit = 0
        private let data: [TrainingSequence]

        init(
            _ visits: Range<Int>, _ data: [TrainingSequence], _ change: @escaping (TrainingSequence) -> TrainingSequence
        ) {
            self.visits = visits
            self.data = data
            self.change = change
        }

        func sequence(_ index: Int, _ epoch: Int) -> TrainingSequence {
            defer { visit += 1 }
            return visits.contains(visit) ? change(data[index]) : data[index]
        }
    }

    private let temporary: TemporaryFolder
    private var folder: URL { temporary.url }

    init() throws {
        temporary = try TemporaryFolder()
    }

    private func withWeight(_ weight: Float) -> (TrainingSequence) -> TrainingSequence {
        { sequence in
            var sequence = sequence
            sequence.weight = weight
            return sequence
        }
    }

    private func trainer(
        _ parameters: Parameters, checkpoint: URL?, epochs: Double = 4, spoiler: Spoiler? = nil,
        observer: (any TrainingObserver)? = nil
    ) throws -> Trainer {
        var options = TrainingOptions()
        options.epochs = epochs
        options.batch = 8
        options.rate = 4e-3
        options.checkpointInterval = 3
        return try Trainer(
            model: TinyDecoder.decoder(TinyDecoder.experts(), parameters), data: TinyDecoder.copies(40),
            options: options, variant: spoiler.map { spoiler in { spoiler.sequence($0, $1) } },
            checkpoint: checkpoint, key: "k", observer: observer)
    }

    private func parameters() -> Parameters { TinyDecoder.parameters(TinyDecoder.experts()) }

    @Test func anInfiniteLossIsRolledBackOnce() throws {
        let data = TinyDecoder.copies(40)
        let checkpoint = folder.appendingPathComponent("state.bin")
        // The fourth sequence of update 8.
        let trained = parameters()
        let trainer = try trainer(
            trained, checkpoint: checkpoint, spoiler: Spoiler(59..<60, data, withWeight(.infinity)))
        #expect(try trainer.run())
        let rollback = try #require(trainer.record.rollbacks.first)
        #expect(trainer.record.rollbacks.count == 1)
        #expect(rollback.step == 8)
        #expect(rollback.resumedFrom == 6)
        #expect(rollback.rateScale == 0.5)
        #expect(rollback.sequences.count == 8)
        #expect(rollback.parameter?.hasPrefix("model.") == true)
        #expect(rollback.reason.contains("update 8 of 20") && rollback.reason.contains("batch of sequences"))
        // The points are those of a run without a fault up to update 6, and each update is there once.
        let plain = try self.trainer(parameters(), checkpoint: nil)
        #expect(try plain.run())
        let points = trainer.record.points
        #expect(points.map(\.step) == Array(1...20))
        #expect(points[..<6].map(\.loss) == plain.record.points[..<6].map(\.loss))
        #expect(points[7].rate == plain.record.points[7].rate / 2)
        #expect(trained.values.values.allSatisfy { $0.isFinite })
        #expect(!FileManager.default.fileExists(atPath: checkpoint.path + ".good"))
    }

    @Test func aSecondDivergenceIsAnError() throws {
        let spoiler = Spoiler(59..<1000, TinyDecoder.copies(40), withWeight(.nan))
        let trainer = try trainer(
            parameters(), checkpoint: folder.appendingPathComponent("state.bin"), spoiler: spoiler)
        let error = #expect(throws: TrainingError.self) { try trainer.run() }
        #expect(error?.code == .diverged)
        #expect(error?.message.contains("rolled back from update 8 to 6") == true)
        #expect(error?.message.contains("update 7 of 20") == true)
    }

    @Test func withoutACheckpointTheFirstDivergenceIsAnError() throws {
        let spoiler = Spoiler(59..<60, TinyDecoder.copies(40), withWeight(.nan))
        let trainer = try trainer(parameters(), checkpoint: nil, spoiler: spoiler)
        let error = #expect(throws: TrainingError.self) { try trainer.run() }
        #expect(error?.message.contains("update 8 of 20") == true)
    }

    @Test func rolledBackAndResumedIsUninterruptedBitForBit() throws {
        let data = TinyDecoder.copies(40)
        let whole = parameters()
        let uninterrupted = try trainer(
            whole, checkpoint: folder.appendingPathComponent("whole.bin"),
            spoiler: Spoiler(59..<60, data, withWeight(.infinity)))
        #expect(try uninterrupted.run())
        // Stopped after 7 updates, between two checkpoints, and then after the roll-back.
        let checkpoint = folder.appendingPathComponent("parts.bin")
        #expect(!(try trainer(parameters(), checkpoint: checkpoint, observer: Stop(after: 7)).run()))
        let spoiled = try trainer(
            parameters(), checkpoint: checkpoint, spoiler: Spoiler(3..<4, data, withWeight(.infinity)),
            observer: Stop(after: 2))
        #expect(!(try spoiled.run()))
        #expect(spoiled.record.rollbacks.map(\.resumedFrom) == [6])
        #expect(spoiled.record.steps == 8)
        let rest = parameters()
        let last = try trainer(rest, checkpoint: checkpoint)
        #expect(try last.run())
        #expect(rest.values.values == whole.values.values)
        #expect(last.record.rollbacks == uninterrupted.record.rollbacks)
    }

    @Test func aLossThatRunsAwayIsRolledBack() throws {
        let spoiler = Spoiler(8 * 280..<8 * 285, TinyDecoder.copies(40)) { sequence in
            var sequence = sequence
            sequence.targets = sequence.targets.map { _ in .only(20) }
            return sequence
        }
        let trainer = try trainer(
            parameters(), checkpoint: folder.appendingPathComponent("state.bin"), epochs: 70, spoiler: spoiler)
        #expect(try trainer.run())
        let rollback = try #require(trainer.record.rollbacks.first)
        #expect(rollback.step == 285)
        // 282 is a checkpoint's update, but the loss was suspicious there.
        #expect(rollback.resumedFrom == 279)
        #expect(rollback.parameter == nil)
    }

    @Test func aParameterThatIsNotANumberIsNamed() throws {
        let parameters = parameters()
        let name = "model.layers.0.mlp.experts.2.up_proj.weight"
        parameters.values.base[parameters.entry(name).offset + 3] = .nan
        let trainer = try trainer(parameters, checkpoint: nil)
        let error = #expect(throws: TrainingError.self) { try trainer.step() }
        #expect(error?.message.contains(name) == true)
    }

    @Test func aStateWithABrokenWeightIsNoGoodState() throws {
        let checkpoint = folder.appendingPathComponent("state.bin")
        let broken = parameters()
        let name = "model.layers.0.self_attn.o_proj.weight"
        // The checkpoint of update 9 is written once more, with a weight that is not finite.
        let breaker = Stop(after: 9) { broken.values.base[broken.entry(name).offset] = .infinity }
        #expect(!(try trainer(broken, checkpoint: checkpoint, observer: breaker).run()))
        let mended = parameters()
        let trainer = try trainer(mended, checkpoint: checkpoint)
        #expect(try trainer.run())
        let rollback = try #require(trainer.record.rollbacks.first)
        #expect(rollback.step == 10 && rollback.resumedFrom == 9 && rollback.parameter == name)
        #expect(mended.values.values.allSatisfy { $0.isFinite })
    }

    @Test func recordsOfEarlierVersionsAreRead() throws {
        let old = #"{"points":[],"validations":[],"expertLoads":[],"steps":3,"tokens":4,"sequences":5,"seconds":0.5}"#
        let record = try JSONDecoder().decode(TrainingRecord.self, from: Data(old.utf8))
        #expect(record.steps == 3 && record.rollbacks.isEmpty)
    }
}
