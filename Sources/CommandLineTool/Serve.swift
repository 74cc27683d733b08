public import ArgumentParser
internal import Foundation
internal import Inference
public import LanguageModels
internal import Service
internal import Tensors

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer OpenAI's API with a model or a student.",
        discussion: "On this machine's loopback address only. Ends at an interrupt, after the answers under way.")

    @Option(help: "A GGUF file, a folder in the Hugging Face layout, or a name of the catalogue.") var model: String?
    @Option(help: "A student package.") var student: String?
    @Option(help: "The port; 0: any free one.") var port = 8080
    @Option(help: "What clients call the model; its file's or the student's name when left out.") var name: String?
    @Option(help: "Requests that are answered at a time.") var parallel = 16
    @Option(help: "Requests that may wait; more are refused with 429.") var queue = 1024
    @Option(help: "Longest prompt and answer together, in tokens; the model's, at most 8,192, when left out.")
    var context: Int?
    @Option(help: "Megabytes for keys and values.") var cacheMegabytes = 1024
    @Option(help: "How keys and values are kept: f16, or q8 for half the memory.") var cacheFormat = CacheFormat.float16
    @Flag(help: "Guess tokens from what the prompt says, and check several at once.") var promptLookup = false
    @Option(help: "A smaller model that guesses tokens for --model; answers stay the same.") var draft: String?
    @Flag(help: "Compute --model in fp32 instead of with 8-bit activations: slow, for checks.") var exact = false
    @Option(help: "Threads; 0: one for each core.") var threads = 0

    func validate() throws {
        guard (model == nil) != (student == nil) else { throw ValidationError("Give either --model or --student.") }
        guard student == nil || context == nil else { throw ValidationError("--context goes with --model.") }
        guard !exact || (model != nil && draft == nil) else {
            throw ValidationError("--exact goes with --model, and not with --draft.")
        }
        guard draft == nil || (model != nil && !promptLookup) else {
            throw ValidationError("--draft goes with --model, and not with --prompt-lookup.")
        }
        guard (0...65535).contains(port) else { throw ValidationError("--port must be 0 to 65535.") }
        guard (1...1024).contains(parallel) else { throw ValidationError("--parallel must be 1 to 1024.") }
        guard queue >= 0, cacheMegabytes >= 1, threads >= 0, context ?? 1 >= 1 else {
            throw ValidationError("--queue, --cache-megabytes, --context and --threads must not be negative.")
        }
    }

    func run() async throws {
        let pool = threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads)
        let configuration = BatchEngine.Configuration(
            maximumSequences: parallel, maximumBatchTokens: 256, maximumWaiting: queue,
            cacheBytes: cacheMegabytes << 20, cacheFormat: cacheFormat,
            speculation: promptLookup
                ? Speculation(.promptLookup) : draft != nil ? Speculation(.draftModel) : .off)
        let served: ServedModel
        if let student {
            served = try ServedModel(
                studentAt: URL(fileURLWithPath: student), id: name, configuration: configuration, pool: pool)
        } else {
            served = try ServedModel(
                modelAt: ModelStore().resolve(model!), id: name, configuration: configuration, contextLength: context,
                precision: exact ? .float32 : .packed, draft: draft.map { try ModelStore().resolve($0) }, pool: pool)
        }
        try await Server(model: served, port: port).run { port in
            Terminal.note("understudy: \(served.id) on http://127.0.0.1:\(port)/v1")
        }
    }
}

extension CacheFormat: ExpressibleByArgument {}
