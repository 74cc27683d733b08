package import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors

/// A row that a person should look at.
public struct ReviewItem: Sendable, Hashable, Codable {
    public enum Reason: String, Sendable, Hashable, Codable {
        /// A gold label that a model of the other gold would not give.
        case gold
        /// An answer the student or the teacher is not sure of.
        case unsure
        /// A row that was made up, of which the teacher is not sure.
        case synthetic
    }

    public var id: Int
    public var input: String
    /// What stands there, or was answered.
    public var answer: String
    /// Others that come into question, the likeliest first.
    public var others: [String]
    public var reason: Reason
    /// The probability of the answer.
    public var confidence: Double
    /// Who gave the answer.
    public var by: String
}

/// The rows of a task that are most in doubt.
package struct ReviewQueue: Sendable {
    package let items: [ReviewItem]
    package let labels: [String]
    package let task: TaskDefinition

    /// Answers with at least this probability are left in peace.
    private static let sure = 0.9
    private static let others = 4

    /// Looks for what is in doubt: gold labels by confident learning, then inputs and synthetic rows by confidence. The
    /// test and validation sets are not looked at.
    ///
    /// - Parameters:
    ///   - limit: most rows.
    ///   - threads: 0: one for each core.
    ///   - progress: called with what is being done.
    /// - Throws: ``TaskError``, ``WorkspaceError``.
    package init(folder: URL, limit: Int, threads: Int = 0, progress: (String) -> Void = { _ in }) throws {
        let task = try TaskDefinition(folder: folder)
        let data = try Dataset(task)
        self.task = task
        labels = data.labels
        let reviewed = try RowReader(form: data.form(task)).reviewedInputs(task)
        var found: [ReviewItem] = []
        func add(
            _ input: String, _ answer: String, others: [String], _ reason: ReviewItem.Reason, _ confidence: Double,
            by: String
        ) {
            guard !reviewed.contains(Dataset.normal(input)) else { return }
            found.append(
                ReviewItem(
                    id: 0, input: input, answer: answer, others: others, reason: reason, confidence: confidence, by: by)
            )
        }
        if task.kind == .label {
            progress("looking for wrong labels in the gold")
            for issue in ConfidentLearning.issues(in: data.train, labels: labels, seed: UInt64(task.training.seed)) {
                let row = data.train[issue.row]
                add(row.input, row.output, others: [labels[issue.suggested]], .gold, issue.own, by: "gold")
            }
        }
        for row in data.synthetic {
            guard let confidence = row.provenance.scores.confidence, confidence < Self.sure else { continue }
            add(
                row.input, row.output, others: [], .synthetic, confidence, by: row.provenance.teacher ?? "synthesis")
        }
        for answer in try Self.answers(
            data.collectedInputs, task: task, labels: labels, threads: threads, progress: progress)
        where answer.confidence < max(Self.sure, task.trust?.reviewBelow ?? 0) {
            add(answer.input, answer.output, others: answer.others, .unsure, answer.confidence, by: answer.by)
        }
        // Wrong gold does the most harm; then the least sure.
        let sorted = found.enumerated().sorted { a, b in
            if (a.element.reason == .gold) != (b.element.reason == .gold) { return a.element.reason == .gold }
            if a.element.reason == .gold { return a.offset < b.offset }
            return (a.element.confidence, a.offset) < (b.element.confidence, b.offset)
        }
        items = sorted.prefix(limit).enumerated().map { number, entry in
            var item = entry.element
            item.id = number
            return item
        }
    }

    private struct Answered {
        var input: String
        var output: String
        var others: [String]
        var confidence: Double
        var by: String
    }

    /// The student's answers to the inputs, with calibrated confidence; without a student what the endpoint's teacher
    /// said, as far as it was asked.
    private static func answers(
        _ inputs: [String], task: TaskDefinition, labels: [String], threads: Int, progress: (String) -> Void
    ) throws -> [Answered] {
        guard !inputs.isEmpty else { return [] }
        let folder = task.folder.appendingPathComponent("student")
        if FileManager.default.fileExists(atPath: folder.appendingPathComponent(StudentPackage.formatFile).path) {
            progress("asking the student for \(inputs.count) answers")
            let package = try StudentPackage(folder: folder)
            let calibration = try Calibration(package: folder) ?? Calibration()
            let model = try package.model(pool: threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads))
            let names = try LabelTokens(model)
            let answers = try model.answer(inputs, alternatives: package.format.labels.count)
            return zip(inputs, answers).map { input, answer in
                Answered(
                    input: input, output: answer.output, others: names.others(answer, count: Self.others),
                    confidence: calibration.confidence(answer, kind: package.format.kind), by: "student")
            }
        }
        guard task.endpoint != nil, let workspace = try? Workspace(folder: task.folder, access: .reading) else {
            return []
        }
        var panel = TeacherPanel(task, data: try Dataset(task))
        try panel.calibrate(workspace)
        let opinions = try panel.opinions(inputs, workspace: workspace)
        let name = panel.members.map(\.endpoint.model).joined(separator: ", ")
        return zip(inputs, opinions).compactMap { input, opinion in
            guard let opinion else { return nil }
            return Answered(
                input: input, output: opinion.output,
                others: opinion.distribution.map(\.label).filter { $0 != opinion.output }.prefix(Self.others).map {
                    $0
                },
                confidence: opinion.confidence, by: name)
        }
    }
}

/// Names of the labels that a student's tokens stand for.
private struct LabelTokens {
    private var names: [Int32: String] = [:]

    init(_ model: TaskModel) throws {
        guard model.format.kind == .label else { return }
        for label in model.format.labels {
            names[try model.format.answerTokens(label, tokenizer: model.model.tokenizer)[0]] = label
        }
    }

    /// The likeliest labels but the answer.
    func others(_ answer: TaskAnswer, count: Int) -> [String] {
        guard let first = answer.alternatives.first else { return [] }
        let sorted = zip(first.tokens, first.probabilities).sorted { ($0.1, $1.0) > ($1.1, $0.0) }
        return Array(sorted.lazy.compactMap { names[$0.0] }.filter { $0 != answer.output }.prefix(count))
    }
}
