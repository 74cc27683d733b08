internal import Foundation
internal import Inference
internal import LanguageModels
internal import Training

/// A local teacher that is fitted to the gold: its making, its own quality, its answers to the inputs.
extension TaskRun {
    /// An adapted teacher's file.
    struct Adapted: Codable {
        var file: FileReference
        var record: TrainingRecord
        var epochs: Double
    }

    /// Fits the teacher to the gold, once for each member.
    func adapt(
        _ teacher: String, vocabulary: StudentVocabulary, _ adaptation: TaskDefinition.Adaptation
    ) async throws -> [Adapted] {
        let count = members(adaptation)
        var result: [Adapted] = []
        for member in 0..<count {
            let title = count == 1 ? "adapt the teacher" : "adapt the teacher, \(member + 1) of \(count)"
            result.append(try await adapt(teacher, title, vocabulary: vocabulary, adaptation, member: member))
        }
        return result
    }

    private func adapt(
        _ teacher: String, _ title: String, vocabulary: StudentVocabulary, _ adaptation: TaskDefinition.Adaptation,
        member: Int
    ) async throws -> Adapted {
        let seed = UInt64(task.training.seed + member)
        let key = try key("adapt") {
            $0.add("model", try modelKey(teacher))
            $0.add("train", data.trainKey)
            $0.add("inputs", data.inputs)
            // One member's file does not depend on how many there are.
            try $0.add(
                "adaptation",
                encoding: TaskDefinition.Adaptation(
                    epochs: adaptation.epochs, rank: adaptation.rank, rate: adaptation.rate))
            $0.add("seed", Int(seed))
            $0.add("minutes", options.minutes ?? 0)
        }
        return try await stage(
            "adapt", title, key: key,
            summary: { "\($0.record.steps) updates, \(Format.duration($0.record.seconds))" }
        ) {
            let dense = try DenseModel(
                try openModel(try store.resolve(teacher)),
                layers: Array(0..<(try openModel(try store.resolve(teacher)).configuration.layerCount)),
                origins: vocabulary.origins)
            let adapter = TeacherAdapter(
                vocabulary: vocabulary, adaptation: adaptation, seed: seed,
                recompute: task.training.recompute ?? false, compute: compute)
            func trainer(_ epochs: Double, checkpoint: URL?, observer: (any TrainingObserver)?) throws -> (
                trainer: Trainer, parameters: Parameters
            ) {
                try adapter.trainer(
                    dense, examples: data.train, validation: Array(data.validation.prefix(32)), epochs: epochs,
                    checkpoint: checkpoint, key: key.hexadecimal, observer: observer, group: options.group)
            }
            let pace = try await workspace.stage("pace", key: key) {
                try Pace.measure(
                    wanted: adaptation.epochs,
                    seconds: options.minutes.map { $0 * 60 * 0.3 / Double(members(adaptation)) }, least: 1
                ) {
                    try trainer(adaptation.epochs, checkpoint: nil, observer: nil).trainer
                }
            }
            let checkpoint = try file("checkpoints", key.hexadecimal + ".bin")
            let (trainer, parameters) = try trainer(
                pace.epochs, checkpoint: checkpoint, observer: TrainingProgress(observer))
            _ = try trainer.run()
            let path = try file("teachers", key.hexadecimal + ".gguf")
            try adapter.write(parameters, dense: dense, name: "\(teacher), adapted to \(task.name)", to: path.path)
            try? FileManager.default.removeItem(at: checkpoint)
            return Adapted(file: try workspace.reference(to: path), record: trainer.record, epochs: pace.epochs)
        }
    }

    private func ensemble(_ adapted: [Adapted], vocabulary: StudentVocabulary) throws -> TeacherEnsemble {
        let format = vocabulary.format
        return TeacherEnsemble(
            try adapted.map { member in
                let model = try LanguageModel(
                    contentsOf: workspace.url(of: member.file).path,
                    contextLength: format.maximumInputTokens + format.maximumAnswerTokens + 8, pool: pool)
                return try TaskModel(model: model, format: format, pool: pool)
            })
    }

    func adaptedEvaluation(_ adapted: [Adapted], vocabulary: StudentVocabulary) async throws -> SystemRun {
        let key = key("adapted") {
            for member in adapted { $0.add("model", member.file) }
            $0.add("test", data.testKey)
        }
        return try await stage("adapted", "adapted teacher", key: key, summary: quality) {
            let teacher = try ensemble(adapted, vocabulary: vocabulary)
            let name = "\(task.teacher ?? "") adapted" + (adapted.count == 1 ? "" : ", \(adapted.count) together")
            return try SystemRun.measure(
                name, inputs: data.test.map(\.input), singles: 40, parameters: teacher.parameters,
                activeParameters: teacher.activeParameters, bytes: teacher.bytes, progress: advance
            ) { try teacher.answer($0, progress: $1) }
        }
    }

    func label(
        _ adapted: [Adapted], vocabulary: StudentVocabulary, evaluation: SystemRun
    ) async throws -> Labels {
        var inputs = data.inputs
        if let minutes = options.minutes {
            // As many as fit a tenth of the time at the speed of the evaluation.
            let perSecond = Double(evaluation.answers.count) / max(evaluation.seconds, 1e-3)
            let fit = Int(minutes * 60 * 0.15 * perSecond) - data.train.count
            inputs = Array(inputs.prefix(max(200, fit)))
        }
        let all = data.train.map(\.input) + inputs + data.validation.map(\.input)
        let key = key("label") {
            for member in adapted { $0.add("model", member.file) }
            $0.add("inputs", all)
        }
        return try await label(all, key: key) {
            let teacher = try ensemble(adapted, vocabulary: vocabulary)
            return { try teacher.answer($0, alternatives: max(24, min(256, self.data.labels.count))) }
        }
    }

    /// How many teachers are fitted: few examples leave a fit to chance, which several even out.
    func members(_ adaptation: TaskDefinition.Adaptation) -> Int {
        adaptation.members ?? (task.kind == .label && data.train.count <= 2000 ? 3 : 1)
    }
}
