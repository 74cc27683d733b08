internal import Foundation
internal import Inference
internal import LanguageModels

/// Making rows up, and learning from them.
extension TaskRun {
    /// Makes rows up with the task's teacher, leaves them in the workspace, and does nothing else. What was asked before
    /// is not asked again.
    ///
    /// - Parameter rows: how many; nil: as many as the task asks for.
    /// - Throws: ``TaskError``, ``WorkspaceError``.
    public func synthesize(rows: Int? = nil) async throws -> SynthesisReport {
        var plain = task
        plain.synthesis = nil
        let own = try Dataset(plain)
        var asking = task
        var settings = task.synthesis ?? .init()
        if let rows { settings.rows = rows }
        if task.teacher == nil, task.endpoint == nil {
            guard settings.methods.contains(.noise) else {
                throw TaskError(
                    "the task has no 'teacher', and 'synthesis.methods' names none that needs no teacher (noise)",
                    file: task.folder.appendingPathComponent("task.yaml").path)
            }
        }
        asking.synthesis = settings
        stageCount = 1
        observer.stageBegan("synthesize", number: 1, of: 1)
        let result: Synthesis.Result
        if let endpoint = task.endpoint {
            let teacher = try EndpointTeacher(
                asking, endpoint: endpoint, labels: own.labels, examples: own.train,
                prices: try task.prices(of: endpoint), workspace: workspace)
            do {
                let writer = EndpointSynthesisTeacher(teacher, task: asking)
                let requests = Synthesis(asking, data: own, teacher: writer).firstRequests()
                let estimate = try writer.estimate(requests, gold: own.train)
                if estimate.missing > 0 {
                    var text = try words(estimate, endpoint) + ", were all rows kept at once"
                    if let usd = task.budget?.usd {
                        let before = try workspace.callTotals().usd
                        text += "; the budget is \(Format.dollars(usd)), \(Format.dollars(before)) of it spent"
                        if before + estimate.usd > usd { text += ", which will not suffice for all" }
                    }
                    observer.note(text)
                }
                result = try await synthesize(asking, own, teacher: writer)
            } catch {
                await teacher.shutDown()
                throw error
            }
            await teacher.shutDown()
        } else if let name = task.teacher {
            let teacher = try localTeacher(name, asking, own)
            var made = try await synthesize(asking, own, teacher: teacher)
            if let note = teacher.note { made.report.notes.append(note) }
            result = made
        } else {
            result = try await synthesize(asking, own, teacher: nil)
        }
        let file = SyntheticFile(folder: task.folder)
        try file.write(result.rows, kind: task.kind)
        var report = result.report
        let labels = result.rows.flatMap { task.kind.labels(of: $0.output) }
        report.answers = Dictionary(labels.map { ($0, 1) }, uniquingKeysWith: +)
        report.file = file.url.path
        report.usd = try workspace.callTotals().usd
        if task.synthesis == nil {
            report.notes.append("the task does not ask for them: `run` learns from them once task.yaml has 'synthesis'")
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try AtomicFile.write(
            try encoder.encode(report), to: workspace.hiddenFolder.appendingPathComponent("synthetic-report.json"))
        observer.stageEnded("\(report.rows) rows", reused: false)
        return report
    }

    private func synthesize(
        _ task: TaskDefinition, _ data: Dataset, teacher: (any SynthesisTeacher)?
    ) async throws -> Synthesis.Result {
        try await Synthesis(task, data: data, teacher: teacher).run { observer.stageAdvanced($0, detail: $1) }
    }

    private func localTeacher(
        _ name: String, _ task: TaskDefinition, _ data: Dataset
    ) throws -> LocalSynthesisTeacher {
        let teacher = try prompted(name)
        let key = try key("synthesize") {
            $0.add("model", try modelKey(name))
            addPrompt(to: &$0)
            $0.add("labels", data.labels)
            $0.add("train", data.trainKey)
        }
        return LocalSynthesisTeacher(
            teacher, name: name, key: key, task: task, data: data, workspace: workspace, pool: pool)
    }

    /// What the student learns from besides the gold, with the rows that were made up: a row keeps the answer it came
    /// with, unless the run's teacher has an opinion of its own with probabilities; where that is too unsure to be
    /// trusted, the row is left out. Rows made from gold by slips of the keyboard keep the gold's.
    func adding(syntheticTo labels: Labels?) -> Labels? {
        guard !data.synthetic.isEmpty else { return labels }
        var labels = labels ?? Labels(count: 0, key: ContentKey(of: "synthetic"), rows: [])
        var places = Dictionary(
            labels.rows.enumerated().map { ($1.input, $0) }, uniquingKeysWith: { first, _ in first })
        for row in data.synthetic {
            let answer = TaskAnswer(
                output: row.output, confidence: row.provenance.scores.confidence ?? 1, inputTokens: 0, outputTokens: 0,
                tokens: [], alternatives: [])
            if let place = places[row.input] {
                guard row.provenance.method == .noise, labels.rows[place].answer.output != row.output else { continue }
                labels.rows[place].answer = answer
            } else if row.provenance.method == .noise || !untrusted.contains(row.input) {
                places[row.input] = labels.rows.count
                labels.rows.append(LabelledRow(input: row.input, answer: answer))
            }
        }
        labels.key = ContentKey.of {
            $0.add("labels", labels.key)
            $0.add("inputs", data.synthetic.map(\.input))
            $0.add("outputs", data.synthetic.map(\.output))
        }
        return labels
    }
}
