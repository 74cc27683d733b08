public import ArgumentParser
internal import CKernels
internal import Foundation
internal import LanguageModels
internal import Synchronization
internal import Tensors
public import Training

extension Benchmark {
    struct TrainingBenchmark: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "training", abstract: "Tokens a second of whole updates: forward, backward, optimiser.",
            discussion: """
                reference-moe: vocabulary 8192, width 576, 6 layers, 9 heads (3 for keys and values), 8 experts of 192 \
                of which 2 work, a shared one of 192, tied; 28.0 M parameters. \
                smollm2-135m: the shape of SmolLM2-135M, 134.5 M parameters. Weights are random. \
                The share of the peak counts six operations a token and active parameter (four for those that are frozen), \
                attention not included, against fp32 multiply-adds in registers alone; with --targets last it counts work that \
                is not done.
                """)

        enum Shape: String, ExpressibleByArgument, CaseIterable {
            case referenceMoE = "reference-moe"
            case smolLM2 = "smollm2-135m"
        }

        enum Targets: String, ExpressibleByArgument, CaseIterable { case all, last }

        @Option(help: "reference-moe or smollm2-135m.") var model = Shape.referenceMoE
        @Option(help: "Rank of low-rank adapters that are trained instead of the weights; 0: none.") var lora = 0
        @Option(help: "Threads; 0: one for each core.") var threads = 0
        @Option(help: "Sequences of an update.") var batch = 16
        @Option(help: "Tokens of a sequence.") var length = 64
        @Option(help: "Tokens of a sequence with a target: all, or the last one, as in a task of labels.") var targets =
            Targets.all
        @Option(
            help: """
                What the operands of products are rounded to: fp32, bf16 (with AVX512-BF16), int16 (block floating point, \
                with AVX2); the fastest here unless given, as in a run.
                """) var precision: Precision?
        @Flag(help: "Compute activations again in the backward pass.") var recompute = false
        @Option(help: "How many updates to time; the median counts.") var updates = 10
        @Flag(help: "Print JSON.") var json = false

        func validate() throws {
            guard batch >= 1, length >= 2, updates >= 1, (0...1024).contains(threads) else {
                throw ValidationError("--batch and --updates must be at least 1, --length at least 2.")
            }
            guard chosen.isNative else {
                throw ValidationError("--precision: this processor does not multiply \(chosen.rawValue).")
            }
            guard (0...256).contains(lora), lora == 0 || model == .smolLM2 else {
                throw ValidationError("--lora must be a rank from 1 to 256, with --model smollm2-135m.")
            }
        }

        private struct Figures: Encodable {
            var precision: String
            var model: String
            var lora, threads, batch, length: Int
            var targets: String
            var recompute: Bool
            var instructionSet: String
            var parameters, activeParameters: Int
            var tokensPerSecond, millisecondsPerUpdate, firstLoss, lastLoss: Double
            /// Memory as predicted before the start, and by how much the process grew.
            var forecastMegabytes, grownMegabytes: Double
            var operationsPerSecond, peakOperationsPerSecond, shareOfPeak: Double
        }

        private var chosen: Precision { precision ?? .fastest }

        private var shape: ModelConfiguration {
            switch model {
            case .referenceMoE:
                ModelConfiguration(
                    family: .qwen2MoE, vocabularySize: 8192, width: 576, layerCount: 6, headCount: 9,
                    keyValueHeadCount: 3, headDimension: 64, feedForwardWidth: 0, contextLength: max(length, 8),
                    attentionBias: true,
                    experts: ExpertConfiguration(routedCount: 8, activeCount: 2, width: 192, sharedWidth: 192))
            case .smolLM2:
                ModelConfiguration(
                    family: .llama, vocabularySize: 49152, width: 576, layerCount: 30, headCount: 9,
                    keyValueHeadCount: 3, headDimension: 64, feedForwardWidth: 1536, contextLength: max(length, 8))
            }
        }

        func run() throws {
            let c = shape
            let before = Self.peakMegabytes
            let pool = threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads)
            let compute = Compute(pool: pool, precision: chosen)
            let parameters = Parameters(
                TrainableDecoder.specifications(
                    c, adapterRank: lora == 0 ? nil : lora, trainsEmbedding: lora == 0))
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
                let answers = Array(tokens.dropFirst().suffix(targets == .all ? length : 1))
                return TrainingSequence(
                    tokens: Array(tokens.dropLast()), targets: answers.map { .only($0) }, answers: answers)
            }
            var options = TrainingOptions()
            options.batch = batch
            options.recompute = recompute
            options.epochs = 1
            let forecast = MemoryForecast(
                c, parameters.entries.map(\.specification), options: options, tokens: batch * length,
                rows: batch * (targets == .all ? length : 1), longest: length, validates: false,
                threads: pool.threadCount)
            let trainer = try Trainer(model: decoder, data: data, options: options)
            // The first two updates touch the memory.
            for _ in 0..<2 { try trainer.step() }
            let clock = ContinuousClock()
            var peaks = [Self.peak(pool)]
            let times = try (0..<updates).map { _ in try clock.measure { try trainer.step() }.seconds }
            peaks.append(Self.peak(pool))
            let trained = parameters.entries.filter(\.specification.trains).reduce(0) { $0 + $1.specification.count }
            let operations =
                lora == 0
                ? 6 * c.activeParameterCount : 4 * c.activeParameterCount + 6 * trained
            let perSecond = Double(batch * length) / times.median
            let figures = Figures(
                precision: chosen.rawValue, model: model.rawValue, lora: lora, threads: pool.threadCount,
                batch: batch, length: length,
                targets: targets.rawValue, recompute: recompute,
                instructionSet: String(cString: uk_isa_name(uk_isa_active())), parameters: c.parameterCount,
                activeParameters: c.activeParameterCount, tokensPerSecond: perSecond,
                millisecondsPerUpdate: times.median * 1000, firstLoss: trainer.record.points.first?.loss ?? .nan,
                lastLoss: trainer.record.points.last?.loss ?? .nan, forecastMegabytes: Double(forecast.total) / 1e6,
                grownMegabytes: Self.peakMegabytes - before,
                operationsPerSecond: Double(operations) * perSecond, peakOperationsPerSecond: peaks.max()!,
                shareOfPeak: Double(operations) * perSecond / peaks.max()!)
            if json { return try Terminal.printJSON(figures) }
            print(
                String(
                    format:
                        "%@: %.0f tokens/s, %.0f ms an update; %.0f of %.0f GFLOP/s, %.0f %%; %.0f MB, predicted %.0f",
                    figures.precision, figures.tokensPerSecond,
                    figures.millisecondsPerUpdate, figures.operationsPerSecond / 1e9,
                    figures.peakOperationsPerSecond / 1e9, figures.shareOfPeak * 100, figures.grownMegabytes,
                    figures.forecastMegabytes))
        }

        /// The most of this process's memory that ever lay in RAM.
        private static var peakMegabytes: Double {
            let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
            let kilobytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double($0) }
            return (kilobytes ?? 0) * 1024 / 1e6
        }

        /// Floating-point operations a second of multiply-adds in registers, all threads at once; the best of five.
        private static func peak(_ pool: WorkerPool) -> Double {
            let repeats = 200_000
            let sum = Atomic<Int>(0)
            let times = (0..<5).map { _ in
                ContinuousClock().measure {
                    pool.run(pool.threadCount) { _, _ in
                        // The result is used, so that the work is done.
                        if uk_multiply_adds(repeats) > 0 { sum.add(1, ordering: .relaxed) }
                    }
                }.seconds
            }
            return 2 * Double(pool.threadCount * repeats * uk_multiply_adds_count()) / times.min()!
        }
    }
}

extension Precision: ExpressibleByArgument {}
