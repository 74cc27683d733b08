internal import ArgumentParser
internal import CKernels
internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Tokenizers

struct Benchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Figures for this machine.",
        subcommands: [
            InferenceBenchmark.self, EngineBenchmark.self, TokenizerBenchmark.self, PerplexityBenchmark.self,
            TrainingBenchmark.self,
        ])

    struct InferenceBenchmark: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "inference", abstract: "Tokens a second: reading a prompt, and generating.")
        @Option(help: "A GGUF file, a folder in the Hugging Face layout, or a name of the catalogue.")
        var model = "smollm2-135m-instruct"
        @Option(help: "Threads; 0: one for each core.") var threads = 0
        @Option(help: "Tokens of the prompt.") var prompt = 512
        @Option(help: "Tokens to generate.") var generate = 128
        @Option(help: "Sequences that generate together.") var batch = 1
        @Option(help: "How often; the median counts.") var repetitions = 3
        @Flag(help: "Pack the weights anew instead of using those packed before.") var noCache = false
        @Flag(help: "Print JSON.") var json = false

        func validate() throws {
            guard prompt >= 1, generate >= 1, batch >= 1, repetitions >= 1, threads >= 0 else {
                throw ValidationError("--prompt, --generate, --batch and --repetitions must be at least 1.")
            }
        }

        private struct Figures: Encodable {
            var model: String
            var threads, prompt, generate, batch: Int
            var instructionSet: String
            var prefillTokensPerSecond, decodeTokensPerSecond, loadMilliseconds: Double
            var weightMegabytes, residentMegabytes: Double
        }

        func run() throws {
            let pool = threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads)
            let path = try ModelStore().resolve(model)
            let clock = ContinuousClock()
            var loaded: LanguageModel?
            let loading = try clock.measure {
                loaded = try LanguageModel(
                    contentsOf: path, contextLength: max(prompt, 1) + generate + 8, pool: pool,
                    cache: noCache ? nil : ModelStore.packedCache)
            }
            guard let model = loaded else { return }
            guard prompt + generate <= model.configuration.contextLength else {
                throw ValidationError(
                    "\(prompt) + \(generate) tokens are more than the model's context of \(model.configuration.contextLength)."
                )
            }
            var random = RandomNumbers(seed: 1)
            func tokens(_ count: Int) -> [Int32] {
                (0..<count).map { _ in Int32(random.below(model.tokenizer.vocabularySize)) }
            }
            var prefill: [Double] = []
            var decode: [Double] = []
            for _ in 0..<repetitions {
                let pass = DecoderPass(model: model, pool: pool)
                let cache = SequenceCache(model.configuration)
                let long = tokens(prompt)
                let reading = clock.measure {
                    for start in stride(from: 0, to: prompt, by: 512) {
                        let end = min(start + 512, prompt)
                        _ = pass.run([
                            SequenceInput(
                                cache: cache, tokens: Array(long[start..<end]), rows: end == prompt ? .last : .none)
                        ])
                    }
                }
                prefill.append(Double(prompt) / reading.seconds)
                let caches = (0..<batch).map { _ in SequenceCache(model.configuration) }
                _ = pass.run(caches.map { SequenceInput(cache: $0, tokens: [1]) })
                let generating = clock.measure {
                    for _ in 0..<generate {
                        let logits = pass.run(caches.map { SequenceInput(cache: $0, tokens: tokens(1)) })
                        precondition(logits[0].isFinite, "not a number among the logits")
                    }
                }
                decode.append(Double(generate * batch) / generating.seconds)
            }
            let figures = Figures(
                model: path, threads: pool.threadCount, prompt: prompt, generate: generate, batch: batch,
                instructionSet: String(cString: uk_isa_name(uk_isa_active())),
                prefillTokensPerSecond: prefill.median, decodeTokensPerSecond: decode.median,
                loadMilliseconds: loading.seconds * 1000, weightMegabytes: Double(model.weightBytes) / 1e6,
                residentMegabytes: Self.residentMegabytes)
            if json { return try Terminal.printJSON(figures) }
            func fixed(_ value: Double) -> String { String(format: "%.1f", value) }
            print("prefill \(fixed(figures.prefillTokensPerSecond)) tokens/s (\(prompt) tokens)")
            print("decode  \(fixed(figures.decodeTokensPerSecond)) tokens/s (\(batch) together)")
            print("loaded in \(fixed(figures.loadMilliseconds)) ms, resident \(fixed(figures.residentMegabytes)) MB")
        }

        /// Memory of this process that lies in RAM.
        static var residentMegabytes: Double {
            let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
            let kilobytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double($0) }
            return (kilobytes ?? 0) / 1000
        }
    }
}

extension Duration {
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}

extension [Double] {
    /// The middle of the sorted values; of an even number, the lower of the two.
    var median: Double { sorted()[(count - 1) / 2] }
}
