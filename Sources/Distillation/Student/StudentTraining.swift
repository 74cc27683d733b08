internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Training

/// A student before and while it is taught: its shape, its weights, and what it sees in which order.
struct StudentTraining {
    let configuration: ModelConfiguration
    /// The weights: carved at first; training changes them.
    let start: Parameters
    /// Numbers of the source's layers it is made of.
    let layers: [Int]
    /// Passes over the data: what the task asks for, or what the budget allows.
    let epochs: Double
    private let material: TrainingData
    private let held: [TrainingSequence]
    private let training: TaskDefinition.Training
    private let contextLength: Int
    private let compute: Compute

    /// Tokens of the task on which carving measures what neurons do.
    private static let sampledTokens = 1024
    /// Probability that a merge of the tokenizer is left out, where answers are written in the same tokens as inputs.
    private static let mergeDropout = 0.05

    /// - Parameters:
    ///   - source: the model to carve from.
    ///   - origins: what the task's vocabulary is made of in the source's; nil: it is the source's.
    /// - Throws: ``TaskError``, `ModelError`.
    init(
        _ task: TaskDefinition, data: Dataset, material: TrainingData, vocabulary: StudentVocabulary,
        source: any WeightSource, origins: [[Int32]]?, compute: Compute
    ) throws {
        self.material = material
        self.compute = compute
        training = task.training
        let writer = TrainingRows(vocabulary: vocabulary)
        held = try data.validation.prefix(200).map { try writer.row($0.input, answer: $0.output) }
        let longest = (material.rows + held).map(\.tokens.count).max() ?? 1
        contextLength = max(8, longest, vocabulary.format.maximumInputTokens + vocabulary.format.maximumAnswerTokens)

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
        var random = RandomNumbers(seed: UInt64(task.training.seed))
        var samples: [TrainingSequence] = []
        var sampled = 0
        for row in material.rows.shuffled(using: &random) where sampled < Self.sampledTokens {
            samples.append(row)
            sampled += row.tokens.count
        }
        let whole = try DenseModel(source, layers: Array(0..<source.configuration.layerCount), origins: origins)
        // A model that has never seen the labels' tokens says nothing about which layers they need.
        let measures = origins == nil || task.kind != .label
        let chosen =
            measures ? LayerSelection(whole, compute: compute).layers(layers, for: samples) : Array(0..<layers)
        let dense = whole.keeping(chosen)
        let carver = StudentCarver(dense: dense, student: task.student, compute: compute)
        configuration = try carver.configuration()
        self.layers = chosen
        start = try carver.carve(samples: samples)
        epochs =
            task.training.epochs
            ?? TrainingPlan.epochs(
                activeParameters: configuration.activeParameterCount,
                tokensPerEpoch: material.rows.reduce(0) { $0 + $1.tokens.count })
    }

    /// The carved weights once more, for trying out how fast training is.
    func copyOfStart() -> Parameters {
        let copy = Parameters(start.entries.map(\.specification))
        copy.values.base.update(from: start.values.base, count: start.values.count)
        return copy
    }

    /// - Throws: `TrainingError` when there is nothing to learn from.
    func trainer(
        _ parameters: Parameters, epochs: Double, checkpoint: URL? = nil, key: String = "",
        observer: (any TrainingObserver)? = nil
    ) throws -> Trainer {
        var options = TrainingOptions()
        options.batch = training.batch
        options.rate = Float(training.rate)
        options.seed = UInt64(training.seed)
        options.checkpointInterval = 100
        if training.optimizer == .muon { options.optimizer = .muon }
        if training.schedule == .wsd { options.schedule = .wsd }
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
            observer: observer)
    }
}
