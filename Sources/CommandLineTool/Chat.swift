internal import ArgumentParser
internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Tokenizers

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk to a model or a student.",
        discussion: "Without --prompt, reads one message a line until the end of the input.")

    @Option(help: "A GGUF file, a folder in the Hugging Face layout, or a name of the catalogue.") var model: String?
    @Option(help: "A student package.") var student: String?
    @Flag(help: "Continue the bare text: no chat template, nothing but the continuation is printed.") var raw = false
    @Option(help: "One message; print the answer and stop.") var prompt: String?
    @Option(help: "The most tokens of an answer.") var maxTokens = 256
    @Option(help: "0: always the most probable token.") var temperature: Float = 0
    @Option(help: "Draw among the most probable tokens that together have this probability.") var topP: Float = 1
    @Option(help: "Seed of the drawing.") var seed: UInt64 = 0
    @Option(help: "The answer is JSON of the schema in this file.") var schema: String?
    @Option(help: "Threads; 0: one for each core.") var threads = 0

    func validate() throws {
        guard (model == nil) != (student == nil) else { throw ValidationError("Give either --model or --student.") }
        guard maxTokens >= 1 else { throw ValidationError("--max-tokens must be at least 1.") }
        guard temperature >= 0, temperature.isFinite else { throw ValidationError("--temperature must be at least 0.") }
        guard topP > 0, topP <= 1 else { throw ValidationError("--top-p must be above 0, at most 1.") }
        guard threads >= 0 else { throw ValidationError("--threads must be at least 0.") }
    }

    func run() async throws {
        let pool = threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads)
        let path = try student ?? ModelStore().resolve(model!)
        let engine = InferenceEngine(
            model: try LanguageModel(contentsOf: path, pool: pool, cache: ModelStore.packedCache), pool: pool)
        var options = TextOptions(
            maximumTokens: maxTokens, sampling: SamplingOptions(temperature: temperature, topP: topP, seed: seed))
        if let schema {
            guard let data = FileManager.default.contents(atPath: schema) else {
                throw ModelError(.notFound, "no such file, or not readable", file: schema)
            }
            options.constraint = try Constraint(jsonSchema: JSONParser.parse(data))
        }
        var history: [ChatMessage] = []
        func answer(_ message: String) async throws {
            history.append(ChatMessage(role: "user", content: message))
            var reply = ""
            for try await part in raw ? try engine.complete(message, options) : try engine.chat(history, options) {
                reply += part.text
                Terminal.write(part.text)
            }
            Terminal.write(raw && prompt != nil ? "" : "\n")
            history.append(ChatMessage(role: "assistant", content: reply))
        }
        if let prompt { return try await answer(prompt) }
        while true {
            if isatty(STDIN_FILENO) == 1 { Terminal.write("> ") }
            guard let line = readLine() else { return }
            if !line.isEmpty { try await answer(line) }
        }
    }
}
