import Distillation
import Foundation
import LanguageModels
import Tensors
import TestSupport
import Testing
import Training

/// Where a student's first weights come from.
@Suite(.serialized)
struct StudentStartTests {
    private func folder(_ student: String, training: String = "{epochs: 4, batch: 8, rate: 3e-3}") throws
        -> TemporaryFolder
    {
        try TinyTask.folder(student: student, training: training)
    }

    @Test func keysAreReadAndMistakesNamed() throws {
        func read(_ student: String) throws -> TaskDefinition.Student {
            let folder = try folder(student)
            return try TaskDefinition(folder: folder.url).student
        }
        let plain = try read("start: carve")
        #expect(plain.start == nil && plain.copies == nil && plain.width == nil && plain.steps == nil)
        #expect(try read("steps: 1").steps == nil)
        #expect(try read("start: upcycle, steps: 2").steps == 2)
        let upcycled = try read("start: upcycle, experts: {copies: 4}")
        #expect(upcycled.start == .upcycle && upcycled.copies == 4 && upcycled.routed == 12 && upcycled.active == 3)
        #expect(try read("start: scratch, width: 64").width == 64)
        for (student, message) in [
            ("start: grow", "carve, upcycle, scratch, package"), ("start: scratch, width: 16", "from 32"),
            ("start: package", "'student.package' is missing"),
            ("start: package, package: a, layers: 2", "whose shape stays"),
            ("start: package, package: a", "a: not a student package: there is no understudy.json in it"),
            ("package: a", "is for student.start package"),
            ("width: 64", "is for student.start scratch"),
            ("steps: 3", "1 to 2"), ("start: scratch, steps: 2", "is for student.start carve and upcycle"),
            ("experts: {copies: 2}", "is for student.start upcycle"),
            ("start: upcycle, experts: {routed: 7, copies: 2}", "must be a multiple"),
        ] {
            let error = #expect(throws: TaskError.self) { try read(student) }
            #expect("\(error.map { "\($0)" } ?? "")".contains(message))
        }
    }

    /// With each shard active once, the copies give what the dense layer gave.
    @Test func anUpcycledStudentBeginsAsItsBase() throws {
        let folder = try folder("start: upcycle, experts: {routed: 6, shared: 1, active: 3, copies: 2}")
        let task = try TaskDefinition(folder: folder.url)
        let source = try openModel(task.student.base)
        let dense = try DenseModel(source, layers: [0, 1], origins: nil)
        let compute = Compute(pool: WorkerPool(threadCount: 2))
        let carver = StudentCarver(dense: dense, student: task.student, seed: 1, compute: compute)
        let samples = (0..<4).map { first in
            TrainingSequence(
                tokens: (0..<12).map { Int32((first * 37 + $0 * 11) % 250) }, targets: [.only(7)], answers: [7])
        }
        let upcycled = try carver.carve(samples: samples)
        let configuration = try carver.configuration()
        #expect(configuration.experts?.routedCount == 6 && configuration.experts?.width == 32)
        #expect(configuration.experts?.sharedWidth == 32)
        func logits(_ c: ModelConfiguration, _ parameters: Parameters) -> [Float] {
            TrainableDecoder(c, parameters: parameters, contextLength: 32, compute: compute).rowLogits(
                TrainingBatch(samples))
        }
        let before = logits(dense.configuration, try dense.parameters(adapterRank: nil, trains: false, seed: 0))
        let after = logits(configuration, upcycled)
        let difference = zip(before, after).map { ($0 - $1) * ($0 - $1) }.reduce(0, +)
        let whole = before.map { $0 * $0 }.reduce(0, +)
        // The routers' logits differ by 0.05 at the start, so that a shard counts some hundredths more or less.
        #expect(difference < 2e-3 * whole, "\(difference) of \(whole)")
        #expect(difference > 0)
    }

    @Test(arguments: [
        ("start: upcycle, layers: 2, experts: {routed: 6, shared: 1, copies: 2}", 6, 32),
        ("prune: true, layers: 2", 7, 32),
        ("start: scratch, width: 64, layers: 1, experts: {routed: 3, shared: 1, active: 2}", 3, 64),
    ])
    func startsRunToTheEnd(student: String, experts: Int, width: Int) async throws {
        let folder = try folder(student)
        let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        let source = try openModel(outcome.package.path)
        #expect(source.configuration.experts?.routedCount == experts && source.configuration.width == width)
        let second = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        #expect(second.didNothing)
    }

    /// The model half-way has as many layers as lie between by ratio, is taught, and is what the student is carved out of.
    @Test func studentsAreCarvedInTwoSteps() async throws {
        let experts = "experts: {routed: 3, shared: 1, active: 2}"
        func run(_ folder: TemporaryFolder) async throws -> (TaskRun.Outcome, [String]) {
            let notes = Silent()
            let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: notes).run()
            return (outcome, notes.notes)
        }
        let folder = try TinyTask.folder(
            student: "steps: 2, layers: 2, \(experts)", training: "{epochs: 4, batch: 8, rate: 3e-3}", layers: 8)
        let (outcome, notes) = try await run(folder)
        let first = try #require(notes.first { $0.hasPrefix("carved in two steps: first layers ") })
        #expect(first.contains("0, 1, 2, 3 of tiny, taught in"), "\(first)")
        #expect(notes.contains { $0.contains("layers 0, 1 of tiny, half-way") }, "\(notes)")
        #expect(try openModel(outcome.package.path).configuration.layerCount == 2)
        #expect(try String(contentsOf: outcome.report, encoding: .utf8).contains("Carved in two steps: first layers"))
        #expect(try await run(folder).0.didNothing)
        let left = try FileManager.default.contentsOfDirectory(
            atPath: folder.url.appendingPathComponent(".understudy/checkpoints").path)
        #expect(left.isEmpty, "\(left)")

        let near = try TinyTask.folder(
            student: "steps: 2, layers: 2, \(experts)", training: "{epochs: 1, batch: 8, rate: 3e-3}", layers: 4)
        #expect(try await run(near).1.contains { $0.hasSuffix("carved in one step") })
    }

    /// A student that goes on from an earlier one begins with what that one knew, under the new data's tokens.
    @Test func anEarlierStudentIsGoneOnFrom() async throws {
        let folder = try folder("layers: 2, experts: {routed: 3, shared: 1, active: 2}")
        let first = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        let earlier = folder.url.appendingPathComponent("earlier")
        try FileManager.default.copyItem(at: first.package, to: earlier)
        let file = folder.url.appendingPathComponent("task.yaml")
        let text = try String(contentsOf: file, encoding: .utf8)
            .replacing(
                "layers: 2, experts: {routed: 3, shared: 1, active: 2}", with: "start: package, package: earlier"
            )
            .replacing(/training: .*/, with: "training: {epochs: 1, batch: 32, rate: 1e-7}")
        try folder.write(text, "task.yaml")
        let second = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        #expect(second.certificate.systems.student.value == first.certificate.systems.student.value)
        func tensor(_ package: URL, _ name: String) throws -> [Float] {
            try openModel(package.path).tensor(name).floats()
        }
        for name in ["model.embed_tokens.weight", "model.layers.1.mlp.experts.2.up_proj.weight"] {
            let before = try tensor(earlier, name)
            let after = try tensor(second.package, name)
            #expect(before.count == after.count && zip(before, after).allSatisfy { abs($0 - $1) < 1e-5 }, "\(name)")
        }

        // A label that was not there before.
        let rows = ["{\"input\":\"green pen\",\"output\":\"fresh\"}", "{\"input\":\"green cup\",\"output\":\"fresh\"}"]
        let gold = try String(contentsOf: folder.url.appendingPathComponent("gold.jsonl"), encoding: .utf8)
        try folder.write(([gold] + rows).joined(separator: "\n"), "gold.jsonl")
        let third = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        #expect(try StudentPackage(folder: third.package).format.labels == ["fresh", "hot", "other"])

        // A token that the model has no row for.
        let tokenizer = earlier.appendingPathComponent("tokenizer.json")
        var json = try #require(JSONSerialization.jsonObject(with: Data(contentsOf: tokenizer)) as? [String: Any])
        var added = try #require(json["added_tokens"] as? [[String: Any]])
        var token = try #require(added.last)
        token["id"] = try openModel(earlier.path).configuration.vocabularySize
        token["content"] = "→fresh"
        added.append(token)
        json["added_tokens"] = added
        try JSONSerialization.data(withJSONObject: json).write(to: tokenizer)
        let error = await #expect(throws: TaskError.self) {
            try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        }
        #expect(error?.message.hasPrefix("its tokenizer has") == true, "\(error.map { "\($0)" } ?? "")")

        try FileManager.default.removeItem(at: earlier)
        await #expect(throws: TaskError.self) {
            try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        }
    }

    @Test func unusedExpertsAreLeftOut() throws {
        var configuration = ModelConfiguration(
            family: .qwen2MoE, vocabularySize: 40, width: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
            headDimension: 8, feedForwardWidth: 64, contextLength: 64, attentionBias: true,
            experts: ExpertConfiguration(routedCount: 4, activeCount: 2, width: 16, sharedWidth: 16))
        // One expert of no use in the second layer, two in the first: one of each goes, the least used.
        let pruning = try #require(ExpertPruning(configuration, loads: [[0, 500, 3, 500], [300, 300, 400, 1]]))
        #expect(pruning.kept == [[1, 2, 3], [0, 1, 2]])
        #expect(ExpertPruning(configuration, loads: [[0, 0, 3, 500], [300, 300, 400, 100]]) == nil)
        configuration.experts?.activeCount = 4
        #expect(ExpertPruning(configuration, loads: [[0, 500, 3, 500], [300, 300, 400, 1]]) == nil)
        configuration.experts?.activeCount = 2

        let whole = Parameters(TrainableDecoder.specifications(configuration))
        var random = RandomNumbers(seed: 3)
        for entry in whole.entries {
            whole.set(
                entry.specification.name,
                (0..<entry.specification.count).map { _ in
                    entry.specification.name.hasSuffix("norm.weight") ? 1 : 0.1 * random.normal()
                })
        }
        // What goes is marked.
        for (layer, expert) in [(0, 0), (1, 3)] {
            let name = "model.layers.\(layer).mlp.experts.\(expert).down_proj.weight"
            whole.set(name, [Float](repeating: .nan, count: 32 * 16))
        }
        let pruned = pruning.weights(whole)
        #expect(pruned.values.values.allSatisfy { $0.isFinite })
        #expect(
            pruned.array("model.layers.0.mlp.experts.0.up_proj.weight")
                == whole.array("model.layers.0.mlp.experts.1.up_proj.weight"))
        #expect(
            pruned.array("model.layers.1.mlp.gate.weight")
                == Array(whole.array("model.layers.1.mlp.gate.weight").prefix(96)))
        #expect(
            pruned.array("model.layers.1.mlp.shared_expert.up_proj.weight")
                == whole.array("model.layers.1.mlp.shared_expert.up_proj.weight"))
        #expect(pruned.array("model.embed_tokens.weight") == whole.array("model.embed_tokens.weight"))
    }

    /// Balancing by a bias changes the student, the same way each time.
    @Test func aBiasBalances() async throws {
        let student = "layers: 1, experts: {routed: 3, shared: 1, active: 1}"
        func weights(_ router: String) async throws -> Data {
            let folder = try folder(student, training: "{epochs: 8, batch: 8, rate: 3e-3\(router)}")
            let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent())
                .run()
            return try Data(contentsOf: outcome.package.appendingPathComponent("model.safetensors"))
        }
        let plain = try await weights("")
        let biased = try await weights(", router: bias")
        #expect(plain != biased)
        #expect(try await weights(", router: loss") == plain)
        #expect(try await weights(", router: bias") == biased)
    }
}
