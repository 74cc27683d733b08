internal import ArgumentParser
internal import CKernels
internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Training

extension Benchmark {
    struct TrainingBenchmark: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "training", abstract: "Tokens a second of whole updates: forward, backward, optimiser.",
            discussion: """
                reference-moe: vocabulary 8192, width 576, 6 layers, 9 heads (3 for keys and values), 8 experts of 192 \
                of which 2 work, a shared one of 192, tied; 28.0 M parameters; loss on all tokens.
                """)

        @Option(help: "reference-moe.") var model = "reference-moe"
        @Option(help: "Threads; 0: one for each core.") var threads = 0
        @Option(help: "Sequences of an update.") var batch = 16
        @Option(help: "Tokens of a sequence.") var length = 64
        @Option(help: "How many updates to time; the median counts.") var updates = 10
        @Flag(help: "Print JSON.") var json = false

        func validate() throws {
            guard model == "reference-moe" else { throw ValidationError("--model must be reference-moe.") }
            guard batch >= 1, length >= 2, updates >= 1, (0...1024).contains(threads) else {
                throw ValidationError("--batch and --updates must be at least 1, --length at least 2.")
            }
        }

        private struct Figures: Encodable {
            var model: String
            var threads, batch, length: Int
            var instructionSet: String
            var parameters, activeParameters: Int
            var tokensPerSecond, millisecondsPerUpdate, firstLoss, lastLoss: Double
        }

        func run() throws {
            let c = ModelConfiguration(
                family: .qwen2MoE, vocabularySize: 8192, width: 576, layerCount: 6, headCount: 9, keyValueHeadCount: 3,
                headDimension: 64, feedForwardWidth: 0, contextLength: max(length, 8), attentionBias: true,
                experts: ExpertConfiguration(routedCount: 8, activeCount: 2, width: 192, sharedWidth: 192))
            let compute = Compute(pool: threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads))
            let parameters = Parameters(TrainableDecoder.specifications(c))
            var random = RandomNumbers(seed: 1)
            for entry in parameters.entries {
                let specification = entry.specification
                let isNorm = specification.name.hasSuffix("norm.weight")
                parameters.set(
                    specification.name,
                    (0..<specification.count).map { _ in isNorm ? 1 : specification.decays ? 0.02 * random.normal() : 0
                    })
            }
            let decoder = TrainableDecoder(c, parameters: parameters, contextLength: length, compute: compute)
            let data = (0..<batch * (updates + 2)).map { _ -> TrainingSequence in
                let tokens = (0...length).map { _ in Int32(random.below(c.vocabularySize)) }
                let answers = Array(tokens.dropFirst())
                return TrainingSequence(
                    tokens: Array(tokens.dropLast()), targets: answers.map { .only($0) }, answers: answers)
            }
            var options = TrainingOptions()
            options.batch = batch
            options.epochs = 1
            let trainer = try Trainer(model: decoder, data: data, options: options)
            // The first two updates touch the memory.
            for _ in 0..<2 { try trainer.step() }
            let clock = ContinuousClock()
            let times = try (0..<updates).map { _ in try clock.measure { try trainer.step() }.seconds }
            let figures = Figures(
                model: model, threads: compute.pool.threadCount, batch: batch, length: length,
                instructionSet: String(cString: uk_isa_name(uk_isa_active())), parameters: c.parameterCount,
                activeParameters: c.activeParameterCount, tokensPerSecond: Double(batch * length) / times.median,
                millisecondsPerUpdate: times.median * 1000, firstLoss: trainer.record.points.first?.loss ?? .nan,
                lastLoss: trainer.record.points.last?.loss ?? .nan)
            if json { return try Terminal.printJSON(figures) }
            print(
                String(
                    format: "%.0f tokens/s, %.0f ms an update", figures.tokensPerSecond, figures.millisecondsPerUpdate))
        }
    }
}
