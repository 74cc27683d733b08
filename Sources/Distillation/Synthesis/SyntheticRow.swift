package import Foundation
internal import Tokenizers

/// A row that was made up, and where it comes from.
package struct SyntheticRow: Sendable, Hashable {
    package struct Provenance: Sendable, Hashable, Codable {
        package var method: SynthesisMethod
        /// What the method did, such as which constraint or whose words.
        package var variant: String
        /// Who wrote the input; nil where no teacher did.
        package var teacher: String?
        /// The version of the prompts.
        package var prompt: String
        package var seed: Int
        /// SHA-256 of the inputs it was made from.
        package var parents: [String]
        package var scores: Scores
    }

    package struct Scores: Sendable, Hashable, Codable {
        /// The probability the teacher gave to the answer; nil where it was not asked.
        package var confidence: Double?
        /// Whether the teacher gave the answer the row was made with; nil where it was not asked.
        package var agreed: Bool?
        /// Jaccard similarity of the input to the nearest row that was there, where it is above a half.
        package var nearest: Double?
    }

    package var input: String
    package var output: String
    package var provenance: Provenance

    package init(input: String, output: String, provenance: Provenance) {
        self.input = input
        self.output = output
        self.provenance = provenance
    }
}

/// The rows of a task that were made up, in its workspace: JSON lines like the gold, with `provenance`.
package struct SyntheticFile: Sendable {
    package let url: URL

    /// - Parameter folder: the task's.
    package init(folder: URL) {
        url = folder.appendingPathComponent(".understudy/synthetic.jsonl").standardizedFileURL
    }

    package var exists: Bool { FileManager.default.fileExists(atPath: url.path) }

    /// Writes all rows at once, or none.
    ///
    /// - Throws: ``WorkspaceError``.
    package func write(_ rows: [SyntheticRow], kind: TaskDefinition.OutputKind) throws {
        try AtomicFile.write(to: url) { writer in
            for row in rows {
                let provenance = try JSONParser.parse(try StableJSON.encode(row.provenance))
                let line = JSONValue.object([
                    ("input", .string(row.input)), ("output", kind.value(of: row.output)), ("provenance", provenance),
                ])
                try writer.write(line.text + "\n")
            }
        }
    }

    private struct Line: Decodable {
        var provenance: SyntheticRow.Provenance
    }

    /// - Throws: ``TaskError`` with file and line.
    package func read(_ form: AnswerForm) throws -> [SyntheticRow] {
        let data: Data
        do { data = try Data(contentsOf: url) } catch {
            throw TaskError("cannot be read: \(error.localizedDescription)", file: url.path)
        }
        if data.isEmpty { return [] }
        let examples = try RowReader(form: form).marked(url).map(\.example)
        var rows: [SyntheticRow] = []
        for (number, line) in data.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            guard let read = try? StableJSON.decode(Line.self, from: Data(line)) else {
                throw TaskError("'provenance' is missing or not as expected", file: url.path, line: number + 1)
            }
            let example = examples[rows.count]
            rows.append(SyntheticRow(input: example.input, output: example.output, provenance: read.provenance))
        }
        return rows
    }
}
