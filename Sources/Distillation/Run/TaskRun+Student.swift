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
        /// What came after the training, in words; nil: nothing.
        var phases: [String]?
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
            if let package = task.student.package { $0.add("package", try modelKey(task.url(package).path)) }
            // Computing activations again changes nothing.
            var training = task.training
            training.recompute = nil
            try $0.add("training", encoding: training)
            $0.add("minutes", options.minutes ?? 0)
        }
        let summary = { (trained: Trained) in
            "\(trained.record.steps) updates, \(Format.count(trained.record.tokens)) tokens in \(Format.duration(trained.record.seconds)); \(Format.count(trained.activeParameters)) of \(Format.count(trained.parameters)) parameters active"
        }
        let trained = try await stage(
            "train", "train the student", key: key, summary: summary, seconds: { $0.record.seconds }
        ) {
            observer.stageAdvanced(0, detail: "carving")
            var material = try await material(labels, vocabulary: vocabulary, loss: task.training.loss, key: key)
            let began = ContinuousClock.now
            if let adapted, task.training.hidden != nil {
                material.attach(hidden: try await hiddenStates(of: adapted, to: material, key: key))
            }
            let read = (ContinuousClock.now - began).seconds
            let source: any WeightSource =
                if let adapted { try GGUFModel(path: workspace.url(of: adapted.file).path) } else { base }
            func makeTraining(_ source: any WeightSource, origins: [[Int32]]?) throws -> StudentTraining {
                try StudentTraining(
                    task, data: data, material: material, vocabulary: vocabulary, source: source, origins: origins,
                    compute: trainingCompute)
            }
            var training = try makeTraining(source, origins: adapted == nil ? vocabulary.origins : nil)
            var share = 1.0
            let time = options.minutes.map { $0 * 60 * 0.5 } ?? TrainingPlan.minutes(task.training).map { $0 * 60 }
            let limit = time.map { max($0 / 2, $0 - read) }
            let halfway = try await halfway(training, vocabulary: vocabulary, seconds: limit, key: key)
            if let halfway {
                training = try makeTraining(
                    try GGUFModel(path: workspace.url(of: halfway.file).path), origins: nil)
                share -= Self.halfwayShare
            }
            let plan = try await workspace.stage("plan", key: key) { try training.plan() }
            let precision = trainingCompute.precision
            let products = precision == .float32 ? "" : "; products in \(precision.rawValue)"
            observer.note(training.description(plan) + products)
            let configuration = try training.configuration(plan)
            let checkpoint = try file("checkpoints", key.hexadecimal + ".bin")
            let weights = Parameters(TrainableDecoder.specifications(configuration))
            var isCarved = false
            func carve() throws {
                if !isCarved { weights.set(try training.start(plan)) }
                isCarved = true
            }
            if task.training.findsRate == true {
                training.rate = try await workspace.stage("rate", key: key) {
                    try carve()
                    return try training.findRate(configuration, parameters: weights.copy())
                }
                observer.note(String(format: "learning rate %.2g, by a range test", training.rate))
            }
            let pace = try await workspace.stage("pace", key: key) {
                try carve()
                return try Pace.measure(wanted: plan.epochs * share, seconds: limit.map { $0 * share }) {
                    try training.trainer(
                        configuration, parameters: weights.copy(), epochs: plan.epochs * share,
                        group: training.group(options.group))
                }
            }
            training.adjustBatch(epochs: pace.epochs)
            func supervise(_ checkpoint: URL, _ run: String) throws -> TrainingRecord {
                let trainer = try training.trainer(
                    configuration, parameters: weights, epochs: pace.epochs, checkpoint: checkpoint, key: run,
                    observer: TrainingProgress(observer), group: training.group(options.group))
                // Where there is a checkpoint, nothing is carved only to be written over.
                if !trainer.hasCheckpoint { try carve() }
                _ = try trainer.run()
                return trainer.record
            }
            var record: TrainingRecord
            var phases: [Phase] = []
            if hasPhases {
                record = try await phase("supervised", key: key, weights: weights) { _, _ in
                    (try supervise(checkpoint, key.hexadecimal), "")
                }.record
                phases = try await furtherPhases(
                    Phases(
                        training: training, configuration: configuration, weights: weights, vocabulary: vocabulary,
                        teacher: adapted.map { workspace.url(of: $0.file).path }, key: key, updates: record.steps))
                for phase in phases {
                    record.seconds += phase.record.seconds
                    record.tokens += phase.record.tokens
                    if !phase.record.expertLoads.isEmpty { record.expertLoads = phase.record.expertLoads }
                }
            } else {
                record = try supervise(checkpoint, key.hexadecimal)
            }
            var shape = configuration
            var values = weights
            var notes = phases.map(\.note)
            if let halfway {
                record.seconds += halfway.record.seconds
                record.tokens += halfway.record.tokens
                notes.insert(halfway.note, at: 0)
            }
            if task.student.prunes == true {
                (shape, values) = prune(training, configuration, weights, &record, &notes)
            }
            let folder = try file("students", key.hexadecimal)
            let contents = ModelContents(
                configuration: shape, tokenizer: vocabulary.tokenizer.definition,
                chatTemplate: StudentPackage.chatTemplate(vocabulary.format), name: "\(task.name) student",
                values: { [values] in values.array($0) })
            try StudentPackage.write(contents, format: vocabulary.format, name: task.name, to: folder)
            try? FileManager.default.removeItem(at: checkpoint)
            let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
                .sorted { $0.path < $1.path }
            return Trained(
                files: try files.map { try workspace.reference(to: $0) }, folder: key.hexadecimal,
                record: record, parameters: shape.parameterCount,
                activeParameters: shape.activeParameterCount, epochs: pace.epochs,
                phases: notes.isEmpty ? nil : notes)
        }
        try forgetPhases(key)
        try workspace.forget("hidden")
        return trained
    }

    /// The student without the experts that are hardly ever chosen.
    private func prune(
        _ training: StudentTraining, _ configuration: ModelConfiguration, _ weights: Parameters,
        _ record: inout TrainingRecord, _ notes: inout [String]
    ) -> (ModelConfiguration, Parameters) {
        let before = training.use(configuration, weights)
        guard let pruning = ExpertPruning(configuration, loads: before.loads) else {
            notes.append("no expert was left out: in some layer all of them are used")
            return (configuration, weights)
        }
        let pruned = pruning.weights(weights)
        let after = training.use(pruning.configuration, pruned)
        record.expertLoads = after.loads.map { layer in
            layer.map { Double($0) / Double(max(1, layer.reduce(0, +))) }
        }
        let left = pruning.configuration.experts?.routedCount ?? 0
        notes.append(
            String(
                format:
                    "%d of %d routed experts in every layer were left out; the loss on training rows went from %.4f to %.4f",
                (configuration.experts?.routedCount ?? 0) - left, configuration.experts?.routedCount ?? 0, before.loss,
                after.loss))
        observer.note(notes[notes.count - 1])
        return (pruning.configuration, pruned)
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
