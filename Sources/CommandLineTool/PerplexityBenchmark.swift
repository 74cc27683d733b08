internal import ArgumentParser
internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Tokenizers

extension Benchmark {
    struct PerplexityBenchmark: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "perplexity", abstract: "How well a model predicts a text: for comparing formats.")
        @Option(help: "A GGUF file, a folder in the Hugging Face layout, or a name of the catalogue.")
        var model = "smollm2-135m-instruct"
        @Option(help: "A text file.") var input: String
        @Option(help: "Tokens that are read together.") var window = 400
        @Option(help: "The most tokens of the text.") var tokens = 8192
        @Option(help: "How keys and values are kept: f16, q8 or f32.") var cacheFormat = CacheFormat.float16
        @Flag(help: "Weights and activations in fp32.") var exact = false
        @Flag(help: "Print JSON.") var json = false

        private struct Figures: Encodable {
            var model: String
            var predictions: Int
            var loss, perplexity: Double
        }

        func validate() throws {
            guard window >= 2, tokens >= 2 else { throw ValidationError("--window and --tokens must be at least 2.") }
        }

        func run() throws {
            guard let data = FileManager.default.contents(atPath: input) else {
                throw ModelError(.notFound, "no such file, or not readable", file: input)
            }
            let pool = WorkerPool()
            let model = try LanguageModel(
                contentsOf: ModelStore().resolve(model), precision: exact ? .float32 : .packed,
                contextLength: window + 1,
                pool: pool)
            let text = Array(model.tokenizer.encode(String(decoding: data, as: UTF8.self)).prefix(tokens))
            // Such models predict nothing sensible without it.
            let begin =
                model.tokenizer.definition.addsBeginToken
                ? model.tokenizer.definition.beginToken.map { [$0] } ?? [] : []
            let pass = DecoderPass(model: model, pool: pool)
            let width = model.configuration.vocabularySize
            var sum = 0.0
            var count = 0
            for start in stride(from: 0, to: text.count, by: window) {
                let part = begin + text[start..<min(start + window, text.count)]
                let cache = SequenceCache(model.configuration, format: cacheFormat)
                // Logits of a whole window would take a vocabulary's width for each of its tokens.
                for begin in stride(from: 0, to: part.count, by: 64) {
                    let end = min(begin + 64, part.count)
                    let logits = pass.run([SequenceInput(cache: cache, tokens: Array(part[begin..<end]), rows: .all)])
                    for place in begin..<min(end, part.count - 1) {
                        let row = logits[(place - begin) * width..<(place - begin + 1) * width]
                        let top = Double(row.max()!)
                        let total = row.reduce(0.0) { $0 + exp(Double($1) - top) }
                        sum -= Double(row[row.startIndex + Int(part[place + 1])]) - top - log(total)
                        count += 1
                    }
                }
            }
            guard count > 0 else { throw ModelError(.malformed, "fewer than two tokens", file: input) }
            let loss = sum / Double(count)
            let figures = Figures(
                model: model.name, predictions: count, loss: loss, perplexity: exp(loss))
            if json { return try Terminal.printJSON(figures) }
            print(
                String(format: "perplexity %.4f (loss %.5f over %d tokens)", figures.perplexity, loss, count))
        }
    }
}
