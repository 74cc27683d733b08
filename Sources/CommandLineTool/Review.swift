internal import ArgumentParser
internal import Distillation
internal import Foundation
internal import Service

struct Review: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "A page where a person confirms or corrects the rows that are in doubt.",
        discussion: """
            On this machine's loopback address only. In doubt are gold labels that a model of the other gold would not \
            give, and answers that the student, or the teacher, is not sure of. Decisions are added to the gold file, \
            where they count instead of earlier rows with the same input. The test set is not looked at.
            """)

    @Argument(help: "A folder with a task.yaml.") var folder: String
    @Option(help: "The port; 0: any free one.") var port = 8070
    @Option(help: "Most rows to look at.") var limit = 200
    @Option(help: "Threads; 0: one for each core.") var threads = 0
    @Flag(help: "Print the rows as JSON on standard output, and serve nothing.") var json = false

    func validate() throws {
        guard (0...65535).contains(port) else { throw ValidationError("--port must be 0 to 65535.") }
        guard (1...100_000).contains(limit) else { throw ValidationError("--limit must be 1 to 100000.") }
        guard threads >= 0, threads <= 1024 else { throw ValidationError("--threads must be 0 to 1024.") }
    }

    func run() async throws {
        let queue = try ReviewQueue(
            folder: URL(fileURLWithPath: folder), limit: limit, threads: threads, progress: Terminal.note)
        if json { return try Terminal.printJSON(queue.items) }
        guard !queue.items.isEmpty else { return Terminal.note("No row is in doubt.") }
        let server = try ReviewServer(queue)
        let count = queue.items.count
        try await server.run(port: port) { port in
            Terminal.note("\(count) rows to review on http://127.0.0.1:\(port)/ (interrupt to end)")
        }
        let progress = await server.progress
        Terminal.note("\(progress.confirmed) confirmed, \(progress.corrected) corrected of \(progress.rows)")
    }
}
