package import Foundation
internal import Tokenizers

/// The task's gold, extended by what a person decided.
///
/// A decision is a row more with `"reviewed": true`; it counts instead of earlier rows with the same input. The file is
/// written whole beside the old one and put in its place, so that it is never half there.
package struct GoldFile: Sendable {
    package let url: URL
    private let kind: TaskDefinition.OutputKind
    private let labels: [String]

    /// - Throws: ``TaskError`` when the task has no gold to learn from.
    package init(_ task: TaskDefinition, labels: [String]) throws {
        guard let path = task.train else {
            throw TaskError(
                "the task has no 'data.gold.train', the file that decisions are added to",
                file: task.folder.appendingPathComponent("task.yaml").path)
        }
        url = task.url(path)
        kind = task.kind
        self.labels = labels
    }

    /// An answer as the task writes it.
    ///
    /// - Throws: ``TaskError`` when it is none: no label of the task, no JSON, nothing.
    package func checked(_ output: String) throws -> String {
        switch kind {
        case .label:
            guard labels.contains(output) else {
                let nearest = Similarity.nearest(output, in: labels).map { "; did you mean '\($0)'?" } ?? ""
                throw TaskError("'\(output)' is not a label of the task\(nearest)")
            }
            return output
        case .text:
            guard output.contains(where: { !$0.isWhitespace }) else { throw TaskError("the answer is empty") }
            return output
        case .json:
            do { return try JSONParser.parse(output.utf8).text } catch { throw TaskError("not JSON: \(error)") }
        }
    }

    /// Adds a decision. One at a time: two at once would lose one.
    ///
    /// - Throws: ``TaskError``, ``WorkspaceError``; the file is then as it was.
    package func append(_ example: Example) throws {
        let answer = try checked(example.output)
        var output = JSONValue.string(answer)
        if kind == .json, let value = try? JSONParser.parse(answer.utf8) { output = value }
        let line = JSONValue.object([
            ("input", .string(example.input)), ("output", output), ("reviewed", .bool(true)),
        ]).text
        guard var data = FileManager.default.contents(atPath: url.path) else {
            throw TaskError("cannot be read", file: url.path)
        }
        if let last = data.last, last != 0x0A { data.append(0x0A) }
        data.append(Data((line + "\n").utf8))
        // A link stays a link: its file is written.
        try AtomicFile.write(data, to: url.resolvingSymlinksInPath())
    }
}
