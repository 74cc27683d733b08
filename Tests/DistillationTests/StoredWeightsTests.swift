import Distillation
import Foundation
import LanguageModels
import Tensors
import TestSupport
import Testing
import Training

/// Adapters beside weights that stay in the blocks of their file.
@Suite struct StoredWeightsTests {
    private static let rank = 4

    private static let data = (0..<24).map { (first: Int) -> TrainingSequence in
        let tokens = (0..<10).map { (place: Int) -> Int32 in Int32((first * 37 + place * 11) % 250) }
        let answer = Int32(first % 3)
        return TrainingSequence(tokens: tokens, targets: [.only(answer)], answers: [answer])
    }

    /// Trains adapters; gives the trained values, the loss of each update and every matrix with its adapter added.
    private func train(_ type: ElementType, stays: Bool, recompute: Bool = false, threads: Int = 2) throws -> (
        values: [Float], losses: [Double], merged: [[Float]]
    ) {
        let folder = try TemporaryFolder()
        let path = folder.url.appendingPathComponent("tiny.gguf").path
        try TinyModel.write(to: path, type: type)
        let dense = try DenseModel(openModel(path), layers: [0, 1], origins: nil)
        let parameters = try dense.parameters(adapterRank: Self.rank, staysStored: stays, seed: 7)
        let model = TrainableDecoder(
            dense.configuration, parameters: parameters, stored: stays ? try dense.stored() : nil, contextLength: 16,
            compute: Compute(pool: WorkerPool(threadCount: threads)))
        var options = TrainingOptions()
        options.batch = 8
        options.rate = 1e-2
        options.recompute = recompute
        let trainer = try Trainer(
            model: model, data: Self.data, validation: Array(Self.data.prefix(4)), options: options)
        _ = try trainer.run()
        let values = Array(parameters.values.values.prefix(parameters.trainedCount))
        if !stays { parameters.mergeAdapters(dense.configuration, scale: 2, compute: model.compute) }
        let names = dense.configuration.tensors.filter { $0.shape.count > 1 && $0.name.contains(".layers.") }
            .map { $0.name }
        // In another order than that of the layers.
        let merged = names.reversed().map { (name: String) -> [Float] in
            model.merged(name) ?? parameters.array(name)
        }
        return (values, trainer.record.points.map { $0.loss }, merged)
    }

    @Test(arguments: [(ElementType.q8_0, false), (.q4_1, true), (.f16, false)])
    func theyLearnWhatTheyLearnBesideUnpackedOnes(_ type: ElementType, recompute: Bool) throws {
        let plain = try train(type, stays: false, recompute: recompute)
        let stored = try train(type, stays: true, recompute: recompute, threads: 3)
        #expect(plain.losses.count == 9 && plain.losses.last! < plain.losses[0])
        #expect(stored.losses == plain.losses)
        #expect(stored.values == plain.values)
        #expect(stored.merged == plain.merged && plain.merged.count == 14)
    }

    @Test func aTaskMayAskForIt() async throws {
        let folder = try TinyTask.folder(student: "layers: 1", training: "{epochs: 1, batch: 8}")
        let file = folder.file("task.yaml")
        let yaml = try String(contentsOf: file, encoding: .utf8)
        func run(_ method: String) async throws -> (quality: Double?, file: Data) {
            let base = folder.file("tiny.gguf").path
            let teacher = "teacher: {model: \(base), adapt: {method: \(method), epochs: 1, rank: 4, members: 1}}\n"
            try (yaml + "\n" + teacher).write(to: file, atomically: true, encoding: .utf8)
            try? FileManager.default.removeItem(at: folder.file(".understudy"))
            let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent())
                .run()
            let teachers = folder.file(".understudy/teachers")
            let names = try FileManager.default.contentsOfDirectory(atPath: teachers.path)
            return (
                outcome.certificate.systems.adaptedTeacher?.value,
                try Data(contentsOf: teachers.appendingPathComponent(try #require(names.first)))
            )
        }
        let (plain, stored) = (try await run("lora"), try await run("qlora"))
        #expect(plain.quality != nil && plain.quality == stored.quality)
        #expect(plain.file == stored.file && !plain.file.isEmpty)
        let error = await #expect(throws: TaskError.self) { try await run("dora") }
        #expect("\(error.map { "\($0)" } ?? "")".contains("lora, qlora"))
    }
}
