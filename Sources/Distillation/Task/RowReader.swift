internal import Foundation
internal import Tokenizers

/// Reads JSON lines.
struct RowReader {
    /// What answers must be.
    let form: AnswerForm

    private static let rowLimit = 1 << 16

    /// A row that a person reviewed counts instead of earlier ones with the same input.
    ///
    /// - Parameter misfit: takes a row whose answer is not as the task's schema says, instead of an error.
    func examples(_ url: URL, misfit: ((TaskError) -> Void)? = nil) throws -> [Example] {
        let rows = try marked(url, misfit: misfit)
        var last: [String: Int] = [:]
        for (number, row) in rows.enumerated() where row.isReviewed { last[Dataset.normal(row.example.input)] = number }
        guard !last.isEmpty else { return rows.map(\.example) }
        return rows.enumerated().compactMap { number, row in
            if let reviewed = last[Dataset.normal(row.example.input)], number < reviewed { return nil }
            return row.example
        }
    }

    /// Inputs of the gold that a person has looked at.
    func reviewedInputs(_ task: TaskDefinition) throws -> Set<String> {
        guard let path = task.train else { return [] }
        return Set(try marked(task.url(path)).filter(\.isReviewed).map { Dataset.normal($0.example.input) })
    }

    /// All rows as they stand, with whether a person has looked at them.
    func marked(
        _ url: URL, misfit: ((TaskError) -> Void)? = nil
    ) throws -> [(example: Example, isReviewed: Bool)] {
        try rows(url) { value, line in
            try self.example(value, url, line, misfit: misfit).map { ($0, value["reviewed"] == .bool(true)) }
        }.compactMap { $0 }
    }

    private func example(
        _ value: JSONValue, _ url: URL, _ line: Int, misfit: ((TaskError) -> Void)?
    ) throws -> Example? {
        let input = try input(value, url, line)
        guard let output = value["output"] else {
            throw TaskError("'output' is missing", file: url.path, line: line)
        }
        do {
            return Example(input: input, output: try form.text(output))
        } catch {
            let failure = TaskError(error.message, file: url.path, line: line)
            guard error.isOfSchema, let misfit else { throw failure }
            misfit(failure)
            return nil
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
        case .array(let list):
            guard let conversation = Conversation(input) else {
                throw TaskError("a message of 'input' must have 'role' and 'content'", file: url.path, line: line)
            }
            guard !list.isEmpty else { throw TaskError("'input' is empty", file: url.path, line: line) }
            return conversation.text
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
