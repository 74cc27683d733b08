internal import ArgumentParser
internal import Distillation
internal import Foundation

struct Synthesize: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a task's teacher make up rows to learn from.",
        discussion: """
            New inputs by several methods, each checked: plausible, new, unlike every row of the test and validation \
            sets, and answered by the teacher as it was meant. What was asked before is not asked again: killed, it \
            goes on where it was. The rows are in the task's workspace with where they come from; `understudy run` \
            learns from them when task.yaml has 'synthesis'.
            """)

    @Argument(help: "A folder with a task.yaml.") var folder: String
    @Option(help: "How many rows to end up with; what 'synthesis.rows' says when left out.") var rows: Int?
    @Option(help: "Threads; 0: one for each core.") var threads = 0
    @Flag(help: "Print the report as JSON on standard output.") var json = false

    func validate() throws {
        guard rows.map({ (1...1_000_000).contains($0) }) ?? true else {
            throw ValidationError("--rows must be 1 to 1000000.")
        }
        guard threads >= 0, threads <= 1024 else { throw ValidationError("--threads must be 0 to 1024.") }
    }

    func run() async throws {
        let run = try TaskRun(
            folder: URL(fileURLWithPath: folder), options: RunOptions(threads: threads), observer: ProgressPrinter())
        let report = try await run.synthesize(rows: rows)
        if json { return try Terminal.printJSON(report) }
        print("\(report.rows) rows in \(report.file)")
        for (method, made) in report.made.sorted(by: { $0.key < $1.key }) {
            print("  \(method): \(report.kept[method] ?? 0) of \(made)")
        }
        for reason in SynthesisReport.Reason.allCases {
            if let count = report.dropped[reason.rawValue] { print("dropped \(count): \(reason.words)") }
        }
        if let own = report.diversity, let gold = report.goldDiversity {
            print(
                "different words, pairs and triples over all: \(shares(own)); the gold's \(gold.texts) rows: \(shares(gold))"
            )
        }
        for note in report.notes { Terminal.note("note: " + note) }
        if report.usd > 0 {
            Terminal.note("the teacher's calls came to \(Format.dollars(report.usd)), all runs together")
        }
    }

    private func shares(_ diversity: Diversity) -> String {
        [diversity.distinctWords, diversity.distinctPairs, diversity.distinctTriples]
            .map { String(format: "%.2f", $0) }.joined(separator: ", ")
    }
}
