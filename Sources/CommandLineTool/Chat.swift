internal import ArgumentParser
internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Tokenizers

struct Chat: ParsableCommand {
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
    @Option(help: "Threads; 0: one for each core.") var threads = 0

    func validate() throws {
        guard (model == nil) != (student == nil) else { throw ValidationError("Give either --model or --student.") }
        guard maxTokens >= 1 else { throw ValidationError("--max-tokens must be at least 1.") }
        guard temperature >= 0, temperature.isFinite else { throw ValidationError("--temperature must be at least 0.") }
        guard topP > 0, topP <= 1 else { throw ValidationError("--top-p must be above 0, at most 1.") }
        guard threads >= 0 else { throw ValidationError("--threads must be at least 0.") }
    }

    func run() throws {
        let pool = threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads)
        let path = try student ?? ModelStore().resolve(model!)
        let model = try LanguageModel(contentsOf: path, pool: pool)
        let engine = InferenceEngine(model: model, pool: pool)
        let asks: (String, inout [ChatMessage]) throws -> String = { text, history in
            if raw { return text }
            history.append(ChatMessage(role: "user", content: text))
            guard let template = model.chatTemplate else {
                throw ValidationError("\(path) has no chat template; use --raw.")
            }
            return try template.render(
                history, beginToken: self.text(model, model.tokenizer.definition.beginToken),
                endToken: self.text(model, model.tokenizer.definition.endToken))
        }
        var history: [ChatMessage] = []
        func answer(_ message: String) throws {
            let written = try asks(message, &history)
            var tokens = raw ? model.tokenizer.encode(written) : model.tokenizer.encodeParsingSpecials(written)
            if tokens.isEmpty, let begin = model.tokenizer.definition.beginToken { tokens = [begin] }
            var stops: Set<Int32> = []
            for name in ["<|im_end|>", "<|endoftext|>", "<|eot_id|>"] {
                if let id = model.tokenizer.id(of: name) { stops.insert(id) }
            }
            if let end = model.tokenizer.definition.endToken { stops.insert(end) }
            let request = GenerationRequest(
                prompt: tokens, maximumTokens: maxTokens, stopTokens: stops,
                sampling: SamplingOptions(temperature: temperature, topP: topP, seed: seed))
            _ = try engine.submit(request)
            var decoder = StreamingDecoder(model.tokenizer)
            var reply = ""
            while !engine.isIdle {
                for case .tokens(_, let added) in engine.step() {
                    let piece = added.map { decoder.append($0) }.joined()
                    reply += piece
                    Terminal.write(piece)
                }
            }
            let rest = decoder.finish()
            Terminal.write(rest + (raw && prompt != nil ? "" : "\n"))
            history.append(ChatMessage(role: "assistant", content: reply + rest))
        }
        if let prompt { return try answer(prompt) }
        while true {
            if isatty(STDIN_FILENO) == 1 { Terminal.write("> ") }
            guard let line = readLine() else { return }
            if line.isEmpty { continue }
            if raw { history = [] }
            try answer(line)
        }
    }

    private func text(_ model: LanguageModel, _ token: Int32?) -> String {
        token.map { model.tokenizer.decode([$0]) } ?? ""
    }
}
