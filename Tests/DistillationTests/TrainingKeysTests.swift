import Distillation
import Foundation
import TestSupport
import Testing
import Training

/// What a task says about training, and what a run leaves for those who want to follow it.
struct TrainingKeysTests {
    private struct Line: Decodable {
        struct Experts: Decodable {
            var maximumShare: Double
        }
        var run: String
        var step: Int
        var rate: Double
        var experts: Experts?
    }

    private func folder(_ training: String) throws -> TemporaryFolder {
        try TinyTask.folder(student: "layers: 1, experts: {routed: 3, shared: 1, active: 2}", training: training)
    }

    private func metrics(_ folder: TemporaryFolder) -> URL {
        folder.url.appendingPathComponent(".understudy/metrics.jsonl")
    }

    private func lines(_ folder: TemporaryFolder) throws -> [Line] {
        try Data(contentsOf: metrics(folder)).split(separator: UInt8(ascii: "\n")).map {
            try JSONDecoder().decode(Line.self, from: $0)
        }
    }

    @Test func optimizerAndScheduleAreRead() throws {
        func read(_ training: String) throws -> TaskDefinition.Training {
            let folder = try folder(training)
            return try TaskDefinition(folder: folder.url).training
        }
        let chosen = try read("{optimizer: muon, schedule: wsd}")
        #expect(chosen.optimizer == .muon && chosen.schedule == .wsd)
        let plain = try read("{batch: 8}")
        #expect(plain.optimizer == nil && plain.schedule == nil)
        #expect(plain.recompute == nil)
        #expect(try read("{recompute: true}").recompute == true)
        let mistaken = #expect(throws: TaskError.self) { try read("{recompute: twice}") }
        #expect("\(mistaken.map { "\($0)" } ?? "")".contains("'training.recompute' must be true or false"))
        let error = #expect(throws: TaskError.self) { try read("{optimizer: sgd}") }
        #expect("\(error.map { "\($0)" } ?? "")".contains("adamw, muon"))
        let short = try read("{micro_batch: 4, patience: 2}")
        #expect(short.microBatch == 4 && short.patience == 2)
        #expect(plain.microBatch == nil && plain.patience == nil)
        let none = #expect(throws: TaskError.self) { try read("{patience: 0}") }
        #expect("\(none.map { "\($0)" } ?? "")".contains("'training.patience' must be"))
    }

    @Test func precisionIsReadAndReachesTheTrainer() async throws {
        func weights(_ training: String) async throws -> Data {
            let folder = try folder("{epochs: 1, batch: 8, rate: 1e-2\(training)}")
            let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent())
                .run()
            return try Data(contentsOf: outcome.package.appendingPathComponent("model.safetensors"))
        }
        let exact = try await weights(", precision: fp32")
        let left = try await weights(", precision: auto")
        #expect(try await weights("") == left)
        #expect((left == exact) == (Precision.fastest == .float32))
        for precision in [Precision.bfloat16, .int16] {
            let training = ", precision: \(precision.rawValue)"
            if precision.isNative {
                let rounded = try await weights(training)
                #expect(rounded != exact && (rounded == left) == (Precision.fastest == precision))
            } else {
                let error = await #expect(throws: TaskError.self) { try await weights(training) }
                #expect("\(error.map { "\($0)" } ?? "")".contains("which this processor does not multiply"))
            }
        }
        let error = await #expect(throws: TaskError.self) { try await weights(", precision: fp8") }
        #expect("\(error.map { "\($0)" } ?? "")".contains("expected one of: fp32, bf16, int16"))
    }

    /// Micro-batches change the order of sums alone; patience ends a training that gets worse on validation rows, here
    /// rows that say the opposite.
    @Test func microBatchesAndPatienceReachTheTrainer() async throws {
        func run(_ training: String) async throws -> (weights: Data, updates: Int?) {
            let folder = try folder("{epochs: 10, batch: 8, rate: 3e-2\(training)}")
            let rows = ["red box", "red cup", "new hat", "old pen"].map {
                "{\"input\":\"\($0)\",\"output\":\"\($0.hasPrefix("red") ? "other" : "hot")\"}"
            }
            try folder.write(rows.joined(separator: "\n"), "opposite.jsonl")
            let file = folder.url.appendingPathComponent("task.yaml")
            let yaml = try String(contentsOf: file, encoding: .utf8)
            try folder.write(yaml.replacing("{train:", with: "{validation: opposite.jsonl, train:"), "task.yaml")
            let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent())
                .run()
            return (
                try Data(contentsOf: outcome.package.appendingPathComponent("model.safetensors")),
                try lines(folder).last?.step
            )
        }
        let whole = try await run("")
        let parts = try await run(", micro_batch: 3")
        #expect(whole.weights != parts.weights && whole.updates == parts.updates)
        let short = try #require(try await run(", patience: 1").updates)
        #expect(short < whole.updates ?? 0)
    }

    @Test func aRunLeavesItsMetrics() async throws {
        let folder = try folder("{epochs: 4, batch: 8, rate: 1e-3, optimizer: muon, schedule: wsd}")
        _ = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        let data = try Data(contentsOf: metrics(folder))
        let lines = try lines(folder)
        #expect(lines.count > 8)
        #expect(lines.map(\.step) == Array(1...lines.count))
        #expect(Set(lines.map(\.run)).count == 1)
        #expect(lines.allSatisfy { $0.experts != nil })
        // The rate stays at its peak and falls at the end.
        #expect(lines[lines.count / 2].rate == lines[1].rate)
        #expect((lines.last?.rate ?? 1) < 0.7 * lines[1].rate)
        // A second run does nothing.
        _ = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        #expect(try Data(contentsOf: metrics(folder)) == data)
    }
}
