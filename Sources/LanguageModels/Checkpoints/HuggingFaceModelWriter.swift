internal import Foundation
internal import Tokenizers

/// Writes a model as a folder that Transformers and vLLM load unchanged.
package enum HuggingFaceModelWriter {
    /// Writes `config.json`, `model.safetensors` (BF16), `tokenizer.json`, `tokenizer_config.json` and
    /// `generation_config.json` into an existing folder, each atomically.
    ///
    /// - Parameter endToken: number and text of the token that ends an answer.
    /// - Throws: `ModelError` when a file cannot be written.
    package static func write(
        _ contents: ModelContents, endToken: (id: Int32, text: String), type: ElementType = .bf16, to folder: String
    ) throws {
        if case .factors = contents.configuration.rotaryScaling {
            throw ModelError(
                .unsupported, "rotary factors one by one cannot be written in the Hugging Face layout",
                file: contents.name)
        }
        func write(_ data: Data, _ name: String) throws { try AtomicFile.write(data, to: folder + "/" + name) }
        try write(try json(configuration(contents.configuration, end: endToken.id, type: type)), "config.json")
        try write(contents.tokenizer.tokenizerJSON(), "tokenizer.json")
        let tokenizer = TokenizerConfiguration(eosToken: endToken.text, chatTemplate: contents.chatTemplate)
        try write(try json(tokenizer), "tokenizer_config.json")
        try write(try json(GenerationConfiguration(eosTokenID: endToken.id)), "generation_config.json")
        try SafetensorsWriter.write(contents, type: type, to: folder + "/model.safetensors")
    }

    private static func json(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return try encoder.encode(value)
    }

    private static func configuration(_ c: ModelConfiguration, end: Int32, type: ElementType) -> Configuration {
        var result = Configuration(
            modelType: c.family.rawValue, vocabSize: c.vocabularySize, hiddenSize: c.width,
            numHiddenLayers: c.layerCount, numAttentionHeads: c.headCount, numKeyValueHeads: c.keyValueHeadCount,
            headDim: c.headDimension, intermediateSize: c.feedForwardWidth, maxPositionEmbeddings: c.contextLength,
            rmsNormEps: Double(c.normEpsilon), ropeTheta: Double(c.ropeTheta), tieWordEmbeddings: c.tiedEmbeddings,
            eosTokenId: end)
        result.architectures = [c.family.transformersClass]
        result.torchDtype = type == .f32 ? "float32" : type == .f16 ? "float16" : "bfloat16"
        switch c.rotaryScaling {
        case nil, .factors: break
        case .linear(let factor): result.ropeScaling = .init(ropeType: "linear", factor: factor)
        case .llama3(let factor, let low, let high, let context):
            result.ropeScaling = .init(
                ropeType: "llama3", factor: factor, lowFreqFactor: low, highFreqFactor: high,
                originalMaxPositionEmbeddings: context)
        }
        if c.family == .gemma3 {
            result.hiddenActivation = "gelu_pytorch_tanh"
            result.hiddenAct = nil
            result.slidingWindow = c.slidingWindow
            result.layerTypes = (0..<c.layerCount).map {
                c.window($0) == nil ? "full_attention" : "sliding_attention"
            }
            result.ropeLocalBaseFreq = c.localRopeTheta.map(Double.init)
            let scale = Double(c.attentionScale ?? 1 / Float(c.headDimension).squareRoot())
            result.queryPreAttnScalar = (1 / (scale * scale)).rounded()
        } else if c.family == .mixtral {
            result.slidingWindow = c.slidingWindow
        } else if c.family == .graniteMoEShared {
            result.embeddingMultiplier = Double(c.embeddingScale)
            result.residualMultiplier = Double(c.residualScale)
            result.attentionMultiplier = Double(c.attentionScale ?? 1)
            result.logitsScaling = Double(1 / c.logitScale)
        }
        if let e = c.experts { setExperts(e, c.family, &result) }
        return result
    }

    private static func setExperts(
        _ e: ExpertConfiguration, _ family: ModelConfiguration.Family, _ result: inout Configuration
    ) {
        result.numExpertsPerTok = e.activeCount
        switch family {
        case .mixtral, .graniteMoEShared:
            result.numLocalExperts = e.routedCount
            result.intermediateSize = e.width
            if family == .graniteMoEShared { result.sharedIntermediateSize = e.sharedWidth }
        default:
            result.intermediateSize = e.sharedWidth + e.routedCount * e.width
            result.numExperts = e.routedCount
            result.moeIntermediateSize = e.width
            if family == .qwen2MoE { result.sharedExpertIntermediateSize = e.sharedWidth }
            result.normTopkProb = e.normalizesWeights
            result.decoderSparseStep = 1
            result.mlpOnlyLayers = []
        }
    }

    private struct Configuration: Encodable {
        var architectures: [String] = []
        var modelType: String
        var vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, numKeyValueHeads, headDim: Int
        var intermediateSize, maxPositionEmbeddings: Int
        var rmsNormEps, ropeTheta: Double
        var tieWordEmbeddings: Bool
        var eosTokenId: Int32
        var hiddenAct: String? = "silu"
        var hiddenActivation: String?
        var torchDtype = "bfloat16"
        var ropeScaling: Scaling?
        var slidingWindow: Int?
        var layerTypes: [String]?
        var ropeLocalBaseFreq, queryPreAttnScalar: Double?
        var embeddingMultiplier, residualMultiplier, attentionMultiplier, logitsScaling: Double?
        var numExperts, numExpertsPerTok, moeIntermediateSize, sharedExpertIntermediateSize: Int?
        var numLocalExperts, sharedIntermediateSize: Int?
        var normTopkProb: Bool?
        var decoderSparseStep: Int?
        var mlpOnlyLayers: [Int]?
    }

    private struct Scaling: Encodable {
        var ropeType: String
        var factor: Float
        var lowFreqFactor, highFreqFactor: Float?
        var originalMaxPositionEmbeddings: Int?
    }

    private struct TokenizerConfiguration: Encodable {
        var tokenizerClass = "PreTrainedTokenizerFast"
        var eosToken: String
        var addPrefixSpace = false
        var cleanUpTokenizationSpaces = false
        var chatTemplate: String?
    }

    private struct GenerationConfiguration: Encodable {
        var eosTokenID: Int32
        var doSample = false

        enum CodingKeys: String, CodingKey {
            case eosTokenID = "eosTokenId"
            case doSample
        }
    }
}
