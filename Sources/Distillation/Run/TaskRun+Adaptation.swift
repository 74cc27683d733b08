internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Training

/// A local teacher that is fitted to the gold: its making, its own quality, its answers to the inputs.
extension TaskRun {
    /// An adapted teacher's file.
    struct Adapted: Codable {
        var file: FileReference
        var record: TrainingRecord
        var epochs: Double
    }

    /// Fits the teacher to the gold, once for each member; before that, where there are many more inputs than gold, to
    /// the inputs as text (domain-adaptive pretraining, Gururangan et al., arXiv 2004.10964); where it is asked for, after that
    /// anew, to what all members together say to the inputs (self-training, Xie et al., arXiv 1911.04252).
    func adapt(
        _ teacher: String, vocabulary: StudentVocabulary, _ adaptation: TaskDefinition.Adaptation
    ) async throws -> [Adapted] {
        var start = Start(model: try modelKey(teacher), path: try resolve(teacher), origins: vocabulary.origins)
        let passes = domainEpochs(adaptation)
        if passes > 0 {
            let reading = data.collectedInputs + data.train.map(\.input)
            var gentler = adaptation
            gentler.rate /= 2
            let read = try await fit(
                "domain", "read the inputs", teacher, from: start, vocabulary: vocabulary, gentler, epochs: passes,
                share: 0.1, isOpen: adaptation.domain == nil, seed: task.training.seed,
                depends: ContentKey.of { $0.add("inputs", reading) }
            ) { try $0.lesson(reading: reading) }
            start = Start(
                model: ContentKey.of { $0.add("file", read.file) }, path: workspace.url(of: read.file).path,
                origins: nil)
        }
        let count = members(adaptation)
        var result: [Adapted] = []
        for member in 0..<count {
            result.append(
                try await fit(
                    "adapt", count == 1 ? "adapt the teacher" : "adapt the teacher, \(member + 1) of \(count)", teacher,
                    from: start, vocabulary: vocabulary, adaptation,
                    epochs: adaptation.epochs ?? TrainingPlan.adaptationEpochs(rows: data.train.count, kind: task.kind),
                    share: 0.3 / Double(count), isOpen: adaptation.epochs == nil, seed: task.training.seed + member
                ) { try $0.lesson(data) })
        }
        guard adaptation.selfTraining > 0 else { return result }
        let answers = try await label(
            result, vocabulary: vocabulary, inputs: data.train.map(\.input) + data.inputs, title: "labels to fit it to")
        let labels = try trusted(
            answers, by: try calibration(of: answers, vocabulary: vocabulary), vocabulary: vocabulary)
        let material = try await material(labels, vocabulary: vocabulary, key: labels.key)
        return [
            try await fit(
                "self_training", "adapt the teacher to these", teacher, from: start, vocabulary: vocabulary, adaptation,
                epochs: adaptation.selfTraining, share: 0.15, isOpen: false, seed: task.training.seed,
                depends: labels.key
            ) { _ in .init(rows: material.rows) }
        ]
    }

    /// What is learnt from the gold and a teacher's labels.
    ///
    /// - Parameter key: of what it is made for.
    func material(
        _ labels: Labels?, vocabulary: StudentVocabulary, loss: TaskDefinition.Loss? = nil, key: ContentKey
    ) async throws -> TrainingData {
        let seed = UInt64(task.training.seed)
        let material = try await TrainingData(
            data, vocabulary: vocabulary,
            answers: (labels?.rows ?? []).map { .init(input: $0.input, answer: $0.answer) },
            sharesTokens: task.adaptation != nil, loss: loss
        ) { question in
            try await workspace.stage("votes", key: key) {
                VotedLabels(question, train: data.train, seed: seed, compute: compute)
            }
        }
        for note in material.notes { observer.note(note) }
        return material
    }

    /// What adapters are put beside.
    private struct Start {
        /// Tells this model from others.
        var model: ContentKey
        var path: String
        /// What the task's vocabulary is made of in the model's; nil: it is the model's.
        var origins: [[Int32]]?
    }

    /// What shares of time are taken of in a run whose time is not limited: half an hour for adapting, ten minutes for
    /// reading the inputs.
    private static let usualMinutes = 100.0

    /// A stage that trains adapters on a lesson and merges them.
    ///
    /// - Parameters:
    ///   - share: of the run's time, where that is limited, or of the usual time.
    ///   - isOpen: whether the passes were left to the program, which then keeps to the usual time.
    ///   - depends: on what beside the gold the lesson depends; nil: on nothing.
    private func fit(
        _ name: String, _ title: String, _ teacher: String, from start: Start, vocabulary: StudentVocabulary,
        _ adaptation: TaskDefinition.Adaptation, epochs: Double, share: Double, isOpen: Bool,
        seed: Int, depends: ContentKey? = nil,
        lesson: (TeacherAdapter) throws -> TeacherAdapter.Lesson
    ) async throws -> Adapted {
        let minutes = options.minutes ?? (isOpen ? Self.usualMinutes : nil)
        let key = try key(name) {
            $0.add("model", start.model)
            $0.add("train", data.trainKey)
            $0.add("vocabulary", try vocabulary.key())
            // One member's file does not depend on how many there are, unless they share a time that is short.
            try $0.add("adaptation", encoding: [epochs, Double(adaptation.rank), adaptation.rate])
            $0.add("seed", seed)
            $0.add("minutes", minutes ?? 0)
            if let precision = task.training.precision { $0.add("precision", precision.rawValue) }
            if let depends { $0.add("lesson", depends) }
        }
        return try await stage(
            name, title, key: key,
            summary: { "\($0.record.steps) updates, \(Format.duration($0.record.seconds))" },
            seconds: { $0.record.seconds }
        ) {
            let source = try openModel(start.path)
            let dense = try DenseModel(source, origins: start.origins)
            let adapter = TeacherAdapter(
                vocabulary: vocabulary, adaptation: adaptation, seed: UInt64(seed),
                recompute: task.training.recompute ?? false, compute: trainingCompute)
            let lesson = try lesson(adapter)
            func trainer(_ epochs: Double, checkpoint: URL?, observer: (any TrainingObserver)?) throws -> Trainer {
                try adapter.trainer(
                    dense, lesson, epochs: epochs, checkpoint: checkpoint, key: key.hexadecimal, observer: observer,
                    group: options.group)
            }
            let pace = try await workspace.stage("pace", key: key) {
                try Pace.measure(
                    wanted: epochs, seconds: minutes.map { $0 * 60 * share },
                    least: options.minutes == nil ? min(0.05, epochs) : min(1, epochs)
                ) { try trainer(epochs, checkpoint: nil, observer: nil) }
            }
            if pace.epochs < epochs {
                observer.note(title + String(format: ": %.1f passes instead of %.1f fit the time", pace.epochs, epochs))
            }
            let checkpoint = try file("checkpoints", key.hexadecimal + ".bin")
            let trainer = try trainer(
                pace.epochs, checkpoint: checkpoint, observer: TrainingProgress(observer))
            _ = try trainer.run()
            let path = try file("teachers", key.hexadecimal + ".gguf")
            try adapter.write(trainer.model, name: "\(teacher), adapted to \(task.name)", to: path.path)
            try? FileManager.default.removeItem(at: checkpoint)
            return Adapted(file: try workspace.reference(to: path), record: trainer.record, epochs: pace.epochs)
        }
    }

    private func paths(_ adapted: [Adapted]) -> [String] { adapted.map { workspace.url(of: $0.file).path } }

    /// How an adapted teacher did on the test set.
    struct TeacherEvaluation: Codable {
        var run: SystemRun
        /// The answers, as a calibration takes them.
        var answers: [ScoredAnswer]
    }

    func adaptedEvaluation(
        _ adapted: [Adapted], vocabulary: StudentVocabulary
    ) async throws -> TeacherEvaluation {
        let key = key("adapted") {
            for (index, member) in adapted.enumerated() { $0.add(index == 0 ? "model" : "model \(index)", member.file) }
            $0.add("test", data.testKey)
        }
        return try await stage("adapted", "adapted teacher", key: key, summary: { quality($0.run) }) {
            let teacher = try TeacherEnsemble(paths(adapted), format: vocabulary.format, pool: pool)
            let name = "\(task.teacher ?? "") adapted" + (adapted.count == 1 ? "" : ", \(adapted.count) together")
            let reader = try scoredAnswers(vocabulary)
            var answers: [TaskAnswer] = []
            // The last that is asked for is the whole set.
            let run = try SystemRun.measure(
                name, inputs: data.test.map(\.input), singles: 40, parameters: teacher.parameters,
                activeParameters: teacher.activeParameters, bytes: teacher.bytes, progress: advance
            ) {
                answers = try teacher.answer($0, alternatives: reader.labels.count, progress: $1)
                return answers
            }
            return TeacherEvaluation(run: run, answers: reader.scored(data.test, answers))
        }
    }

    /// Chooses the inputs that an adapted teacher answers: those of the gold and those without, all or as many of both as fit
    /// the time; where there is more of it, others are made of parts and words of these.
    ///
    /// - Parameter evaluation: tells how fast the teacher is.
    func chooseInputs(_ evaluation: SystemRun) -> [String] {
        let plan = LabelPlan(
            minutes: options.minutes, answered: evaluation.answers.count,
            seconds: evaluation.seconds / Double(options.group?.size ?? 1),
            gold: data.train.count, inputs: data.inputs.count, validation: data.validation.count)
        let gold = draw(plan.gold, of: data.train.map(\.input), "rows of gold")
        let inputs = draw(plan.inputs, of: data.inputs, "inputs")
        let wanted = variedCount(besides: inputs.count)
        varyInputs(task.varied != nil && options.minutes == nil ? wanted : min(wanted, plan.rest))
        return gold + inputs + data.variants
    }

    /// So many of the inputs, in their order.
    private func draw(_ count: Int, of inputs: [String], _ name: String) -> [String] {
        guard count < inputs.count else { return inputs }
        say("\(count) of \(inputs.count) \(name) are labelled by the teacher, which is what fits the time")
        var random = RandomNumbers(seed: UInt64(task.training.seed))
        return inputs.indices.shuffled(using: &random).prefix(count).sorted().map { inputs[$0] }
    }

    /// What the adapted teachers together say to inputs and to the validation rows'.
    func label(
        _ adapted: [Adapted], vocabulary: StudentVocabulary, inputs: [String], title: String = "teacher labels"
    ) async throws -> Labels {
        let all = inputs + data.validation.map(\.input)
        let alternatives = max(24, min(256, data.labels.count))
        let key = key("answer") {
            for (index, member) in adapted.enumerated() { $0.add(index == 0 ? "model" : "model \(index)", member.file) }
            $0.add("alternatives", alternatives)
        }
        return try await label(
            all, by: .adapted(vocabulary.format, alternatives: alternatives), at: paths(adapted), key: key, title: title
        )
    }

    /// Passes over the inputs as text. Where there is little gold, what the inputs look like helps.
    func domainEpochs(_ adaptation: TaskDefinition.Adaptation) -> Double {
        adaptation.domain ?? (task.kind.hasLabels && data.collectedInputs.count >= 4 * data.train.count ? 1 : 0)
    }

    /// How many inputs are written. Texts and JSON need more rows than a little gold, on which an adapted teacher says
    /// hardly more than the gold itself; not where the run's time is limited, in which hardly any would be answered.
    var writtenCount: Int {
        if let written = task.written { return written }
        let rows = data.train.count + data.inputs.count
        guard task.adaptation != nil, !task.kind.hasLabels, rows < Self.manyRows, options.minutes == nil else {
            return 0
        }
        return max(0, min(Self.mostWritten, Self.writtenPerRow * data.train.count, rowsThatFit) - data.inputs.count)
    }

    /// How many inputs of labels are made of parts and words of others, for the same reason. No model writes them, so
    /// that only answering them takes time.
    ///
    /// - Parameter inputs: those that are answered in any case.
    private func variedCount(besides inputs: Int) -> Int {
        if let varied = task.varied { return varied }
        guard task.adaptation != nil, task.kind == .label else { return 0 }
        let most = min(Self.mostRows - data.train.count, Self.variedPerRow * data.train.count, rowsThatFit)
        return max(0, most - inputs)
    }

    /// Rows as long as the gold's that are no more than is written and answered in minutes.
    private var rowsThatFit: Int {
        let bytes = data.train.reduce(0) { $0 + $1.input.utf8.count + $1.output.utf8.count }
        return Int(Double(Self.answeredBytes) * Double(data.train.count) / Double(max(1, bytes)))
    }

    /// Rows to learn from that need no more inputs beside them.
    private static let manyRows = 5000
    /// Inputs written for each row of gold; once as many gave less, twice as many were not tried.
    private static let writtenPerRow = 3
    /// The most inputs that are written: they take minutes.
    private static let mostWritten = 10_000
    /// Inputs made of others for each row of gold; fewer and more were not tried.
    private static let variedPerRow = 4
    /// The most rows there are with those.
    private static let mostRows = 40_000
    /// The most bytes of such inputs with answers like the gold's.
    private static let answeredBytes = 4_000_000

    /// How many teachers are fitted: few examples leave a fit to chance, which several even out.
    func members(_ adaptation: TaskDefinition.Adaptation) -> Int {
        adaptation.members ?? (task.kind == .label && data.train.count <= 2000 ? 3 : 1)
    }
}
