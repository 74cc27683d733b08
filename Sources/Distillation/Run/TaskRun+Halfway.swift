internal import Foundation
internal import LanguageModels
internal import Tokenizers
internal import Training

/// A student that is carved in two steps: out of a dense model between it and its source, which is taught first
/// (carve, distil, carve; Muralidharan et al., arXiv 2407.14679, prune and retrain in turn like this).
extension TaskRun {
    /// The model half-way.
    struct Halfway: Codable {
        var file: FileReference
        var record: TrainingRecord
        var note: String
    }

    /// The part of the training's passes or time that the model half-way gets.
    static let halfwayShare = 0.3

    /// - Parameters:
    ///   - seconds: for all of the training; nil: no limit.
    ///   - key: of the student's training.
    /// - Returns: nil where the student is carved in one step.
    func halfway(
        _ training: StudentTraining, vocabulary: StudentVocabulary, seconds: Double?, key: ContentKey
    ) async throws -> Halfway? {
        guard task.student.steps == 2 else { return nil }
        guard let plan = try await workspace.stage("halfway_plan", key: key, produce: { try training.halfwayPlan() })
        else {
            observer.note("no more than half of the layers go: the student is carved in one step")
            return nil
        }
        let halfway = try await workspace.stage("halfway", key: key) {
            let own = ContentKey.of {
                $0.add("halfway", key)
            }.hexadecimal
            let checkpoint = try file("checkpoints", own + ".bin")
            let dense = try training.dense(plan)
            let weights = try dense.parameters(adapterRank: nil, seed: UInt64(task.training.seed))
            let wanted = plan.epochs * Self.halfwayShare
            var training = training
            let pace = try await workspace.stage("halfway_pace", key: key) {
                try Pace.measure(wanted: wanted, seconds: seconds.map { $0 * Self.halfwayShare }) {
                    try training.trainer(
                        dense.configuration, parameters: weights.copy(), epochs: wanted,
                        group: training.group(options.group))
                }
            }
            training.adjustBatch(epochs: pace.epochs)
            let trainer = try training.trainer(
                dense.configuration, parameters: weights, epochs: pace.epochs, checkpoint: checkpoint, key: own,
                observer: TrainingProgress(observer), group: training.group(options.group))
            _ = try trainer.run()
            let path = try halfwayFile(key)
            let contents = ModelContents(
                configuration: dense.configuration, tokenizer: vocabulary.tokenizer.definition, chatTemplate: nil,
                name: "\(task.name), half-way", values: { weights.array($0) })
            try GGUFModelWriter.write(contents, type: .f32, to: path.path)
            try? FileManager.default.removeItem(at: checkpoint)
            return Halfway(
                file: try workspace.reference(to: path), record: trainer.record,
                note:
                    "carved in two steps: first \(training.description(plan)), taught in \(trainer.record.steps) updates"
            )
        }
        observer.note(halfway.note)
        return halfway
    }

    func halfwayFile(_ key: ContentKey) throws -> URL {
        try file("checkpoints", key.hexadecimal + ".halfway.gguf")
    }
}
