internal import Foundation
internal import Tokenizers

/// One row: what comes in, and what the answer should be.
public struct Example: Sendable, Hashable, Codable {
    public var input: String
    /// The label, the text, or compact JSON.
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
    /// Labels in their order; empty unless the task's kind is label.
    public var labels: [String] = []
    /// What was left out, and why, in words for the report.
    public var notes: [String] = []

    /// Reads the task's files; test inputs never stay among those to learn from.
    ///
    /// - Throws: ``TaskError`` with file and line.
    public init(_ task: TaskDefinition) throws {
        var reader = RowReader(kind: task.kind, labels: task.labels)
        var duplicates = 0
        func examples(_ path: String?) throws -> [Example] {
            guard let path else { return [] }
            let rows = try reader.examples(task.url(path))
            var seen: Set<Example> = []
            let kept = rows.filter { seen.insert($0).inserted }
            duplicates += rows.count - kept.count
            return kept
        }
        train = try examples(task.train) + examples(task.recorded)
        labels = task.kind == .label ? (task.labels.isEmpty ? Set(train.map(\.output)).sorted() : task.labels) : []
        if task.kind == .label, task.labels.isEmpty { reader.labels = labels }
        if let label = task.abstain, !labels.contains(label) {
            throw TaskError(
                "'output.abstain' is '\(label)', which no example to learn from has as its label",
                file: task.url(task.train ?? task.recorded ?? "").path)
        }
        validation = try examples(task.validation)
        test = try examples(task.test)
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

/// Reads JSON lines.
struct RowReader {
    let kind: TaskDefinition.OutputKind
    /// Allowed labels; empty: all.
    var labels: [String]

    private static let rowLimit = 1 << 16

    func examples(_ url: URL) throws -> [Example] {
        let allowed = Set(labels)
        return try rows(url) { value, line in
            let input = try self.input(value, url, line)
            guard let output = value["output"] else {
                throw TaskError("'output' is missing", file: url.path, line: line)
            }
            switch self.kind {
            case .label:
                guard let label = output.stringValue, !label.isEmpty else {
                    throw TaskError("'output' must be a label", file: url.path, line: line)
                }
                guard allowed.isEmpty || allowed.contains(label) else {
                    let nearest = Similarity.nearest(label, in: self.labels).map { "; did you mean '\($0)'?" } ?? ""
                    throw TaskError(
                        "the label '\(label)' is not in the task's list\(nearest)", file: url.path, line: line)
                }
                return Example(input: input, output: label)
            case .text:
                guard let text = output.stringValue else {
                    throw TaskError("'output' must be text", file: url.path, line: line)
                }
                return Example(input: input, output: text)
            case .json:
                return Example(input: input, output: output.text)
            }
        }
    }

    func inputs(_ url: URL) throws -> [String] {
        try rows(url) { value, line in try self.input(value, url, line) }
    }

    func inputs(_ data: Data, file: String) throws -> [String] {
        let url = URL(fileURLWithPath: file)
        return try rows(data, url) { value, line in try self.input(value, url, line) }
    }

    private func input(_ value: JSONValue, _ url: URL, _ line: Int) throws -> String {
        guard let input = value["input"] else { throw TaskError("'input' is missing", file: url.path, line: line) }
        switch input {
        case .string(let text):
            guard text.contains(where: { !$0.isWhitespace }) else {
                throw TaskError("'input' is empty", file: url.path, line: line)
            }
            return text
        case .array(let messages):
            let lines = try messages.map { message in
                guard let role = message["role"]?.stringValue, let content = message["content"]?.stringValue else {
                    throw TaskError("a message of 'input' must have 'role' and 'content'", file: url.path, line: line)
                }
                return messages.count == 1 ? content : "\(role): \(content)"
            }
            guard !lines.isEmpty else { throw TaskError("'input' is empty", file: url.path, line: line) }
            return lines.joined(separator: "\n")
        default:
            throw TaskError("'input' must be text or a list of messages", file: url.path, line: line)
        }
    }

    private func rows<Row>(_ url: URL, _ read: (JSONValue, Int) throws -> Row) throws -> [Row] {
        let data: Data
        do {
            data = try Data(contentsOf: url, options: .alwaysMapped)
        } catch {
            throw TaskError("cannot be read: \(error.localizedDescription)", file: url.path)
        }
        return try rows(data, url, read)
    }

    private func rows<Row>(_ data: Data, _ url: URL, _ read: (JSONValue, Int) throws -> Row) throws -> [Row] {
        var result: [Row] = []
        var line = 0
        for bytes in data.split(separator: 0x0A, omittingEmptySubsequences: false) {
            line += 1
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            guard bytes.count <= Self.rowLimit else {
                throw TaskError(
                    "the row has \(bytes.count) bytes, at most \(Self.rowLimit) are allowed", file: url.path, line: line
                )
            }
            do {
                result.append(try read(try JSONParser.parse(bytes), line))
            } catch let failure as JSONParser.Failure {
                throw TaskError("not a JSON object: \(failure)", file: url.path, line: line)
            }
        }
        guard !result.isEmpty else { throw TaskError("there are no rows in it", file: url.path) }
        return result
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
            ("inputs", inputs.count, ContentKey.of { $0.add("inputs", inputs) }),
        ].map { Certificate.DataSet(name: $0.0, rows: $0.1, sha256: $0.2.hexadecimal) }
    }
}
