internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Tokenizers
internal import Training

/// Fits a local teacher to a task: low-rank adapters beside every linear layer, the embedding with its new tokens
/// (Hu et al. 2021), merged and written as Q8_0.
struct TeacherAdapter {
    let vocabulary: StudentVocabulary
    let adaptation: TaskDefinition.Adaptation
    let seed: UInt64
    var recompute = false
    let compute: Compute

    /// α / rank.
    private static let scale: Float = 2

    /// What a teacher is fitted to.
    struct Lesson {
        var rows: [TrainingSequence]
        var validation: [TrainingSequence] = []
        /// Other forms of the rows; nil: there are none.
        var variant: Trainer.Variant?
    }

    /// Rows of the validation set that are looked at while it learns.
    private static let validated = 32

    /// The gold. Of texts, copied words are exchanged in half of the passes, so that words that were not met are copied, too,
    /// and words that answers put right are misspelt; exchanging did nothing for JSON.
    ///
    /// - Throws: ``TaskError``, `TokenizerError`.
    func lesson(_ data: Dataset) throws -> Lesson {
        let kind = vocabulary.format.kind
        let gold = try TrainingData(gold: data, vocabulary: vocabulary)
        let rows = TrainingRows(vocabulary: vocabulary)
        return Lesson(
            rows: gold.rows,
            validation: try data.writableValidation(Self.validated, kind: kind).map {
                try rows.row($0.input, answer: $0.output)
            },
            variant: kind == .text
                ? gold.variant(seed: seed, limit: gold.rows.map(\.tokens.count).max() ?? 0) : nil)
    }

    /// The inputs themselves, token after token.
    ///
    /// - Throws: ``TaskError``.
    func lesson(reading inputs: [String]) throws -> Lesson {
        Lesson(
            rows: try inputs.map { input in
                let prompt = try vocabulary.format.prompt(input, tokenizer: vocabulary.tokenizer)
                return TrainingSequence(
                    tokens: Array(prompt.dropLast()), targets: prompt.dropFirst().map(SoftTarget.only),
                    answers: Array(prompt.dropFirst()))
            })
    }

    func trainer(
        _ dense: DenseModel, _ lesson: Lesson, epochs: Double, checkpoint: URL?, key: String,
        observer: (any TrainingObserver)?, group: (any ProcessGroup)? = nil
    ) throws -> Trainer {
        let staysStored = adaptation.method == .qlora
        let parameters = try dense.parameters(adapterRank: adaptation.rank, staysStored: staysStored, seed: seed)
        let longest = (lesson.rows + lesson.validation).map(\.tokens.count).max() ?? 1
        let decoder = TrainableDecoder(
            dense.configuration, parameters: parameters, adapterScale: Self.scale,
            stored: staysStored ? try dense.stored() : nil, contextLength: max(8, longest), compute: compute)
        var options = TrainingOptions()
        options.epochs = epochs
        options.batch = Self.batch(lesson.rows, epochs: epochs)
        options.rate = Float(adaptation.rate)
        options.decay = 0
        options.seed = seed
        options.recompute = recompute
        options.checkpointInterval = 20
        // Other processes have no file to read stored weights from.
        return try Trainer(
            model: decoder, data: lesson.rows, validation: lesson.validation, options: options,
            variant: lesson.variant, checkpoint: checkpoint, key: key,
            observer: observer, group: staysStored ? nil : group)
    }

    /// Sequences an update: as many as keep the products busy, but not so many that few updates are left.
    private static func batch(_ rows: [TrainingSequence], epochs: Double) -> Int {
        let tokens = max(1, rows.reduce(0) { $0 + $1.tokens.count } / max(1, rows.count))
        let updates = Double(rows.count) * epochs / 250
        return max(8, min(512 / tokens, Int(updates), 32))
    }

    /// Merges the adapters and writes the model.
    func write(_ model: TrainableDecoder, name: String, to path: String) throws {
        let parameters = model.parameters
        if adaptation.method == .lora {
            parameters.mergeAdapters(model.configuration, scale: Self.scale, compute: compute)
        }
        let contents = ModelContents(
            configuration: model.configuration, tokenizer: vocabulary.tokenizer.definition, chatTemplate: nil,
            name: name, values: { model.merged($0) ?? parameters.array($0) })
        try GGUFModelWriter.write(contents, type: .q8_0, to: path)
    }
}
