internal import ArgumentParser
internal import Distillation
internal import Distributed
internal import Foundation
internal import Tensors
internal import Training

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The whole loop on a task: adapt the teacher, label, train, evaluate, package.",
        discussion: """
            Run again, it does only what changed. Killed, it goes on where it was. Under mpirun, where the program is \
            built with the trait MPI, the processes share the training and a local teacher's labels.
            """)

    @Argument(help: "A folder with a task.yaml.") var folder: String
    @Flag(name: .shortAndLong, help: "Ask no questions.") var yes = false
    @Option(help: "Minutes for adapting, labelling and training together; epochs and inputs are cut to fit.")
    var minutes: Double?
    @Option(help: "Threads; 0: one for each core.") var threads = 0
    @Flag(help: "Print the certificate as JSON on standard output.") var json = false

    func validate() throws {
        if let minutes, !(minutes > 0 && minutes.isFinite) { throw ValidationError("--minutes must be above 0.") }
        guard threads >= 0, threads <= 1024 else { throw ValidationError("--threads must be 0 to 1024.") }
    }

    func run() async throws {
        let helpers = { (pool: WorkerPool) -> [any GroupHelper] in
            [GradientWorker(pool: pool), LabelWorker(pool: pool)]
        }
        try await Launch.run(threads: threads, helpers: helpers) { group in
            var options = RunOptions(minutes: minutes, threads: threads)
            options.group = group
            if group != nil, threads == 0 { options.threads = Launch.threadCount }
            try await RunReport(folder: folder, options: options, json: json).run()
        }
    }
}

/// Runs a task and says what happened.
struct RunReport {
    var folder: String
    var options: RunOptions
    var json: Bool

    func run() async throws {
        let url = URL(fileURLWithPath: folder)
        let progress = ProgressPrinter()
        let run = try TaskRun(folder: url, options: options, observer: progress)
        let outcome = try await run.run()
        if json {
            try Terminal.printJSON(outcome.certificate)
        } else {
            print("")
            print(ProofTable(outcome.certificate))
            if outcome.certificate.systems.all.contains(where: \.isPriced) {
                print("* at the task's price for tokens; the others: this machine's time")
            }
            print("")
        }
        // The table goes to standard output, what follows to standard error: in this order also into one file.
        fflush(nil)
        if outcome.didNothing { Terminal.note("Nothing changed since the last run: every stage was there.") }
        Terminal.note(outcome.certificate.sentence)
        Terminal.note("report:  \(outcome.report.path)")
        Terminal.note("student: \(outcome.package.path)")
    }
}
