internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tokenizers

/// The student's confidences: fitted to rows it has not learnt from, measured on the test set.
extension TaskRun {
    private struct CalibratedStudent: Codable {
        var file: FileReference
        var calibration: Calibration
        var measurement: CalibrationMeasurement
        /// Of the test set's answers.
        var confidences: [Double]
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
            let test = try scored(data.test, model: model)
            let confidences = test.map { calibration.confidence($0.confidence, probabilities: $0.probabilities) }
            let right = test.map(\.isRight)
            let url = try file("calibrations/" + key.hexadecimal, Calibration.file)
            try AtomicFile.write(try calibration.data, to: url)
            return CalibratedStudent(
                file: try workspace.reference(to: url), calibration: calibration,
                measurement: CalibrationMeasurement(
                    method: calibration.method.rawValue, temperature: calibration.temperature, rows: calibration.rows,
                    source: calibration.source, before: Reliability(test.map(\.confidence), right: right),
                    after: Reliability(confidences, right: right)),
                confidences: confidences)
        }
        var run = student
        run.confidences = fitted.confidences
        run.calibration = fitted.measurement
        var files = trained
        files.files.append(fitted.file)
        return (run, files)
    }

    private func scored(_ rows: [Example], model: TaskModel) throws -> [ScoredAnswer] {
        let scoring = Scoring(task)
        let labels = model.format.kind == .label ? model.format.labels : []
        let tokens = try labels.map { try model.format.answerTokens($0, tokenizer: model.model.tokenizer)[0] }
        let places = Dictionary(zip(tokens, labels.indices), uniquingKeysWith: { first, _ in first })
        let answers = try model.answer(rows.map(\.input), alternatives: labels.count)
        return zip(rows, answers).map { row, answer in
            var probabilities: [Float] = []
            if let first = answer.alternatives.first, !labels.isEmpty {
                probabilities = [Float](repeating: 0, count: labels.count)
                for (token, p) in zip(first.tokens, first.probabilities) {
                    if let place = places[token] { probabilities[place] = p }
                }
            }
            return ScoredAnswer(
                confidence: answer.confidence, probabilities: probabilities,
                right: labels.firstIndex(of: row.output),
                isRight: scoring.isRight(answer.output, expected: row.output))
        }
    }
}
