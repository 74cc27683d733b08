internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Training

/// What is decided about a student before it is made: kept by the run, because the whole base is measured
/// for it.
struct StudentPlan: Codable {
    /// Numbers of the source's layers it is made of.
    var layers: [Int]
    /// Passes over the data: what the task asks for, or what the budget allows.
    var epochs: Double
}

/// A student while it is taught: what it is carved out of, and what it sees in which order.
struct StudentTraining {
    private let task: TaskDefinition
    private let source: any WeightSource
    private let origins: [[Int32]]?
    private let material: TrainingData
    private let held: [TrainingSequence]
    private let samples: [TrainingSequence]
    private let contextLength: Int
    private let compute: Compute

    /// Tokens of the task on which carving measures what neurons do.
    private static let sampledTokens = 1024
    /// Probability that a merge of the tokenizer is left out, where answers are written in the same tokens as inputs.
    private static let mergeDropout = 0.05

    /// - Parameters:
    ///   - source: the model to carve from.
    ///   - origins: what the task's vocabulary is made of in the source's; nil: it is the source's.
    /// - Throws: ``TaskError``.
    init(
        _ task: TaskDefinition, data: Dataset, material: TrainingData, vocabulary: StudentVocabulary,
        source: any WeightSource, origins: [[Int32]]?, compute: Compute
    ) throws {
        self.task = task
        self.material = material
        self.source = source
        self.origins = origins
        self.compute = compute
        let writer = TrainingRows(vocabulary: vocabulary)
        held = try data.validation.prefix(200).map { try writer.row($0.input, answer: $0.output) }
        let longest = (material.rows + held).map(\.tokens.count).max() ?? 1
        contextLength = max(8, longest, vocabulary.format.maximumInputTokens + vocabulary.format.maximumAnswerTokens)
        var random = RandomNumbers(seed: UInt64(task.training.seed))
        var samples: [TrainingSequence] = []
        var sampled = 0
        for row in material.rows.shuffled(using: &random) where sampled < Self.sampledTokens {
            samples.append(row)
            sampled += row.tokens.count
        }
        self.samples = samples
    }

    /// Chooses layers and passes.
    ///
    /// - Throws: ``TaskError``, `ModelError`.
    func plan() throws -> StudentPlan {
        var base = source.configuration
        base.vocabularySize = origins?.count ?? base.vocabularySize
        let layers =
            try task.student.layers
            ?? TrainingPlan.layers(of: base) { layers in
                var shape = base
                shape.layerCount = layers
                return try StudentCarver.configuration(of: shape, student: task.student)
            }
        guard (1...base.layerCount).contains(layers) else {
            throw TaskError("\(layers) layers asked for, but \(source.name) has \(base.layerCount)")
        }
        // A model that has never seen the labels' tokens says nothing about which layers they need.
        let measures = layers < base.layerCount && (origins == nil || task.kind != .label)
        let chosen =
            try measures
            ? LayerSelection(
                DenseModel(source, layers: Array(0..<base.layerCount), origins: origins), compute: compute
            ).layers(layers, for: samples) : Array(0..<layers)
        base.layerCount = layers
        let carved = try StudentCarver.configuration(of: base, student: task.student)
        let epochs =
            task.training.epochs
            ?? TrainingPlan.epochs(
                activeParameters: carved.activeParameterCount,
                tokensPerEpoch: material.rows.reduce(0) { $0 + $1.tokens.count })
        return StudentPlan(layers: chosen, epochs: epochs)
    }

    /// The student's shape.
    ///
    /// - Throws: ``TaskError`` when the feed-forward width does not divide into the experts.
    func configuration(_ plan: StudentPlan) throws -> ModelConfiguration {
        var base = source.configuration
        base.vocabularySize = origins?.count ?? base.vocabularySize
        base.layerCount = plan.layers.count
        return try StudentCarver.configuration(of: base, student: task.student)
    }

    /// The carved weights.
    ///
    /// - Throws: ``TaskError``, `ModelError`.
    func start(_ plan: StudentPlan) throws -> Parameters {
        try StudentCarver(
            dense: DenseModel(source, layers: plan.layers, origins: origins), student: task.student, compute: compute
        ).carve(samples: samples)
    }

    /// - Throws: `TrainingError` when there is nothing to learn from.
    func trainer(
        _ configuration: ModelConfiguration, parameters: Parameters, epochs: Double, checkpoint: URL? = nil,
        key: String = "",
        observer: (any TrainingObserver)? = nil, group: (any ProcessGroup)? = nil
    ) throws -> Trainer {
        let training = task.training
        var options = TrainingOptions()
        options.batch = training.batch
        options.rate = Float(training.rate)
        options.seed = UInt64(training.seed)
        options.checkpointInterval = 100
        options.optimizer = training.optimizer ?? .adamw
        options.schedule = training.schedule ?? .cosine
        options.recompute = training.recompute ?? false
        options.epochs = epochs
        options.validationInterval = max(1, options.steps(sequences: material.rows.count) / 8)
        let decoder = TrainableDecoder(
            configuration, parameters: parameters, contextLength: contextLength, compute: compute)
        let variant: Trainer.Variant? =
            material.varies
            ? { [material, contextLength, training] index, epoch in
                material.vary(
                    index, epoch: epoch, dropout: Self.mergeDropout, seed: UInt64(training.seed), limit: contextLength)
            } : nil
        return try Trainer(
            model: decoder, data: material.rows, validation: held, options: options, variant: variant,
            checkpoint: checkpoint, key: key,
            metrics: checkpoint.map {
                // Beside the folder of checkpoints.
                $0.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("metrics.jsonl")
            },
            observer: observer, group: group)
    }
}
