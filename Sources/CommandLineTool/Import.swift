internal import ArgumentParser
internal import Distillation
internal import Foundation

struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Take logs of OpenAI-style requests and answers into a task as recorded traffic.",
        discussion: """
            One JSON object a line: {"request": …, "response": …}, stored completions with "messages" and "choices", \
            streamed answers as lists of chunks, tool calls, structured outputs. Importing the same log again adds nothing.
            """)

    @Argument(help: "A file of JSON lines.") var logs: String
    @Option(help: "The task's folder; made with a task.yaml when there is none.") var task: String
    @Flag(help: "Mask e-mail and IP addresses, phone and card numbers, IBANs.") var mask = false
    @Flag(help: "Print the report as JSON on standard output.") var json = false

    func run() throws {
        let report = try TrafficImport(folder: URL(fileURLWithPath: task), masks: mask)
            .run(URL(fileURLWithPath: logs))
        if json { return try Terminal.printJSON(report) }
        print("\(report.rows) of \(report.lines) lines are new rows of \(report.file) (kind: \(report.kind))")
        for skip in report.skipped {
            let more = skip.count > skip.lines.count ? ", …" : ""
            print(
                "skipped \(skip.count): \(skip.reason) (line \(skip.lines.map(String.init).joined(separator: ", "))\(more))"
            )
        }
        if !report.masked.isEmpty {
            let kinds = report.masked.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }
            print("masked: \(kinds.joined(separator: ", "))")
        }
        if report.madeTask { print("made \(URL(fileURLWithPath: task).appendingPathComponent("task.yaml").path)") }
    }
}
