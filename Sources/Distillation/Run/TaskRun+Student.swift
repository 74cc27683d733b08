internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Tokenizers
internal import Training

extension TaskRun {
    /// A trained student's files.
    struct Trained: Codable {
        var files: [FileReference]
        var folder: String
        var record: TrainingRecord
        var parameters: Int
        var activeParameters: Int
        var epochs: Double
    }

    func train(
        base: any WeightSource, baseKey: ContentKey, vocabulary: StudentVocabulary, adapted: Adapted?, labels: Labels?
    ) async throws -> Trained {
        let key = try key("train") {
            $0.add("base", baseKey)
            if let adapted { $0.add("adapted", adapted.file) }
            if let labels { $0.add("labels", labels.key) }
            $0.add("data", data.trainKey)
            $0.add("inputs", data.inputs)
            try $0.add("student", encoding: task.student)
            // Computing activations again changes nothing.
            var training = task.training
            training.recompute = nil
            try $0.add("training", encoding: training)
            $0.add("minutes", options.minutes ?? 0)
        }
        let summary = { (trained: Trained) in
            "\(trained.record.steps) updates, \(Format.count(trained.record.tokens)) tokens in \(Format.duration(trained.record.seconds)); \(Format.count(trained.activeParameters)) of \(Format.count(trained.parameters)) parameters active"
        }
        return try await stage("train", "train the student", key: key, summary: summary) {
            observer.stageAdvanced(0, detail: "carving")
            let seed = UInt64(task.training.seed)
            let material = try await TrainingData(
                data, vocabulary: vocabulary,
                answers: (labels?.rows ?? []).map { .init(input: $0.input, answer: $0.answer) },
                sharesTokens: adapted != nil
            ) { question in
                try await workspace.stage("votes", key: key) {
                    VotedLabels(question, train: data.train, seed: seed)
                }
            }
            for note in material.notes { observer.note(note) }
            let source: any WeightSource =
                if let adapted { try GGUFModel(path: workspace.url(of: adapted.file).path) } else { base }
            let training = try StudentTraining(
                task, data: data, material: material, vocabulary: vocabulary, source: source,
                origins: adapted == nil ? vocabulary.origins : nil, compute: compute)
            let plan = try await workspace.stage("plan", key: key) { try training.plan() }
            observer.note("layers \(plan.layers.map(String.init).joined(separator: ", ")) of \(source.name)")
            let configuration = try training.configuration(plan)
            let checkpoint = try file("checkpoints", key.hexadecimal + ".bin")
            let weights = Parameters(TrainableDecoder.specifications(configuration))
            var isCarved = false
            func carve() throws {
                if !isCarved { weights.set(try training.start(plan)) }
                isCarved = true
            }
            let limit = options.minutes.map { $0 * 60 * 0.5 } ?? TrainingPlan.minutes(task.training).map { $0 * 60 }
            let pace = try await workspace.stage("pace", key: key) {
                try carve()
                return try Pace.measure(wanted: plan.epochs, seconds: limit) {
                    try training.trainer(
                        configuration, parameters: weights.copy(), epochs: plan.epochs, group: options.group)
                }
            }
            let trainer = try training.trainer(
                configuration, parameters: weights, epochs: pace.epochs, checkpoint: checkpoint, key: key.hexadecimal,
                observer: TrainingProgress(observer), group: options.group)
            // Where there is a checkpoint, nothing is carved only to be written over.
            if !trainer.hasCheckpoint { try carve() }
            _ = try trainer.run()
            let folder = try file("students", key.hexadecimal)
            let contents = ModelContents(
                configuration: configuration, tokenizer: vocabulary.tokenizer.definition,
                chatTemplate: StudentPackage.chatTemplate(vocabulary.format), name: "\(task.name) student",
                values: { weights.array($0) })
            try StudentPackage.write(contents, format: vocabulary.format, name: task.name, to: folder)
            try? FileManager.default.removeItem(at: checkpoint)
            let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
                .sorted { $0.path < $1.path }
            return Trained(
                files: try files.map { try workspace.reference(to: $0) }, folder: key.hexadecimal,
                record: trainer.record, parameters: configuration.parameterCount,
                activeParameters: configuration.activeParameterCount, epochs: pace.epochs)
        }
    }

    func studentEvaluation(_ trained: Trained) async throws -> SystemRun {
        let key = key("student") {
            for (index, file) in trained.files.enumerated() { $0.add("file \(index)", file) }
            $0.add("test", data.testKey)
        }
        return try await stage("student", "student", key: key, summary: quality) {
            let package = try StudentPackage(folder: try file("students", trained.folder))
            var run = try measure(try package.model(pool: pool), name: "student", singles: 200)
            // The routers' unused experts are weights, too, but not active ones.
            run.activeParameters = trained.activeParameters
            return run
        }
    }
}
