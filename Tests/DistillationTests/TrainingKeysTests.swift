import Distillation
import Foundation
import Testing
import Training

/// What a task says about training, and what a run leaves for those who want to follow it.
struct TrainingKeysTests {
    private final class Quiet: RunObserver {
        func stageBegan(_ stage: String, number: Int, of count: Int) {}
        func stageAdvanced(_ fraction: Double, detail: String) {}
        func stageEnded(_ summary: String, reused: Bool) {}
        func note(_ text: String) {}
    }

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
        let folder = try TemporaryFolder()
        let base = folder.url.appendingPathComponent("tiny.gguf").path
        try TinyModel.write(to: base)
        let rows = ["red", "blue", "tall", "small", "old", "new", "warm", "cold"].flatMap { word in
            ["box", "cup", "car", "hat", "pen"].map {
                "{\"input\":\"\(word) \($0)\",\"output\":\"\(word == "red" ? "hot" : "other")\"}"
            }
        }
        try folder.write(rows.prefix(32).joined(separator: "\n"), "gold.jsonl")
        try folder.write(rows.dropFirst(32).joined(separator: "\n"), "test.jsonl")
        try folder.write(
            """
            name: tiny
            output: {kind: label}
            data: {gold: {train: gold.jsonl, test: test.jsonl}}
            student: {base: \(base), layers: 1, experts: {routed: 3, shared: 1, active: 2}}
            training: \(training)
            """, "task.yaml")
        return folder
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
    }

    @Test func aRunLeavesItsMetrics() async throws {
        let folder = try folder("{epochs: 4, batch: 8, rate: 1e-3, optimizer: muon, schedule: wsd}")
        _ = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet()).run()
        let file = folder.url.appendingPathComponent(".understudy/metrics.jsonl")
        let data = try Data(contentsOf: file)
        let lines = try data.split(separator: UInt8(ascii: "\n")).map {
            try JSONDecoder().decode(Line.self, from: $0)
        }
        #expect(lines.count > 8)
        #expect(lines.map(\.step) == Array(1...lines.count))
        #expect(Set(lines.map(\.run)).count == 1)
        #expect(lines.allSatisfy { $0.experts != nil })
        // The rate stays at its peak and falls at the end.
        #expect(lines[lines.count / 2].rate == lines[1].rate)
        #expect((lines.last?.rate ?? 1) < 0.7 * lines[1].rate)
        // A second run does nothing.
        _ = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet()).run()
        #expect(try Data(contentsOf: file) == data)
    }
}
