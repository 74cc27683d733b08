internal import ArgumentParser
internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Tokenizers

extension Benchmark {
    struct EngineBenchmark: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "engine", abstract: "Whole requests: alone, together, held to a form, with guesses.",
            discussion: """
                Constraint: the time of a pass while answers are held to a regular expression that forces nothing, against \
                passes in which they are not; and tokens a second under a JSON Schema, parts that can only be so included, \
                against none. Guesses: tokens a second with prompt lookup on a text that repeats and on one that \
                does not, against none.
                """)
        @Option(help: "A GGUF file, a folder in the Hugging Face layout, or a name of the catalogue.")
        var model = "smollm2-135m-instruct"
        @Option(help: "Threads; 0: one for each core.") var threads = 0
        @Option(help: "Tokens of a request's prompt.") var prompt = 16
        @Option(help: "Tokens of its answer.") var generate = 1
        @Option(help: "Requests.") var requests = 200
        @Option(help: "Sequences that are answered together.") var batch = 16
        @Option(help: "How often comparisons are made; the median counts.") var repetitions = 5
        @Flag(help: "Print JSON.") var json = false

        private struct Figures: Encodable {
            var threads, prompt, generate, requests, batch: Int
            var latencyP50Milliseconds, latencyP95Milliseconds, requestsPerSecond: Double
            var constraintOverhead, schemaSpeed, schemaFirstMilliseconds: Double
            var lookupRepeating, lookupFresh: Double
        }

        func validate() throws {
            guard prompt >= 2, generate >= 1, requests >= 1, batch >= 1, repetitions >= 1, threads >= 0 else {
                throw ValidationError("--prompt must be at least 2; the other numbers at least 1.")
            }
        }

        func run() throws {
            let pool = threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads)
            let model = try LanguageModel(
                contentsOf: try ModelStore().resolve(self.model), contextLength: max(1024, prompt + generate + 8),
                pool: pool, cache: ModelStore.packedCache)
            let load = try requestLoad(model, pool)
            let constraint = try constraintOverhead(model, pool)
            let figures = Figures(
                threads: pool.threadCount, prompt: prompt, generate: generate, requests: requests, batch: batch,
                latencyP50Milliseconds: load.p50 * 1000, latencyP95Milliseconds: load.p95 * 1000,
                requestsPerSecond: load.perSecond, constraintOverhead: constraint.overhead,
                schemaSpeed: constraint.schemaSpeed, schemaFirstMilliseconds: constraint.first * 1000,
                lookupRepeating: try lookup(model, pool, repeating: true),
                lookupFresh: try lookup(model, pool, repeating: false))
            if json { return try Terminal.printJSON(figures) }
            print(
                String(
                    format: "a request of %d + %d tokens: p50 %.2f ms, p95 %.2f ms alone; %.0f a second, %d together",
                    prompt, generate, figures.latencyP50Milliseconds, figures.latencyP95Milliseconds,
                    figures.requestsPerSecond, batch))
            print(
                String(
                    format:
                        "constraint: %+.1f %% of a pass; under a JSON Schema %.2f x the tokens/s, known after %.0f ms",
                    figures.constraintOverhead * 100, figures.schemaSpeed, figures.schemaFirstMilliseconds))
            print(
                String(
                    format: "prompt lookup: %.2f x on a text that repeats, %.2f x on one that does not",
                    figures.lookupRepeating, figures.lookupFresh))
        }

        private func randomTokens(_ count: Int, _ model: LanguageModel, _ random: inout RandomNumbers) -> [Int32] {
            (0..<count).map { _ in Int32(random.below(model.tokenizer.vocabularySize)) }
        }

        private func requestLoad(_ model: LanguageModel, _ pool: WorkerPool) throws -> (
            p50: Double, p95: Double, perSecond: Double
        ) {
            var random = RandomNumbers(seed: 1)
            let all = (0..<requests + 8).map { _ in
                GenerationRequest(prompt: randomTokens(prompt, model, &random), maximumTokens: generate)
            }
            let clock = ContinuousClock()
            let alone = BatchEngine(
                model: model, configuration: .init(maximumSequences: 1, sharesPrefixes: false), pool: pool)
            _ = try alone.answer(Array(all.prefix(8)))
            let times = try all.dropFirst(8).map { request in
                try clock.measure { _ = try alone.answer([request]) }.seconds
            }.sorted()
            let together = BatchEngine(
                model: model, configuration: .init(maximumSequences: batch, sharesPrefixes: false), pool: pool)
            _ = try together.answer(Array(all.prefix(8)))
            let whole = try clock.measure { _ = try together.answer(Array(all.dropFirst(8))) }.seconds
            return (times[times.count / 2], times[times.count * 95 / 100], Double(requests) / whole)
        }

        /// A schema as structured outputs have them: strings, numbers, choices, a list of objects.
        private static let schema = """
            {"type": "object", "properties": {
              "name": {"type": "string"}, "kind": {"enum": ["person", "company", "place"]},
              "amount": {"type": "number"}, "note": {"type": "string"},
              "items": {"type": "array", "items": {"type": "object", "properties": {"text": {"type": "string"},
                "count": {"type": "integer"}}, "required": ["text", "count"], "additionalProperties": false}}},
             "required": ["name", "kind", "amount", "note", "items"], "additionalProperties": false}
            """

        private func constraintOverhead(_ model: LanguageModel, _ pool: WorkerPool) throws -> (
            overhead: Double, schemaSpeed: Double, first: Double
        ) {
            let schema = try Constraint(jsonSchema: try JSONParser.parse(Array(Self.schema.utf8)))
            let text = try Constraint(regularExpression: "[A-Za-z0-9 ,.;:'!?-]+")
            let prompt = model.tokenizer.encode("Describe the order as JSON.\n")
            let clock = ContinuousClock()
            let engine = BatchEngine(
                model: model, configuration: .init(maximumSequences: 1, sharesPrefixes: false), pool: pool)
            /// Seconds of a pass, and of a token.
            func times(_ constraint: Constraint?, seed: Int, length: Int = 96) throws -> (pass: Double, token: Double) {
                let before = engine.statistics.passes
                var tokens = 0
                let time = try clock.measure {
                    tokens = try engine.answer([
                        GenerationRequest(
                            prompt: prompt, maximumTokens: length,
                            sampling: SamplingOptions(temperature: 1, seed: UInt64(seed)), constraint: constraint)
                    ])[0].tokens.count
                }.seconds
                return (time / Double(engine.statistics.passes - before), time / Double(max(1, tokens)))
            }
            let first = try clock.measure { _ = try times(schema, seed: 0, length: 1) }.seconds
            // States that texts come by are known after some answers.
            for seed in 0..<3 { _ = try (times(schema, seed: seed), times(text, seed: seed)) }
            var overheads: [Double] = []
            var speeds: [Double] = []
            for round in 100..<100 + repetitions {
                let free = try times(nil, seed: round)
                overheads.append(try times(text, seed: round).pass / free.pass - 1)
                speeds.append(try free.token / times(schema, seed: round).token)
            }
            return (overheads.median, speeds.median, first)
        }

        /// Tokens a second with prompt lookup, as a ratio to none.
        private func lookup(_ model: LanguageModel, _ pool: WorkerPool, repeating: Bool) throws -> Double {
            var random = RandomNumbers(seed: 7)
            let block = randomTokens(24, model, &random)
            // What the model goes on with copies the block, or is drawn at random.
            let prompt = repeating ? block + block + block + block : block
            let sampling = repeating ? SamplingOptions() : SamplingOptions(temperature: 1.5, seed: 3)
            let clock = ContinuousClock()
            func perSecond(_ speculation: Speculation) throws -> Double {
                let engine = BatchEngine(
                    model: model,
                    configuration: .init(maximumSequences: 1, sharesPrefixes: false, speculation: speculation),
                    pool: pool)
                var tokens = 0
                let time = try clock.measure {
                    tokens = try engine.answer([
                        GenerationRequest(prompt: prompt, maximumTokens: 400, sampling: sampling)
                    ])[0].tokens.count
                }
                return Double(tokens) / time.seconds
            }
            return try (0..<repetitions).map { _ in
                let none = try perSecond(.off)
                return try perSecond(Speculation(.promptLookup)) / none
            }.median
        }
    }
}
