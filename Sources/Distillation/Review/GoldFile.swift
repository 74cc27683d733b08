package import Foundation
internal import Tokenizers

/// The task's gold, extended by what a person decided.
///
/// A decision is a row more with `"reviewed": true`; it counts instead of earlier rows with the same input. The file is
/// written whole beside the old one and put in its place, so that it is never half there.
package struct GoldFile: Sendable {
    package let url: URL
    private let form: AnswerForm

    /// - Throws: ``TaskError`` when the task has no gold to learn from.
    package init(_ task: TaskDefinition, labels: [String]) throws {
        guard let path = task.train else {
            throw TaskError(
                "the task has no 'data.gold.train', the file that decisions are added to",
                file: task.folder.appendingPathComponent("task.yaml").path)
        }
        url = task.url(path)
        form = AnswerForm(kind: task.kind, labels: labels, schema: task.schema)
    }

    /// An answer as the task writes it.
    ///
    /// - Throws: ``TaskError`` when it is none: no label of the task, no JSON, nothing, not as the task's schema says.
    package func checked(_ output: String) throws -> String {
        if form.kind == .text, !output.contains(where: { !$0.isWhitespace }) { throw TaskError("the answer is empty") }
        do { return try form.text(written: output) } catch { throw TaskError(error.message) }
    }

    /// Adds a decision. One at a time: two at once would lose one.
    ///
    /// - Throws: ``TaskError``, ``WorkspaceError``; the file is then as it was.
    package func append(_ example: Example) throws {
        let answer = try checked(example.output)
        let line = JSONValue.object([
            ("input", .string(example.input)), ("output", form.kind.value(of: answer)), ("reviewed", .bool(true)),
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
