internal import Foundation

/// One row: what comes in, and what the answer should be.
public struct Example: Sendable, Hashable, Codable {
    public var input: String
    /// The label, the text, or compact JSON: a list of labels, a value, a tool call.
    public var output: String

    public init(input: String, output: String) {
        self.input = input
        self.output = output
    }
}

/// Everything a run learns from and is judged by.
public struct Dataset: Sendable {
    public var train: [Example] = []
    public var validation: [Example] = []
    public var test: [Example] = []
    /// Unlabelled.
    public var inputs: [String] = []
    /// Inputs made of others for the teacher to answer.
    package internal(set) var variants: [String] = []
    /// Rows that were made up, where the task asks for them; their inputs stand among `inputs`, too.
    package private(set) var synthetic: [SyntheticRow] = []
    /// Labels in their order; empty unless answers are made of labels.
    public var labels: [String] = []
    /// What was left out, and why, in words for the report.
    public var notes: [String] = []

    /// Reads the task's files; test inputs never stay among those to learn from.
    ///
    /// - Throws: ``TaskError`` with file and line.
    public init(_ task: TaskDefinition) throws {
        let reader = RowReader(form: task.form)
        var duplicates = 0
        func examples(_ path: String?, misfit: ((TaskError) -> Void)? = nil) throws -> [Example] {
            guard let path else { return [] }
            let rows = try reader.examples(task.url(path), misfit: misfit)
            var seen: Set<Example> = []
            let kept = rows.filter { seen.insert($0).inserted }
            duplicates += rows.count - kept.count
            return kept
        }
        var misfits: [TaskError] = []
        train = try examples(task.train) + examples(task.recorded) { misfits.append($0) }
        if let first = misfits.first {
            notes.append(
                "\(misfits.count) recorded answers that do not fit 'output.schema' were dropped; the first: \(first)")
        }
        labels =
            task.labels.isEmpty ? Set(train.flatMap { task.kind.labels(of: $0.output) }).sorted() : task.labels
        guard !task.kind.hasLabels || !labels.isEmpty || train.isEmpty else {
            throw TaskError(
                "no example to learn from has a label", file: task.url(task.train ?? task.recorded ?? "").path)
        }
        if let label = task.abstain, !labels.contains(label) {
            throw TaskError(
                "'output.abstain' is '\(label)', which no example to learn from has as its label",
                file: task.url(task.train ?? task.recorded ?? "").path)
        }
        validation = try examples(task.validation)
        test = try examples(task.test)
        noteUnknownLabels(task)
        if let path = task.inputs {
            let rows = try reader.inputs(task.url(path))
            var seen: Set<String> = []
            inputs = rows.filter { seen.insert(Dataset.normal($0)).inserted }
            duplicates += rows.count - inputs.count
        }
        if duplicates > 0 { notes.append("\(duplicates) rows that occurred before were dropped") }

        let held = Set((test + validation).map { Dataset.normal($0.input) })
        let before = train.count + inputs.count
        train.removeAll { held.contains(Dataset.normal($0.input)) }
        inputs.removeAll { held.contains(Dataset.normal($0)) }
        if before > train.count + inputs.count {
            notes.append(
                "\(before - train.count - inputs.count) rows to learn from were dropped because the validation or test set has their input"
            )
        }
        let known = Set(train.map { Dataset.normal($0.input) })
        inputs.removeAll { known.contains(Dataset.normal($0)) }
        guard !train.isEmpty else {
            throw TaskError("no example to learn from is left", file: task.url(task.train ?? task.recorded ?? "").path)
        }
        if test.isEmpty { cutTest(seed: task.training.seed) }
        if validation.isEmpty { cutValidation(seed: task.training.seed) }
        try addSynthetic(task)
    }

    /// The inputs without those made from gold by slips of the keyboard, whose answers are the gold's.
    var inputsWithoutNoise: [String] { inputs(without: synthetic.filter { $0.provenance.method == .noise }) }

    /// The inputs that nobody made up.
    var collectedInputs: [String] { inputs(without: synthetic) }

    private func inputs(without rows: [SyntheticRow]) -> [String] {
        let made = Set(rows.map(\.input))
        return made.isEmpty ? inputs : inputs.filter { !made.contains($0) }
    }

    /// Says what of the held rows nobody can answer who has learnt from the examples.
    private mutating func noteUnknownLabels(_ task: TaskDefinition) {
        guard task.kind.hasLabels else { return }
        let known = Set(labels)
        for (name, rows) in [("test", test), ("validation", validation)] {
            let unknown = rows.map { Set(task.kind.labels(of: $0.output)).subtracting(known) }.filter { !$0.isEmpty }
            guard !unknown.isEmpty else { continue }
            let names = unknown.reduce(into: Set()) { $0.formUnion($1) }.sorted()
            notes.append(
                "\(unknown.count) of \(rows.count) \(name) rows have labels that no example to learn from has (\(names.prefix(5).joined(separator: ", "))\(names.count > 5 ? ", …" : "")): the student cannot give them and has these rows wrong"
            )
        }
    }

    /// The first validation rows whose answers a student can write.
    func writableValidation(_ count: Int, kind: TaskDefinition.OutputKind) -> [Example] {
        let known = Set(labels)
        return Array(
            validation.lazy.filter { kind.labels(of: $0.output).allSatisfy(known.contains) }.prefix(count))
    }

    /// Takes in what `synthesize` left in the workspace. The test and validation sets may be others since then.
    private mutating func addSynthetic(_ task: TaskDefinition) throws {
        guard task.synthesis != nil else { return }
        let file = SyntheticFile(folder: task.folder)
        guard file.exists else {
            notes.append("'synthesis' is asked for, but nothing was made up yet: run `understudy synthesize` first")
            return
        }
        let rows = try file.read(form(task))
        let held = Decontamination((test + validation).map(\.input))
        var known = Set((train.map(\.input) + inputs).map { Dataset.normal($0) })
        for row in rows
        where held.match(row.input, copies: row.provenance.method != .noise) == nil
            && known.insert(Dataset.normal(row.input)).inserted
        {
            synthetic.append(row)
            inputs.append(row.input)
        }
        if synthetic.count < rows.count {
            notes.append(
                "\(rows.count - synthetic.count) synthetic rows were left out: they are known, or near the test or validation set"
            )
        }
    }

    /// What JSON answers look like, guessed from those to learn from where the task does not say it; nil: nothing is
    /// known.
    func inferredSchema(_ task: TaskDefinition) -> AnswerSchema? {
        task.kind.isJSON && task.schema == nil ? SchemaInference.schema(train) : nil
    }

    /// What answers to learn from must be.
    package func form(_ task: TaskDefinition) -> AnswerForm {
        AnswerForm(kind: task.kind, labels: labels, schema: task.schema)
    }

    /// Case and spaces do not make an input another one.
    static func normal(_ text: String) -> String {
        text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    /// A fifth for the test where the task has none, at most 500 rows.
    private mutating func cutTest(seed: Int) {
        let cut = Dataset.cut(train, share: min(0.2, 500 / Double(train.count)), seed: "test \(seed)")
        (train, test) = (cut.rest, cut.taken)
        notes.append("the task names no test set: \(test.count) rows of the gold were set aside as one")
    }

    /// A tenth for validation where the task has none, at most 200 rows.
    private mutating func cutValidation(seed: Int) {
        guard train.count >= 100 else { return }
        let cut = Dataset.cut(train, share: min(0.1, 200 / Double(train.count)), seed: "validation \(seed)")
        (train, validation) = (cut.rest, cut.taken)
    }

    /// Rows are taken by their content, so that the same row is always on the same side.
    private static func cut(_ rows: [Example], share: Double, seed: String) -> (rest: [Example], taken: [Example]) {
        var rest: [Example] = []
        var taken: [Example] = []
        for row in rows {
            let hash = ContentKey(of: seed + "\n" + normal(row.input)).bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            if Double(hash) / 4_294_967_296 < share { taken.append(row) } else { rest.append(row) }
        }
        return (rest, taken)
    }
}

extension Dataset {
    /// What everything that learns from the gold depends on.
    var trainKey: ContentKey { Dataset.key(train + validation) }

    /// What every evaluation depends on.
    var testKey: ContentKey { Dataset.key(test) }

    private static func key(_ rows: [Example]) -> ContentKey {
        ContentKey.of {
            $0.add("inputs", rows.map(\.input))
            $0.add("outputs", rows.map(\.output))
        }
    }

    /// The sets with their sizes and digests, for the certificate.
    var certificateRows: [Certificate.DataSet] {
        [
            ("train", train.count, Dataset.key(train)), ("validation", validation.count, Dataset.key(validation)),
            ("test", test.count, Dataset.key(test)),
            (
                "synthetic", synthetic.count,
                Dataset.key(synthetic.map { Example(input: $0.input, output: $0.output) })
            ),
            ("inputs", inputs.count, ContentKey.of { $0.add("inputs", inputs) }),
        ].filter { $0.0 != "synthetic" || $0.1 > 0 }.map {
            Certificate.DataSet(name: $0.0, rows: $0.1, sha256: $0.2.hexadecimal)
        }
    }
}
