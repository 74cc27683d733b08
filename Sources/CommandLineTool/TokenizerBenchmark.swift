internal import ArgumentParser
internal import Foundation
internal import LanguageModels
internal import Tokenizers

extension Benchmark {
    struct TokenizerBenchmark: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "tokenizer", abstract: "Megabytes of text cut into tokens a second, on one thread.")
        @Option(help: "A GGUF file, a folder in the Hugging Face layout, or a name of the catalogue.")
        var model = "smollm2-135m-instruct"
        @Option(help: "A text file.") var input: String
        @Option(help: "How often; the median counts.") var repetitions = 5
        @Flag(help: "Print JSON.") var json = false

        private struct Figures: Encodable {
            var bytes, tokens: Int
            var megabytesPerSecond: Double
        }

        func run() throws {
            guard let data = FileManager.default.contents(atPath: input) else {
                throw ModelError(.notFound, "no such file, or not readable", file: input)
            }
            let text = String(decoding: data, as: UTF8.self)
            let source = try openModel(ModelStore().resolve(model))
            let tokenizer = try Tokenizer(TokenizerDefinition(source.tokenizerSource))
            var speeds: [Double] = []
            var count = 0
            for _ in 0..<max(1, repetitions) {
                let time = ContinuousClock().measure { count = tokenizer.encode(text).count }
                speeds.append(Double(data.count) / 1e6 / time.seconds)
            }
            let figures = Figures(bytes: data.count, tokens: count, megabytesPerSecond: speeds.median)
            if json { return try Terminal.printJSON(figures) }
            print("\(String(format: "%.1f", figures.megabytesPerSecond)) MB/s, \(count) tokens of \(data.count) bytes")
        }
    }
}
