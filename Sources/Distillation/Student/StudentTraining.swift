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
    let task: TaskDefinition
    private let source: any WeightSource
    private let origins: [[Int32]]?
    /// The earlier student it goes on from; nil: there is none.
    private let package: PackageStart?
    let material: TrainingData
    let held: [TrainingSequence]
    private let samples: [TrainingSequence]
    let contextLength: Int
    let compute: Compute
    /// The material's rows, each with its weight.
    let rows: [TrainingSequence]
    /// Learning rate; the task's, unless it is to be found.
    var rate: Double
    /// Rows an update; the task's, or the usual number until the passes are known.
    private var batch: Int

    /// Tokens of the task on which carving measures what neurons do.
    private static let sampledTokens = 1024
    /// Passes over the validation rows.
    private static let validations = 8
    /// Of the routers' bias (arXiv 2408.15664).
    private static let biasSpeed: Float = 1e-3

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
        package = try task.student.package.map { try PackageStart(task.url($0), vocabulary: vocabulary) }
        self.compute = compute
        rate = task.training.rate
        batch = task.training.batch ?? TrainingPlan.batches.usual
        var rows = material.rows
        if task.training.balances == true {
            for (index, weight) in LabelBalance.weights(material.outputs).enumerated() { rows[index].weight *= weight }
        }
        self.rows = rows
        let writer = TrainingRows(vocabulary: vocabulary)
        held = try data.writableValidation(200, kind: task.kind).map { try writer.row($0.input, answer: $0.output) }
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
        if let package {
            return StudentPlan(
                layers: Array(0..<package.configuration.layerCount), epochs: epochs(package.configuration))
        }
        let chosen = try choose(try layerCount())
        var base = base
        base.layerCount = chosen.count
        let carved = try StudentCarver.configuration(of: base, student: task.student)
        return StudentPlan(layers: chosen, epochs: epochs(carved))
    }

    /// The layers of a dense model half-way between the source and the student, by the ratio of their layers: what a
    /// student is carved out of that is made in two steps; nil where no more than half of the layers go.
    ///
    /// - Throws: ``TaskError``, `ModelError`.
    func halfwayPlan() throws -> StudentPlan? {
        let layers = try layerCount()
        let all = source.configuration.layerCount
        guard layers * 2 < all else { return nil }
        let chosen = try choose(Int((Double(layers) * Double(all)).squareRoot().rounded()))
        var base = base
        base.layerCount = chosen.count
        return StudentPlan(layers: chosen, epochs: epochs(base))
    }

    /// The dense model of a plan.
    ///
    /// - Throws: ``TaskError`` for a source that no student can be carved out of.
    func dense(_ plan: StudentPlan) throws -> DenseModel {
        try DenseModel(source, layers: plan.layers, origins: origins)
    }

    /// The source's shape with the task's vocabulary.
    private var base: ModelConfiguration {
        var base = source.configuration
        base.vocabularySize = origins?.count ?? base.vocabularySize
        return base
    }

    private func layerCount() throws -> Int {
        let layers =
            try task.student.layers
            ?? TrainingPlan.layers(of: base) { layers in
                var shape = base
                shape.layerCount = layers
                return try StudentCarver.configuration(of: shape, student: task.student)
            }
        guard task.student.start == .scratch || (1...base.layerCount).contains(layers) else {
            throw TaskError("\(layers) layers asked for, but \(source.name) has \(base.layerCount)")
        }
        return layers
    }

    private func choose(_ layers: Int) throws -> [Int] {
        // A model that has never seen the labels' tokens says nothing about which layers they need.
        let measures =
            task.student.start != .scratch && layers < base.layerCount && (origins == nil || !task.kind.hasLabels)
        guard measures else { return Array(0..<layers) }
        return try LayerSelection(
            DenseModel(source, origins: origins), compute: compute
        ).layers(layers, for: samples)
    }

    private func epochs(_ configuration: ModelConfiguration) -> Double {
        task.training.epochs
            ?? TrainingPlan.epochs(
                activeParameters: configuration.activeParameterCount,
                tokensPerEpoch: material.rows.reduce(0) { $0 + $1.tokens.count })
    }

    /// Takes fewer rows an update where few updates fit, unless the task says how many.
    mutating func adjustBatch(epochs: Double) {
        batch = task.training.batch ?? TrainingPlan.batch(rows: rows.count, epochs: epochs)
    }

    /// What a plan starts from, in words.
    func description(_ plan: StudentPlan) -> String {
        if let package { return "goes on from \(package.name)" }
        return "layers \(plan.layers.map(String.init).joined(separator: ", ")) of \(source.name)"
    }

    /// The student's shape.
    ///
    /// - Throws: ``TaskError`` when the feed-forward width does not divide into the experts.
    func configuration(_ plan: StudentPlan) throws -> ModelConfiguration {
        if let package { return package.configuration }
        var base = base
        base.layerCount = plan.layers.count
        return try StudentCarver.configuration(of: base, student: task.student)
    }

    /// The first weights.
    ///
    /// - Throws: ``TaskError``, `ModelError`.
    func start(_ plan: StudentPlan) throws -> Parameters {
        if let package { return try package.parameters() }
        if task.student.start == .scratch {
            return try StudentCarver.drawn(configuration(plan), seed: UInt64(task.training.seed))
        }
        return try StudentCarver(
            dense: dense(plan), student: task.student,
            seed: UInt64(task.training.seed), compute: compute
        ).carve(samples: samples)
    }

    /// The learning rate that a range test on these weights, which it uses up, gives.
    ///
    /// - Throws: `TrainingError` when there is nothing to learn from.
    func findRate(_ configuration: ModelConfiguration, parameters: Parameters) throws -> Double {
        var options = options
        // A little less, so that rounding up gives the number asked for.
        options.epochs = (Double(RateFinder.updates * options.batch) - 0.5) / Double(rows.count)
        return Double(
            RateFinder(
                try Trainer(
                    model: decoder(configuration, parameters), data: rows, options: options, variant: variant)
            ).rate)
    }

    /// - Throws: `TrainingError` when there is nothing to learn from.
    func trainer(
        _ configuration: ModelConfiguration, parameters: Parameters, epochs: Double, checkpoint: URL? = nil,
        key: String = "",
        observer: (any TrainingObserver)? = nil, group: (any ProcessGroup)? = nil
    ) throws -> Trainer {
        var options = options
        options.epochs = epochs
        options.validationInterval = max(1, options.steps(sequences: rows.count) / Self.validations)
        return try Trainer(
            model: decoder(configuration, parameters), data: rows, validation: held, options: options,
            variant: variant, checkpoint: checkpoint, key: key, metrics: metrics(beside: checkpoint),
            observer: observer, group: group)
    }

    /// The processes that share the batches; nil where they can't: a teacher's distributions and hidden states beside the
    /// targets and a bias of the routers stay in one process.
    func group(_ group: (any ProcessGroup)?) -> (any ProcessGroup)? {
        task.training.loss.map(\.isMixture) ?? true && task.training.router != .bias
            && task.training.hidden == nil ? group : nil
    }

    var options: TrainingOptions {
        let training = task.training
        var options = TrainingOptions()
        options.batch = batch
        options.rate = Float(rate)
        options.seed = UInt64(training.seed)
        options.checkpointInterval = 100
        options.optimizer = training.optimizer ?? .adamw
        options.schedule = training.schedule ?? .cosine
        options.recompute = training.recompute ?? false
        options.microBatch = training.microBatch ?? 0
        options.patience = training.patience ?? 0
        options.hidden = Float(training.hidden ?? 0)
        options.labelSmoothing = Float(training.labelSmoothing ?? 0)
        if training.router == .bias {
            options.balance = 0
            options.biasSpeed = Self.biasSpeed
        }
        switch training.averaging {
        case .uniform?: options.averaging = .uniform
        case .exponential?: options.averaging = .exponential
        default: break
        }
        if let loss = training.loss {
            options.divergence = Divergence(loss.kind, beta: loss.beta, temperature: loss.temperature)
        }
        return options
    }

    var variant: Trainer.Variant? {
        material.variant(seed: UInt64(task.training.seed), limit: contextLength)
    }

    func decoder(_ configuration: ModelConfiguration, _ parameters: Parameters) -> TrainableDecoder {
        TrainableDecoder(configuration, parameters: parameters, contextLength: contextLength, compute: compute)
    }

    /// Beside the folder of checkpoints.
    func metrics(beside checkpoint: URL?) -> URL? {
        checkpoint.map {
            $0.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("metrics.jsonl")
        }
    }
}
