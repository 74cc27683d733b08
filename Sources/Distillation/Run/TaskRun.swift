public import Foundation
internal import LanguageModels
internal import Tensors
internal import Tokenizers
internal import Training

/// The whole loop on one task: adapt the teacher, label, train, evaluate, package.
///
/// Every stage is kept in the task's workspace under the content of what goes into it; a run that was killed goes on
/// where it was, and a run of which nothing changed does nothing.
public final class TaskRun {
    /// What a run leaves behind.
    public struct Outcome: Sendable {
        public var certificate: Certificate
        public var package: URL
        public var report: URL
        /// Whether every stage was there already.
        public var didNothing: Bool
    }

    public static let version = "0.1.0"

    /// Part of every key: changes when a stage does something else with the same input.
    private static let revision = "19"

    let task: TaskDefinition
    var data: Dataset
    let options: RunOptions
    let observer: any RunObserver
    let pool: WorkerPool
    let compute: Compute
    /// Of training, in the precision that a run chooses.
    private(set) var trainingCompute: Compute
    let workspace: Workspace
    let store = ModelStore()
    private var stageNumber = 0
    var stageCount = 0
    var didNothing = true
    /// Keys of the stages that this run is made of.
    private(set) var used: Set<ContentKey> = []
    /// Seconds of work that a stage's output tells of: more than its last run took where that went on after a kill or found answers.
    private(set) var spent: [ContentKey: Double] = [:]
    /// Inputs whose answers a teacher is too unsure of.
    var untrusted: Set<String> = []
    private let isShared: Bool
    /// What the teacher's labels are worth, where that was looked at.
    var labelCurve: LabelCurve?

    /// Reads the task and its data and opens the workspace.
    ///
    /// - Throws: ``TaskError``, `WorkspaceError`.
    public init(folder: URL, options: RunOptions = RunOptions(), observer: any RunObserver) throws {
        task = try TaskDefinition(folder: folder).priced()
        data = try Dataset(task)
        self.options = options
        self.observer = observer
        pool = options.threads == 0 ? WorkerPool() : WorkerPool(threadCount: options.threads)
        compute = Compute(pool: pool)
        trainingCompute = compute
        workspace = try Workspace(folder: folder)
        isShared = task.teacher != nil && task.teacher == task.student.base
    }

    public func run() async throws -> Outcome {
        stageCount = expectedStages
        for note in data.notes { observer.note(note) }
        let precision = try await precision()
        if precision != compute.precision { trainingCompute = Compute(pool: pool, precision: precision) }
        let base = try openModel(try resolve(task.student.base))
        let baseKey = try modelKey(task.student.base)
        func ownVocabulary() throws -> StudentVocabulary {
            try StudentVocabulary(
                base: try Tokenizer(TokenizerDefinition(base.tokenizerSource)), task: task, data: data)
        }

        var teachers: [SystemRun] = []
        var teacherRun: SystemRun?
        var adaptedRun: SystemRun?
        var adapted: [Adapted] = []
        var labels: Labels?
        // What is paid for is asked with the gold alone: rows made up here could differ on another machine.
        if task.endpoint != nil {
            (teacherRun, labels) = try await askEndpoints(vocabulary: try ownVocabulary())
        }
        if let abstain = task.abstain {
            try await addOutOfScope(abstain)
            // More rows may call for fewer teachers.
            stageCount = expectedStages
        }
        let vocabulary = try ownVocabulary()
        let baseline = try await baselineRun()
        if let teacher = task.teacher {
            teacherRun = try await promptedRun(teacher)
            if let adaptation = task.adaptation {
                let own = try isShared ? vocabulary : teacherVocabulary(teacher)
                adapted = try await adapt(teacher, vocabulary: own, adaptation)
                let evaluation = try await adaptedEvaluation(adapted, vocabulary: own)
                if writtenCount > 0 { try await writeInputs(writtenCount) }
                let inputs = chooseInputs(evaluation.run)
                let answers = try await label(adapted, vocabulary: own, inputs: inputs)
                let calibration = try calibration(of: answers, vocabulary: own)
                adaptedRun = calibrated(evaluation, by: calibration)
                labels = try trusted(answers, by: calibration, vocabulary: own)
                if !isShared { try translate(&labels, from: own, to: vocabulary) }
            } else {
                labels = try await labelPrompted(teacher)
            }
        }
        teachers = [teacherRun, adaptedRun].compactMap { $0 }
        let trained = try await train(
            base: base, baseKey: baseKey, vocabulary: vocabulary, adapted: isShared ? adapted.first : nil,
            labels: adding(syntheticTo: labels))
        let (student, files) = try await calibrate(studentEvaluation(trained), of: trained)
        return try finish(
            files, student: student, baseline: baseline, teacherRun: teacherRun, adaptedRun: adaptedRun,
            teachers: teachers)
    }

    /// The faster precision is found out once on a machine, so that a resumed run goes on as it began.
    private func precision() async throws -> Precision {
        if let precision = task.training.precision { return precision }
        // Processes of a group may run on unlike machines.
        guard options.group == nil else { return .float32 }
        let key = ContentKey.of { $0.add("machine", Machine.description) }
        return try await workspace.stage("precision", key: key) { .fastest }
    }

    // MARK: Stages

    /// How many stages there are for the data there is.
    private var expectedStages: Int {
        (task.abstain == nil ? 3 : 4)
            + (task.teacher == nil && task.endpoint == nil
                ? 0
                : task.adaptation.map {
                    3 + members($0) + (domainEpochs($0) > 0 ? 1 : 0) + ($0.selfTraining > 0 ? 2 : 0)
                        + (writtenCount > 0 ? 1 : 0)
                } ?? 2)
    }

    /// Runs a stage, or takes what it gave the last time.
    func stage<Output: Codable>(
        _ name: String, _ title: String, key: ContentKey, summary: (Output) -> String,
        seconds: ((Output) -> Double)? = nil, produce: () async throws -> Output
    ) async throws -> Output {
        stageNumber += 1
        observer.stageBegan(title, number: stageNumber, of: stageCount)
        used.insert(key)
        var isReused = false
        let output = try await workspace.stage(name, key: key, reused: { _ in isReused = true }, produce: produce)
        if !isReused { didNothing = false }
        observer.stageEnded(summary(output), reused: isReused)
        spent[key] = seconds?(output)
        return output
    }

    /// Where a model is: a file or folder beside the task, a path, or one of the catalogue.
    ///
    /// - Throws: `ModelError`.
    func resolve(_ model: String) throws -> String {
        let own = task.url(model).path
        return FileManager.default.fileExists(atPath: own) ? own : try store.resolve(model)
    }

    func modelKey(_ model: String) throws -> ContentKey {
        let path = try resolve(model)
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        let url = URL(fileURLWithPath: path)
        let files =
            isFolder.boolValue
            ? try FileManager.default.contentsOfDirectory(at: url, includingPropertiesForKeys: nil)
                .filter { ["json", "safetensors"].contains($0.pathExtension) }.sorted { $0.path < $1.path } : [url]
        return try ContentKey.of { builder in
            for file in files { builder.add(file.lastPathComponent, try workspace.reference(to: file)) }
        }
    }

    func key(_ stage: String, _ add: (inout ContentKey.Builder) throws -> Void) rethrows -> ContentKey {
        try ContentKey.of { builder in
            builder.add("revision", Self.revision)
            builder.add("stage", stage)
            builder.add("kind", task.kind.rawValue)
            if task.kind == .labels { builder.add("order", data.labels) }
            if let schema = task.schema { builder.add("schema", schema.rawValue) }
            try add(&builder)
        }
    }

    /// What a teacher that is not adapted is told.
    func addPrompt(to builder: inout ContentKey.Builder) {
        builder.add("instruction", task.instruction)
        if let descriptions = task.descriptions {
            builder.add("descriptions", descriptions.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] })
        }
    }

    func quality(_ run: SystemRun) -> String {
        let score = Scoring(task).score(run.answers, data.test.map(\.output), confidence: task.confidence)
        return
            "\(run.name): \(task.metric.rawValue) \(Format.quality(score.value)) (\(Format.quality(score.low))–\(Format.quality(score.high)))"
    }

    /// Says something in the terminal and in the report.
    func say(_ note: String) {
        observer.note(note)
        data.notes.append(note)
    }

    func advance(_ fraction: Double) { observer.stageAdvanced(fraction, detail: "") }

    private func baselineRun() async throws -> SystemRun {
        let inputs = data.test.map(\.input)
        let key = key("baseline") {
            $0.add("train", data.trainKey)
            $0.add("test", data.testKey)
        }
        return try await stage("baseline", "cheap baseline", key: key, summary: quality) {
            let baseline = task.baseline(data.train + data.validation)
            advance(0.5)
            return try SystemRun.measure(
                baseline.name, inputs: inputs, singles: 200, parameters: baseline.parameterCount,
                activeParameters: baseline.parameterCount, bytes: baseline.parameterCount * 4,
                progress: { self.advance(0.5 + 0.5 * $0) }
            ) { inputs, _ in
                inputs.map {
                    TaskAnswer(
                        output: baseline.answer($0), confidence: 1, inputTokens: 0, outputTokens: 0, tokens: [],
                        alternatives: [])
                }
            }
        }
    }

    /// Brings what an adapted teacher said into the student's tokens.
    private func translate(
        _ labels: inout Labels?, from source: StudentVocabulary, to target: StudentVocabulary
    ) throws {
        guard var own = labels else { return }
        let translation = AnswerTranslation(
            from: try .init(tokenizer: source.tokenizer, format: source.format),
            to: try .init(tokenizer: target.tokenizer, format: target.format))
        for place in own.rows.indices { own.rows[place].answer = try translation.translate(own.rows[place].answer) }
        labels = own
    }

    private func teacherVocabulary(_ teacher: String) throws -> StudentVocabulary {
        let source = try openModel(try resolve(teacher))
        return try StudentVocabulary(
            base: try Tokenizer(TokenizerDefinition(source.tokenizerSource)), task: task, data: data)
    }

    func file(_ folder: String, _ name: String) throws -> URL {
        let folder = workspace.hiddenFolder.appendingPathComponent(folder)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder.appendingPathComponent(name)
    }

    func measure(_ model: TaskModel, name: String, singles: Int) throws -> SystemRun {
        let c = model.model.configuration
        return try SystemRun.measure(
            name, inputs: data.test.map(\.input), singles: singles, parameters: c.parameterCount,
            activeParameters: c.activeParameterCount, bytes: model.model.weightBytes, progress: advance
        ) { try model.answer($0, progress: $1) }
    }

    /// What a teacher said to the inputs and to the gold's inputs.
    struct Labels: Codable {
        var count: Int
        var key: ContentKey
        var rows: [LabelledRow]
    }

    struct LabelledRow: Codable {
        var input: String
        var answer: TaskAnswer
    }

    private func labelPrompted(_ teacher: String) async throws -> Labels {
        let key = try key("answer") {
            $0.add("model", try modelKey(teacher))
            addPrompt(to: &$0)
            $0.add("labels", data.labels)
            $0.add("train", data.trainKey)
        }
        return try await label(data.inputs, by: .prompted(prompt), at: [try resolve(teacher)], key: key)
    }

    /// What a local teacher says to inputs. Each answer is kept by itself, so that more inputs are no reason to answer
    /// the others again.
    ///
    /// - Parameters:
    ///   - paths: of the teacher's models.
    ///   - teacherKey: of what an answer depends on besides its input.
    func label(
        _ inputs: [String], by teacher: LocalTeacher, at paths: [String], key teacherKey: ContentKey,
        title: String = "teacher labels"
    ) async throws -> Labels {
        let summary = { (labels: Labels) in "\(labels.count) answers" }
        let key = key("label") {
            $0.add("teacher", teacherKey)
            $0.add("inputs", inputs)
        }
        let keys = inputs.map { input in
            ContentKey.of {
                $0.add("teacher", teacherKey)
                $0.add("input", input)
            }
        }
        let decoder = JSONDecoder()
        let labels = try await stage(
            "label", title, key: key, summary: summary
        ) {
            var answer: (([String]) throws -> [TaskAnswer])?
            _ = try await workspace.answers(
                to: keys, batch: 64 * (options.group?.size ?? 1),
                progress: {
                    observer.stageAdvanced(
                        Double($0) / Double(max(1, keys.count)), detail: "\($0) of \(keys.count) answers")
                }
            ) { indices in
                if answer == nil { answer = try open(teacher, at: paths) }
                let clock = ContinuousClock()
                var given: [TaskAnswer] = []
                let time = try clock.measure { given = try answer!(indices.map { inputs[$0] }) }
                let encoder = JSONEncoder()
                return try zip(indices, given).map { index, own in
                    StoredAnswer(
                        request: keys[index], body: try encoder.encode(own), inputTokens: own.inputTokens,
                        outputTokens: own.outputTokens, usd: 0, seconds: time.seconds / Double(indices.count))
                }
            }
            return Labels(count: keys.count, key: key, rows: [])
        }
        var result = labels
        let stored = try workspace.answers(to: keys)
        spent[key] = stored.values.reduce(0) { $0 + $1.seconds }
        result.rows = try zip(inputs, keys).map { input, key in
            guard let answer = stored[key] else {
                throw TaskError("an answer of the teacher is gone from the workspace")
            }
            return LabelledRow(input: input, answer: try decoder.decode(TaskAnswer.self, from: answer.body))
        }
        return result
    }

    /// Opens a teacher here, or at all processes that share the work.
    private func open(_ teacher: LocalTeacher, at paths: [String]) throws -> ([String]) throws -> [TaskAnswer] {
        guard let group = options.group else { return try teacher.open(paths, pool: pool) }
        return try SharedTeacher(teacher, paths: paths, group: group, pool: pool).answer
    }
}
