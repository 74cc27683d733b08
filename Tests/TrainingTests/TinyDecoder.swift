import LanguageModels
import Tensors
import Training

/// Small decoders with drawn weights, and data for them.
enum TinyDecoder {
    static let vocabulary = 40

    static func experts() -> ModelConfiguration {
        var c = dense()
        c.family = .qwen2MoE
        c.attentionBias = true
        c.experts = ExpertConfiguration(routedCount: 4, activeCount: 2, width: 16, sharedWidth: 16)
        return c
    }

    static func dense() -> ModelConfiguration {
        ModelConfiguration(
            family: .llama, vocabularySize: vocabulary, width: 32, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
            headDimension: 8, feedForwardWidth: 48, contextLength: 64)
    }

    static func parameters(_ c: ModelConfiguration, adapterRank: Int? = nil, seed: UInt64 = 3) -> Parameters {
        let parameters = Parameters(TrainableDecoder.specifications(c, adapterRank: adapterRank))
        var random = RandomNumbers(seed: seed)
        for entry in parameters.entries {
            let isNorm = entry.specification.name.hasSuffix("norm.weight")
            parameters.set(
                entry.specification.name,
                (0..<entry.specification.count).map { _ in isNorm ? 1 + 0.1 * random.normal() : 0.2 * random.normal() })
        }
        return parameters
    }

    static func decoder(
        _ c: ModelConfiguration, _ parameters: Parameters, threads: Int = 2, precision: Precision = .float32
    ) -> TrainableDecoder {
        TrainableDecoder(
            c, parameters: parameters, contextLength: 64,
            compute: Compute(pool: WorkerPool(threadCount: threads), precision: precision))
    }

    /// Sequences whose answer repeats their first tokens.
    static func copies(_ count: Int, seed: UInt64 = 9) -> [TrainingSequence] {
        var random = RandomNumbers(seed: seed)
        return (0..<count).map { _ in
            let word = (0..<2).map { _ in Int32(2 + random.below(8)) }
            return TrainingSequence(
                tokens: [0] + word + [1] + word.dropLast(), targets: word.map { .only($0) }, answers: word)
        }
    }
}
