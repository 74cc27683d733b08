internal import ArgumentParser
internal import Distillation
internal import Foundation

struct Label: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask a task's teacher, behind an endpoint, for the inputs.",
        discussion: """
            What is answered is not asked again: killed, it goes on where it was. The answers are in the task's \
            workspace, where `understudy run` finds them.
            """)

    @Argument(help: "A folder with a task.yaml that names a teacher.endpoint.") var folder: String
    @Flag(help: "Print what it came to as JSON on standard output.") var json = false

    @Flag(help: "Only find out what the teachers can do, and print it as JSON.") var probe = false

    func run() async throws {
        let run = try TaskRun(folder: URL(fileURLWithPath: folder), observer: ProgressPrinter())
        if probe { return try Terminal.printJSON(try await run.probe()) }
        let outcome = try await run.label()
        if json {
            try Terminal.printJSON(outcome)
        } else {
            print(
                "\(outcome.answers) of \(outcome.inputs) inputs have an answer; all in all \(outcome.calls) answers, \(outcome.inputTokens) tokens in and \(outcome.outputTokens) out, \(Format.dollars(outcome.usd))"
            )
            if outcome.teachers.count > 1 {
                for own in outcome.teachers {
                    print(
                        "  \(own.model): \(own.calls) answers, \(own.inputTokens) tokens in and \(own.outputTokens) out, \(Format.dollars(own.usd))"
                    )
                }
            }
            if let curve = outcome.curve { print(curve.sentence.prefix(1).uppercased() + curve.sentence.dropFirst()) }
        }
    }
}
