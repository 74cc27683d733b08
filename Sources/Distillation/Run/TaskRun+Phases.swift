internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Training

/// What the training of a student may be followed by: phases that start from its weights. Each one's weights are kept until
/// the stage is through, so that a run that was killed goes on in the phase it was in.
extension TaskRun {
    /// What a phase came to.
    struct Phase: Codable {
        var record: TrainingRecord
        var weights: FileReference
        /// A sentence without its full stop.
        var note: String
    }

    /// Everything that the phases of one training share.
    struct Phases {
        let training: StudentTraining
        let configuration: ModelConfiguration
        let weights: Parameters
        let vocabulary: StudentVocabulary
        /// The adapted teacher's file.
        let teacher: String?
        let key: ContentKey
        /// Of the training before.
        let updates: Int
    }

    var hasPhases: Bool { task.training.onPolicy != nil || task.training.preference != nil }

    /// Runs a phase, or takes the weights it ended with.
    func phase(
        _ name: String, key: ContentKey, weights: Parameters,
        run: (_ checkpoint: URL, _ key: String) async throws -> (record: TrainingRecord, note: String)
    ) async throws -> Phase {
        let phase = try await workspace.stage(name, key: key) {
            let own = ContentKey.of {
                $0.add("phase", name)
                $0.add("of", key)
            }.hexadecimal
            let checkpoint = try file("checkpoints", own + ".bin")
            let (record, note) = try await run(checkpoint, own)
            let path = try phaseFile(name, key)
            try weights.write(to: path)
            try? FileManager.default.removeItem(at: checkpoint)
            return Phase(record: record, weights: try workspace.reference(to: path), note: note)
        }
        try weights.read(from: workspace.url(of: phase.weights))
        return phase
    }

    private func phaseFile(_ name: String, _ key: ContentKey) throws -> URL {
        try file("checkpoints", "\(key.hexadecimal).\(name).weights")
    }

    /// Removes what only an unfinished stage needs.
    func forgetPhases(_ key: ContentKey) throws {
        for name in ["supervised", "on_policy", "preference"] {
            try? FileManager.default.removeItem(at: phaseFile(name, key))
        }
        try? FileManager.default.removeItem(at: halfwayFile(key))
    }

    /// The phases after the supervised one, in their order.
    func furtherPhases(_ phases: Phases) async throws -> [Phase] {
        var result: [Phase] = []
        if let options = task.training.onPolicy {
            result.append(
                try await phase("on_policy", key: phases.key, weights: phases.weights) { checkpoint, key in
                    try onPolicy(options, phases, checkpoint: checkpoint, key: key)
                })
        }
        if let options = task.training.preference {
            result.append(
                try await phase("preference", key: phases.key, weights: phases.weights) { checkpoint, key in
                    try await preference(options, phases, checkpoint: checkpoint, key: key)
                })
        }
        for phase in result { observer.note(phase.note) }
        return result
    }

    private func scorer(_ phases: Phases) throws -> TeacherScorer {
        guard let teacher = phases.teacher else {
            throw TaskError("the student's teacher is not one that can judge its answers")
        }
        return try TeacherScorer(path: teacher, format: phases.vocabulary.format, pool: pool)
    }

    private func sampler(_ phases: Phases) throws -> StudentSampler {
        let path = try file("checkpoints", phases.key.hexadecimal + ".snapshot.gguf")
        defer { try? FileManager.default.removeItem(at: path) }
        return try StudentSampler(
            phases.weights, configuration: phases.configuration, vocabulary: phases.vocabulary, file: path, pool: pool)
    }

    private func onPolicy(
        _ options: TaskDefinition.OnPolicy, _ phases: Phases, checkpoint: URL, key: String
    ) throws -> (record: TrainingRecord, note: String) {
        let training = phases.training
        let rows = OnPolicyRows(
            options, material: training.material, vocabulary: phases.vocabulary, teacher: try scorer(phases),
            seed: UInt64(task.training.seed), file: checkpoint.appendingPathExtension("answers"), key: key
        ) { try self.sampler(phases) }
        var own = training.options
        own.rate = Float(options.rate ?? training.rate / 3)
        own.divergence = Divergence(.jensenShannon, beta: options.beta)
        own.patience = 0
        // Checkpoints are written where a round ends.
        own.checkpointInterval = options.every
        let trainer = try training.phaseTrainer(
            phases.configuration, phases.weights, options: own, data: training.rows,
            updates: options.updates ?? max(1, phases.updates / 4),
            variant: { index, epoch in
                rows[Trainer.Place(index: index, epoch: epoch)] ?? training.variant?(index, epoch)
                    ?? training.rows[index]
            },
            rounds: .init(updates: options.every, prepare: rows.prepare), checkpoint: checkpoint, key: key,
            observer: TrainingProgress(observer))
        _ = try trainer.run()
        rows.forget()
        return (
            trainer.record,
            "\(trainer.record.steps) updates of on-policy distillation, \(Format.percent(options.share, digits: 0)) of the rows answered by the student\(validations(trainer.record))"
        )
    }

    private func preference(
        _ options: TaskDefinition.Preference, _ phases: Phases, checkpoint: URL, key: String
    ) async throws -> (record: TrainingRecord, note: String) {
        let training = phases.training
        let preferences = try await workspace.stage("preferences", key: phases.key) {
            observer.stageAdvanced(0, detail: "drawing and judging answers")
            return try Preferences(
                options, data: data, material: training.material,
                writer: TrainingRows(vocabulary: phases.vocabulary, loss: task.training.loss),
                sampler: try sampler(phases), teacher: try scorer(phases),
                reference: training.decoder(phases.configuration, phases.weights),
                contextLength: training.contextLength, seed: UInt64(task.training.seed))
        }
        let judged = "\(preferences.candidates) different answers of the student to \(preferences.inputs) inputs judged"
        guard !preferences.rows.isEmpty else { return (TrainingRecord(), judged + ", none of use") }
        var own = training.options
        own.rate = Float(options.rate ?? (options.method == .dpo ? 1e-5 : training.rate / 3))
        own.patience = 0
        let learnt: [TrainingSequence]
        switch options.method {
        case .dpo:
            own.microBatch = 0
            own.preference = options.beta
            own.batch = min(own.batch, 16)
            own.labelSmoothing = 0
            learnt = preferences.rows
        case .rejection:
            learnt = training.rows + preferences.rows
        }
        let trainer = try training.phaseTrainer(
            phases.configuration, phases.weights, options: own, data: learnt,
            updates: max(1, Int((Double(learnt.count) * options.epochs / Double(own.batch)).rounded(.up))),
            variant: options.method == .dpo
                ? nil
                : { index, epoch in
                    index < training.rows.count
                        ? training.variant?(index, epoch) ?? training.rows[index] : learnt[index]
                },
            rounds: nil, checkpoint: checkpoint, key: key, observer: TrainingProgress(observer))
        _ = try trainer.run()
        let what = options.method == .dpo ? "pairs" : "rows"
        return (
            trainer.record,
            judged
                + ", \(preferences.rows.count) \(what) learnt from in \(trainer.record.steps) updates (\(options.method.rawValue))\(validations(trainer.record))"
        )
    }

    /// The validation at the end of a phase.
    private func validations(_ record: TrainingRecord) -> String {
        record.validations.last.map {
            String(format: "; then %.1f %% of the validation rows are right", $0.exact * 100)
        } ?? ""
    }
}
