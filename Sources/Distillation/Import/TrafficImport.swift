public import Foundation
internal import Tokenizers

/// Takes logs of requests and answers into a task as recorded traffic.
public struct TrafficImport: Sendable {
    /// What came of it.
    public struct Report: Sendable, Codable {
        public struct Skip: Sendable, Codable {
            public var reason: String
            public var count: Int
            /// Of the first ones.
            public var lines: [Int]
        }

        public var lines = 0
        /// Rows that are new in the task's file.
        public var rows = 0
        public var skipped: [Skip] = []
        /// Personal data that was masked, by kind.
        public var masked: [String: Int] = [:]
        /// The file with the rows.
        public var file = ""
        /// Whether the task was made.
        public var madeTask = false
        public var kind = ""
    }

    private let folder: URL
    private let masks: Bool

    /// Rows of more bytes are refused when the task is read.
    private static let rowLimit = 1 << 16
    private static let fileName = "traffic.jsonl"

    /// - Parameters:
    ///   - folder: the task's; made when there is none.
    ///   - masks: whether personal data is masked.
    public init(folder: URL, masks: Bool) {
        self.folder = folder
        self.masks = masks
    }

    private struct Row {
        var line: Int
        var system: String?
        var input: JSONValue
        var output: String
        var isJSON: Bool
        var isCall: Bool

        var text: String {
            let output: JSONValue =
                isJSON ? (try? JSONParser.parse(self.output.utf8)) ?? .string(self.output) : .string(self.output)
            return JSONValue.object([("input", input), ("output", output)]).text
        }
    }

    private struct Skips {
        var lines: [String: [Int]] = [:]
        var counts: [String: Int] = [:]
        mutating func add(_ reason: String, _ line: Int) {
            counts[reason, default: 0] += 1
            if counts[reason]! <= 10 { lines[reason, default: []].append(line) }
        }
    }

    /// Reads a log and extends the task's recorded traffic by what is new in it.
    ///
    /// - Throws: ``TaskError`` when the log cannot be read, has no usable line, or the task is not as expected.
    public func run(_ log: URL) throws -> Report {
        let data: Data
        do { data = try Data(contentsOf: log, options: .alwaysMapped) } catch {
            throw TaskError("cannot be read: \(error.localizedDescription)", file: log.path)
        }
        var report = Report()
        var skips = Skips()
        var personal = PersonalData()
        var rows: [Row] = []
        var line = 0
        for bytes in data.split(separator: 0x0A, omittingEmptySubsequences: false) {
            line += 1
            if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            report.lines += 1
            do {
                let exchange = try LoggedExchange(try JSONParser.parse(bytes))
                rows.append(row(exchange, line: line, personal: &personal))
            } catch let error as LoggedExchange.Unusable {
                skips.add(error.reason, line)
            } catch {
                skips.add("the line is no JSON", line)
            }
        }
        // One task has one instruction: the system message most lines have.
        let systems = Dictionary(rows.map { ($0.system ?? "", 1) }, uniquingKeysWith: +)
        let system = systems.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key ?? ""
        rows = rows.filter { row in
            if row.system ?? "" == system { return true }
            skips.add("the system message is another than that of most lines", row.line)
            return false
        }
        let taskFile = folder.appendingPathComponent("task.yaml")
        let exists = FileManager.default.fileExists(atPath: taskFile.path)
        let task = exists ? try? TaskDefinition(folder: folder) : nil
        if exists, task == nil {
            // A file it names may be the one that is to be written.
            try prepareRecorded(taskFile)
        }
        let definition = exists ? try TaskDefinition(folder: folder) : nil
        if let definition, definition.recorded == nil {
            throw TaskError(
                "the task names no file for it: add 'data: {recorded: \(Self.fileName)}'", file: taskFile.path)
        }
        let kind = definition?.kind ?? Self.kind(rows)
        rows = fitting(rows, form: definition?.form ?? AnswerForm(kind: kind), skips: &skips)
        let file =
            definition.flatMap { task in task.recorded.map { task.url($0) } }
            ?? folder.appendingPathComponent(Self.fileName)
        var seen = Self.lines(file)
        let old = (try? Data(contentsOf: file)) ?? Data()
        var new = ""
        for row in rows {
            let text = row.text
            guard text.utf8.count <= Self.rowLimit else {
                skips.add("the row is larger than \(Self.rowLimit) bytes", row.line)
                continue
            }
            guard seen.insert(ContentKey(of: text)).inserted else {
                skips.add("the row is there already", row.line)
                continue
            }
            new += text + "\n"
            report.rows += 1
        }
        report.skipped = skips.counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map {
            Report.Skip(reason: $0.key, count: $0.value, lines: skips.lines[$0.key] ?? [])
        }
        report.masked = Dictionary(personal.counts.map { ($0.key.rawValue, $0.value) }, uniquingKeysWith: +)
        report.file = file.path
        report.kind = kind.rawValue
        guard report.rows > 0 || seen.count > 0 else {
            let why =
                report.skipped.first.map { ": \($0.reason) (line \($0.lines.first ?? 0) and \($0.count - 1) more)" }
                ?? ""
            throw TaskError("there is no line in it that can be used\(why)", file: log.path)
        }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let separator = old.isEmpty || old.last == 0x0A ? "" : "\n"
        if report.rows > 0 { try AtomicFile.write(old + Data((separator + new).utf8), to: file) }
        if !exists {
            try AtomicFile.write(yaml(kind, system: system), to: taskFile)
            report.madeTask = true
        }
        return report
    }

    private func row(_ exchange: LoggedExchange, line: Int, personal: inout PersonalData) -> Row {
        personal.beginRow()
        var mask = { (text: String) in text }
        var found = personal
        if masks { mask = { found.mask($0) } }
        let input = Conversation(exchange.messages.map { .init(role: $0.role, content: mask($0.content)) }).json
        var output = exchange.output
        if exchange.isJSON, let value = try? JSONParser.parse(output.utf8) {
            output = value.mappingStrings(mask).text
        } else {
            output = mask(output)
        }
        let system = exchange.system.map(mask)
        personal = found
        return Row(
            line: line, system: system, input: input, output: output, isJSON: exchange.isJSON, isCall: exchange.isCall)
    }

    /// What kind of task the answers make: tool calls or JSON when all are; labels when they are few, short and often
    /// repeated.
    private static func kind(_ rows: [Row]) -> TaskDefinition.OutputKind {
        func isContainer(_ text: String) -> Bool {
            switch try? JSONParser.parse(text.utf8) {
            case .object?, .array?: true
            default: false
            }
        }
        if !rows.isEmpty, rows.allSatisfy(\.isCall) { return .tool }
        if !rows.isEmpty, rows.allSatisfy({ $0.isJSON || isContainer($0.output) }) { return .json }
        let outputs = Set(rows.map(\.output))
        let areShort = outputs.allSatisfy { $0.utf8.count <= 64 && !$0.contains("\n") }
        return areShort && outputs.count <= 500 && outputs.count * 3 <= rows.count ? .label : .text
    }

    /// The rows whose answers are of the task's kind, in its form.
    private func fitting(_ rows: [Row], form: AnswerForm, skips: inout Skips) -> [Row] {
        let allowed = Set(form.labels)
        var result: [Row] = []
        for var row in rows {
            switch form.kind {
            case .label:
                if row.isJSON {
                    skips.add("the answer is no label", row.line)
                    continue
                }
                if !allowed.isEmpty, !allowed.contains(row.output) {
                    skips.add("the answer is none of the task's labels", row.line)
                    continue
                }
            case .text: row.isJSON = false
            case .json, .labels, .tool:
                do {
                    row.output = try form.text(written: row.output)
                    row.isJSON = true
                } catch {
                    let reason =
                        switch form.kind {
                        case .labels: "the answer is no list of the task's labels"
                        case .tool: "the answer is no tool call"
                        default: "the answer is no JSON"
                        }
                    skips.add(error.isOfSchema ? "the answer does not fit the task's schema" : reason, row.line)
                    continue
                }
            }
            result.append(row)
        }
        return result
    }

    private static func lines(_ file: URL) -> Set<ContentKey> {
        guard let data = try? Data(contentsOf: file) else { return [] }
        return Set(
            data.split(separator: 0x0A).map { ContentKey(of: String(decoding: $0, as: UTF8.self)) })
    }

    /// Makes the file of the recorded traffic when the task names one that is not there yet.
    private func prepareRecorded(_ task: URL) throws {
        do { _ = try TaskDefinition(folder: folder) } catch let error as TaskError {
            guard error.message.hasPrefix("'data.recorded' names '"),
                let name = error.message.split(separator: "'").dropFirst(2).first.map(String.init)
            else { throw error }
            let url = name.hasPrefix("/") ? URL(fileURLWithPath: name) : folder.appendingPathComponent(name)
            try AtomicFile.write("", to: url)
        }
    }

    private func yaml(_ kind: TaskDefinition.OutputKind, system: String) -> String {
        let name = folder.standardizedFileURL.lastPathComponent
        var text = "name: \(JSONValue.string(name).text)\n"
        // A JSON string is a string of YAML, too.
        if !system.isEmpty { text += "instruction: \(JSONValue.string(system).text)\n" }
        text += "output: {kind: \(kind.rawValue)}\n"
        text += "data:\n  recorded: \(Self.fileName)\n"
        return text
    }
}
