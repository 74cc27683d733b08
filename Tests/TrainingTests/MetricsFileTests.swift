import Foundation
import LanguageModels
import TestSupport
import Testing
import Training

/// The file of metrics: a line for each point, once, whatever happens to the run.
struct MetricsFileTests {
    private final class Stop: TrainingObserver {
        private let after: Int
        private var done = 0
        init(after: Int) { self.after = after }
        func didStep(_ step: Int, of steps: Int, record: TrainingRecord) { done += 1 }
        func shouldStop() -> Bool { done >= after }
    }

    private struct Line: Decodable {
        struct Experts: Decodable {
            var maximumShare: Double
            var dead: Int
            var routerEntropy: Double
        }
        struct Validation: Decodable {
            var step: Int
            var answerLoss: Double
        }
        struct Rollback: Decodable {
            var step: Int
        }
        var run: String
        var step: Int
        var loss: Double
        var answerLoss: Double
        var accuracy: Double
        var rate: Double
        var gradientNorm: Double
        var tokensPerSecond: Double
        var experts: Experts?
        var validation: Validation?
        var rollback: Rollback?
    }

    private let temporary: TemporaryFolder
    private var folder: URL { temporary.url }
    private var metrics: URL { folder.appendingPathComponent("metrics.jsonl") }

    init() throws {
        temporary = try TemporaryFolder()
    }

    private func trainer(
        _ c: ModelConfiguration = TinyDecoder.experts(), key: String = "a run", variant: Trainer.Variant? = nil,
        observer: (any TrainingObserver)? = nil
    ) throws -> Trainer {
        var options = TrainingOptions()
        options.epochs = 4
        options.batch = 8
        options.rate = 4e-3
        options.checkpointInterval = 6
        options.validationInterval = 5
        return try Trainer(
            model: TinyDecoder.decoder(c, TinyDecoder.parameters(c)), data: TinyDecoder.copies(40),
            validation: TinyDecoder.copies(8, seed: 77), options: options, variant: variant,
            checkpoint: folder.appendingPathComponent("state.bin"), key: key, metrics: metrics, observer: observer)
    }

    private func lines() throws -> [Line] {
        try Data(contentsOf: metrics).split(separator: UInt8(ascii: "\n")).map {
            try JSONDecoder().decode(Line.self, from: $0)
        }
    }

    @Test func aLineForEachPoint() throws {
        let trainer = try trainer()
        #expect(try trainer.run())
        let lines = try lines()
        #expect(lines.map(\.step) == Array(1...20))
        #expect(lines.map(\.loss) == trainer.record.points.map(\.loss))
        #expect(lines.allSatisfy { $0.run == "a run" && $0.tokensPerSecond > 0 && $0.gradientNorm > 0 })
        #expect(lines.compactMap(\.validation?.step) == [5, 10, 15, 20])
        #expect(lines[19].validation?.answerLoss == trainer.record.validations.last?.answerLoss)
        for line in lines {
            let experts = try #require(line.experts)
            #expect(experts.maximumShare >= 0.25 && experts.maximumShare <= 0.5)
            #expect(experts.routerEntropy > 0 && experts.routerEntropy <= log(4) + 1e-6)
        }
        #expect(trainer.record.points[3].experts?.dead == lines[3].experts?.dead)
    }

    @Test func denseModelsHaveNoExperts() throws {
        #expect(try trainer(TinyDecoder.dense()).run())
        #expect(try lines().allSatisfy { $0.experts == nil })
    }

    @Test func resumedRunsWriteNoStepTwice() throws {
        #expect(try trainer(key: "another run").run())
        // Killed after update 8, in the middle of a line: the newest checkpoint is that of update 6.
        #expect(!(try trainer(observer: Stop(after: 6)).run()))
        let state = try Data(contentsOf: folder.appendingPathComponent("state.bin"))
        #expect(!(try trainer(observer: Stop(after: 2)).run()))
        try state.write(to: folder.appendingPathComponent("state.bin"))
        try (Data(contentsOf: metrics) + Data(#"{"run":"a run","st"#.utf8)).write(to: metrics)
        #expect(try trainer().run())
        let lines = try lines()
        #expect(lines.filter { $0.run == "a run" }.map(\.step) == Array(1...20))
        #expect(lines.filter { $0.run == "another run" }.map(\.step) == Array(1...20))
    }

    @Test func aRollbackTakesItsLinesBack() throws {
        var visits = 0
        let data = TinyDecoder.copies(40)
        let trainer = try trainer { index, _ in
            visits += 1
            var sequence = data[index]
            if visits == 75 { sequence.weight = .infinity }
            return sequence
        }
        #expect(try trainer.run())
        let lines = try lines()
        #expect(lines.map(\.step) == Array(1...20))
        #expect(lines.compactMap(\.rollback?.step) == [10])
        #expect(lines[6].rollback != nil)
    }

    @Test func anUnusedExpertIsDead() throws {
        let c = TinyDecoder.experts()
        let parameters = TinyDecoder.parameters(c)
        // One token is all there is: two of four experts see it.
        var options = TrainingOptions()
        options.batch = 1
        options.epochs = 2
        options.rate = 1e-7
        let trainer = try Trainer(
            model: TinyDecoder.decoder(c, parameters),
            data: [TrainingSequence(tokens: [3], targets: [.only(4)], answers: [4])], options: options)
        #expect(try trainer.run())
        #expect(trainer.record.points[0].experts?.dead == 4)
        #expect(trainer.record.points[0].experts?.maximumShare == 0.5)
        let experts = try #require(trainer.record.points[0].experts)
        #expect(experts.unused?.map { $0[0] } == [0, 0, 1, 1])
        #expect(experts.unused?.map { $0[1] } == trainer.record.deadExperts.flatMap { $0 })
        #expect(experts.shares?.reduce(0, +) == 1)
        #expect(trainer.record.deadExperts.map(\.count) == [2, 2])
    }
}
