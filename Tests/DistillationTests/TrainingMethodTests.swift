import Distillation
import Foundation
import TestSupport
import Testing
import Training

/// What `training` in a task's file can ask for beyond how long and how fast.
@Suite(.serialized)
struct TrainingMethodTests {
    private func folder(
        _ kind: String, training: String, teacher: Bool = true, student: String = "layers: 1"
    ) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        let base = folder.url.appendingPathComponent("tiny.gguf").path
        try TinyModel.write(to: base)
        let words = ["red", "blue", "tall", "small", "old", "new", "warm", "cold"]
        let inputs = words.flatMap { first in words.map { "\(first) \($0)" } }
        let line = { (input: String) in
            let output = kind == "label" ? (input.hasPrefix("red") ? "hot" : "other") : String(input.prefix(6))
            return "{\"input\":\"\(input)\",\"output\":\"\(output)\"}"
        }
        try folder.write(inputs.prefix(32).map(line).joined(separator: "\n"), "gold.jsonl")
        try folder.write(inputs.dropFirst(32).prefix(8).map(line).joined(separator: "\n"), "test.jsonl")
        try folder.write(inputs.dropFirst(40).map { "{\"input\":\"\($0)\"}" }.joined(separator: "\n"), "inputs.jsonl")
        try folder.write(
            """
            name: tiny
            output: {kind: \(kind)}
            data: {inputs: inputs.jsonl, gold: {train: gold.jsonl, test: test.jsonl}}
            \(teacher ? "teacher: {model: \(base), adapt: {epochs: 1, rank: 4, members: 1}}" : "")
            student: {base: \(base), \(student), experts: {routed: 3, shared: 1, active: 2}}
            training: \(training)
            """, "task.yaml")
        return folder
    }

    private func error(_ training: String, kind: String = "label", teacher: Bool = true) throws -> String {
        let folder = try folder(kind, training: training, teacher: teacher)
        let error = #expect(throws: TaskError.self) { try TaskDefinition(folder: folder.url) }
        return error.map { "\($0)" } ?? ""
    }

    @Test func keysAreRead() throws {
        let folder = try folder(
            "label",
            training:
                "{rate: auto, loss: {kind: jsd, beta: 0.3, temperature: 2, weight: 0.7}, balance: true, label_smoothing: 0.1, averaging: uniform}"
        )
        let training = try TaskDefinition(folder: folder.url).training
        #expect(training.findsRate == true && training.rate == 6e-4)
        let loss = try #require(training.loss)
        #expect(loss.kind.rawValue == "jsd" && loss.beta == 0.3 && loss.temperature == 2 && loss.weight == 0.7)
        #expect(training.balances == true && training.labelSmoothing == 0.1 && training.averaging == .uniform)
        let other = try self.folder("label", training: "{balance: false}")
        let plain = try TaskDefinition(folder: other.url).training
        #expect(plain.findsRate == nil && plain.loss == nil && plain.balances == nil && plain.averaging == nil)
    }

    /// Hidden states are matched from label tasks to texts, whose rows change in every pass, and change the student.
    @Test(arguments: ["label", "text"])
    func hiddenStatesOfTheTeacherAreMatched(kind: String) async throws {
        var students: [Data] = []
        for hidden in ["", "", ", hidden: 0.5"] {
            let folder = try folder(kind, training: "{epochs: 2, batch: 8\(hidden)}")
            _ = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
            students.append(try Data(contentsOf: folder.file("student/model.safetensors")))
        }
        #expect(students[0] == students[1] && students[1] != students[2])
        #expect(
            try error("{hidden: 0.5}", teacher: false).contains("'training.hidden' needs a teacher that is adapted"))
        let folder = try folder(kind, training: "{hidden: 0}", teacher: false)
        #expect(try TaskDefinition(folder: folder.url).training.hidden == nil)
        #expect(try error("{hidden: -1}").contains("'training.hidden'"))
    }

    @Test func mistakesAreNamed() throws {
        #expect(try error("{loss: {kind: kl}}").contains("cross_entropy, forward_kl, reverse_kl, jsd"))
        #expect(try error("{loss: {temperature: 2}}").contains("'training.loss.kind' is missing"))
        #expect(try error("{loss: {kind: reverse_kl, beta: 0.5}}").contains("is for kind jsd"))
        #expect(try error("{loss: {kind: jsd, beta: 1}}").contains("0.01 to 0.99"))
        #expect(try error("{balance: yes}").contains("must be true or false"))
        #expect(try error("{balance: true}", kind: "text").contains("is for kind label"))
        #expect(try error("{rate: fast}").contains("must be a number"))
        #expect(try error("{label_smoothing: 1}").contains("0 to 0.9"))
        #expect(try error("{on_policy: {share: 0.5}}").contains("is for kind text, json or tool"))
        #expect(try error("{preference: {method: ppo}}", kind: "text").contains("dpo, rejection"))
        #expect(try error("{preference: {}}", kind: "text", teacher: false).contains("needs a teacher that is adapted"))
        #expect(try error("{on_policy: {share: 0}}", kind: "text").contains("0.01 to 1"))
    }

    /// The weights of the student differ from those of a plain run, and are the same in a second one.
    @Test(arguments: [
        ("label", "loss: {kind: jsd}"), ("label", "balance: true"),
        ("text", "loss: {kind: reverse_kl, temperature: 2}"),
        ("text", "averaging: uniform, label_smoothing: 0.1"), ("label", "rate: auto"),
    ])
    func methodsReachTheStudent(kind: String, method: String) async throws {
        func weights(_ training: String) async throws -> (Data, [String]) {
            let notes = Silent()
            let folder = try folder(kind, training: training)
            let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: notes).run()
            return (try Data(contentsOf: outcome.package.appendingPathComponent("model.safetensors")), notes.notes)
        }
        let plain = try await weights("{epochs: 2, batch: 8}")
        let own = try await weights("{epochs: 2, batch: 8, \(method)}")
        #expect(plain.0 != own.0)
        #expect(try await weights("{epochs: 2, batch: 8, \(method)}").0 == own.0)
        #expect(own.1.contains { $0.hasPrefix("learning rate") } == (method == "rate: auto"))
    }

    /// Phases after the training change the student, the same way each time, and are told of.
    @Test(arguments: [
        ("on_policy: {updates: 6, every: 2, rate: 1e-3}", "on-policy"),
        ("preference: {candidates: 4, inputs: 12, margin: 0, rate: 1e-3}", "pairs learnt from"),
        ("preference: {method: rejection, candidates: 3, inputs: 12, rate: 1e-3}", "(rejection)"),
    ])
    func phasesReachTheStudent(phase: String, says: String) async throws {
        let training = "epochs: 12, batch: 8, rate: 3e-3"
        func run(_ folder: TemporaryFolder) async throws -> (weights: Data, notes: Silent) {
            let notes = Silent()
            let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: notes).run()
            return (try Data(contentsOf: outcome.package.appendingPathComponent("model.safetensors")), notes)
        }
        let first = try folder("text", training: "{\(training), \(phase)}")
        let own = try await run(first)
        #expect(own.notes.notes.contains { $0.contains(says) }, "\(own.notes.notes)")
        let page = try String(contentsOf: first.url.appendingPathComponent("student/report.html"), encoding: .utf8)
        #expect(page.contains(says))
        let left = try FileManager.default.contentsOfDirectory(
            atPath: first.url.appendingPathComponent(".understudy/checkpoints").path)
        #expect(left.isEmpty, "\(left)")
        let lines = try String(
            contentsOf: first.url.appendingPathComponent(".understudy/metrics.jsonl"), encoding: .utf8
        ).split(separator: "\n")
        #expect(Set(lines.map { $0.split(separator: "\"run\":")[1].prefix(14) }).count == 2)

        let plain = try await run(folder("text", training: "{\(training)}"))
        #expect(plain.weights != own.weights)
        let again = try await run(folder("text", training: "{\(training), \(phase)}"))
        #expect(again.weights == own.weights)
    }

    @Test func rareLabelsCountMore() {
        let labels = [String](repeating: "usual", count: 900) + [String](repeating: "rare", count: 9)
        let weights = LabelBalance.weights(labels)
        // (1 - 0.999⁹⁰⁰) / (1 - 0.999⁹) = 0.5936 / 0.008964
        #expect(abs(weights[900] / weights[0] - 66.2) < 0.2)
        #expect(abs(weights.reduce(0, +) / 909 - 1) < 1e-5)
        #expect(LabelBalance.weights(["a", "b"]) == [1, 1])
    }
}
