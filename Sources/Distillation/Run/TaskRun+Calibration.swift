internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tokenizers

/// Confidences of the student and of an adapted teacher: fitted to rows they have not learnt from, measured on the test set.
extension TaskRun {
    private struct CalibratedStudent: Codable {
        var file: FileReference
        var run: CalibratedRun
    }

    /// Most rows to fit to: more change nothing that could be seen.
    private static let calibrationRows = 2000

    /// Fits the student's calibration and puts it among its files.
    ///
    /// - Returns: the student with calibrated confidences, and its files with `calibration.json`.
    /// - Throws: ``TaskError``, ``WorkspaceError``.
    func calibrate(_ student: SystemRun, of trained: Trained) async throws -> (SystemRun, Trained) {
        let wereLearnt = data.validation.isEmpty
        let rows = Array((wereLearnt ? data.train : data.validation).prefix(Self.calibrationRows))
        let key = key("calibrate") {
            for (index, file) in trained.files.enumerated() { $0.add("file \(index)", file) }
            $0.add("inputs", rows.map(\.input))
            $0.add("outputs", rows.map(\.output))
            $0.add("wereLearnt", wereLearnt)
            $0.add("test", data.testKey)
        }
        let fitted = try await workspace.stage("calibrate", key: key) {
            let package = try StudentPackage(folder: try file("students", trained.folder))
            let model = try package.model(pool: pool)
            let answers = try scored(rows, model: model)
            let calibration = Calibration(fitting: answers, wereLearnt: wereLearnt)
            let url = try file("calibrations/" + key.hexadecimal, Calibration.file)
            try AtomicFile.write(try calibration.data, to: url)
            return CalibratedStudent(
                file: try workspace.reference(to: url),
                run: CalibratedRun(calibration, try scored(data.test, model: model)))
        }
        var files = trained
        files.files.append(fitted.file)
        return (fitted.run.applied(to: student), files)
    }

    /// An adapted teacher's calibration, fitted to the rows it was not fitted to itself.
    ///
    /// - Parameter labels: what it says to the gold and to the validation rows.
    /// - Throws: ``TaskError``.
    func calibration(of labels: Labels, vocabulary: StudentVocabulary) throws -> Calibration {
        let wereLearnt = data.validation.isEmpty
        let given = Dictionary(labels.rows.map { ($0.input, $0.answer) }, uniquingKeysWith: { first, _ in first })
        let known = (wereLearnt ? data.train : data.validation).prefix(Self.calibrationRows).compactMap { row in
            given[row.input].map { (row, $0) }
        }
        return Calibration(
            fitting: try scoredAnswers(vocabulary).scored(known.map(\.0), known.map(\.1)), wereLearnt: wereLearnt)
    }

    /// The adapted teacher's run with calibrated confidences.
    func calibrated(_ evaluation: TeacherEvaluation, by calibration: Calibration) -> SystemRun {
        CalibratedRun(calibration, evaluation.answers).applied(to: evaluation.run)
    }

    /// An adapted teacher's answers with calibrated confidences, by which inputs without gold count where answers are not
    /// labels; without those that the task does not trust.
    ///
    /// - Throws: ``TaskError``.
    func trusted(_ labels: Labels, by calibration: Calibration, vocabulary: StudentVocabulary) throws -> Labels {
        let least = task.trust?.dropBelow
        guard least != nil || (calibration.method != .none && task.kind != .label) else { return labels }
        let reader = try scoredAnswers(vocabulary)
        let open = Set(data.inputsWithoutNoise + data.variants)
        var trusted = labels
        trusted.rows = []
        var dropped: Set<String> = []
        for var row in labels.rows {
            row.answer.confidence = calibration.confidence(
                row.answer.confidence, probabilities: reader.probabilities(row.answer))
            if open.contains(row.input), row.answer.confidence < least ?? 0 {
                dropped.insert(row.input)
            } else {
                trusted.rows.append(row)
            }
        }
        noteUntrusted(dropped: dropped, doubtful: [])
        trusted.key = ContentKey.of {
            $0.add("labels", labels.key)
            $0.add("inputs", trusted.rows.map(\.input))
            $0.add("confidences", trusted.rows.map { String($0.answer.confidence) })
        }
        return trusted
    }

    /// Keeps the inputs whose answers are not learnt from, and says how many there are and why.
    func noteUntrusted(dropped: Set<String>, doubtful: Set<String>) {
        untrusted.formUnion(dropped.union(doubtful))
        if !dropped.isEmpty {
            observer.note("\(dropped.count) answers are left out: the teacher is too unsure of them")
        }
        if !doubtful.isEmpty { observer.note("\(doubtful.count) answers wait for `understudy review`") }
    }

    func scoredAnswers(_ vocabulary: StudentVocabulary) throws -> ScoredAnswers {
        try ScoredAnswers(Scoring(task), format: vocabulary.format, tokenizer: vocabulary.tokenizer)
    }

    /// The test set's confidences under a calibration, and what it did to them.
    private struct CalibratedRun: Codable {
        let measurement: CalibrationMeasurement
        let confidences: [Double]

        init(_ calibration: Calibration, _ test: [ScoredAnswer]) {
            confidences = test.map { calibration.confidence($0.confidence, probabilities: $0.probabilities) }
            let right = test.map(\.isRight)
            measurement = CalibrationMeasurement(
                method: calibration.method.rawValue, temperature: calibration.temperature, rows: calibration.rows,
                source: calibration.source, before: Reliability(test.map(\.confidence), right: right),
                after: Reliability(confidences, right: right))
        }

        func applied(to run: SystemRun) -> SystemRun {
            var run = run
            run.confidences = confidences
            run.calibration = measurement
            return run
        }
    }

    private func scored(_ rows: [Example], model: TaskModel) throws -> [ScoredAnswer] {
        let reader = try ScoredAnswers(Scoring(task), format: model.format, tokenizer: model.model.tokenizer)
        return reader.scored(rows, try model.answer(rows.map(\.input), alternatives: reader.labels.count))
    }
}

/// Takes a model's answers for a calibration: with the probabilities of all labels, where there are any.
struct ScoredAnswers {
    let labels: [String]
    private let scoring: Scoring
    /// The labels' places by their tokens.
    private let places: [Int32: Int]

    /// - Throws: ``TaskError`` when a label has no token.
    init(_ scoring: Scoring, format: TaskFormat, tokenizer: Tokenizer) throws {
        self.scoring = scoring
        labels = format.kind == .label ? format.labels : []
        let tokens = try labels.map { try format.answerTokens($0, tokenizer: tokenizer)[0] }
        places = Dictionary(zip(tokens, labels.indices), uniquingKeysWith: { first, _ in first })
    }

    /// Of all labels, in their order; empty for texts and JSON.
    func probabilities(_ answer: TaskAnswer) -> [Float] {
        guard let first = answer.alternatives.first, !labels.isEmpty else { return [] }
        var probabilities = [Float](repeating: 0, count: labels.count)
        for (token, p) in zip(first.tokens, first.probabilities) {
            if let place = places[token] { probabilities[place] = p }
        }
        return probabilities
    }

    func scored(_ rows: [Example], _ answers: [TaskAnswer]) -> [ScoredAnswer] {
        zip(rows, answers).map { row, answer in
            ScoredAnswer(
                confidence: answer.confidence, probabilities: probabilities(answer),
                right: labels.firstIndex(of: row.output),
                isRight: scoring.isRight(answer.output, expected: row.output))
        }
    }
}
