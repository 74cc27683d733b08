internal import Foundation
internal import Tokenizers

/// Writes a model as a folder that Transformers and vLLM load unchanged.
package enum HuggingFaceModelWriter {
    /// Writes `config.json`, `model.safetensors` (BF16), `tokenizer.json`, `tokenizer_config.json` and
    /// `generation_config.json` into an existing folder, each atomically.
    ///
    /// - Parameter endToken: number and text of the token that ends an answer.
    /// - Throws: `ModelError` when a file cannot be written.
    package static func write(_ contents: ModelContents, endToken: (id: Int32, text: String), to folder: String) throws
    {
        func write(_ data: Data, _ name: String) throws { try AtomicFile.write(data, to: folder + "/" + name) }
        try write(try json(configuration(contents.configuration, end: endToken.id)), "config.json")
        try write(contents.tokenizer.tokenizerJSON(), "tokenizer.json")
        let tokenizer = TokenizerConfiguration(eosToken: endToken.text, chatTemplate: contents.chatTemplate)
        try write(try json(tokenizer), "tokenizer_config.json")
        try write(try json(GenerationConfiguration(eosTokenID: endToken.id)), "generation_config.json")
        try SafetensorsWriter.write(contents, to: folder + "/model.safetensors")
    }

    private static func json(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return try encoder.encode(value)
    }

    private static func configuration(_ c: ModelConfiguration, end: Int32) -> Configuration {
        var result = Configuration(
            modelType: c.family.rawValue, vocabSize: c.vocabularySize, hiddenSize: c.width,
            numHiddenLayers: c.layerCount, numAttentionHeads: c.headCount, numKeyValueHeads: c.keyValueHeadCount,
            headDim: c.headDimension, intermediateSize: c.feedForwardWidth, maxPositionEmbeddings: c.contextLength,
            rmsNormEps: Double(c.normEpsilon), ropeTheta: Double(c.ropeTheta), tieWordEmbeddings: c.tiedEmbeddings,
            eosTokenId: end)
        result.architectures = [c.family.transformersClass]
        if let e = c.experts {
            result.intermediateSize = e.sharedWidth + e.routedCount * e.width
            result.numExperts = e.routedCount
            result.numExpertsPerTok = e.activeCount
            result.moeIntermediateSize = e.width
            result.sharedExpertIntermediateSize = e.sharedWidth
            result.normTopkProb = e.normalizesWeights
            result.decoderSparseStep = 1
            result.mlpOnlyLayers = []
        }
        return result
    }

    private struct Configuration: Encodable {
        var architectures: [String] = []
        var modelType: String
        var vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads, numKeyValueHeads, headDim: Int
        var intermediateSize, maxPositionEmbeddings: Int
        var rmsNormEps, ropeTheta: Double
        var tieWordEmbeddings: Bool
        var eosTokenId: Int32
        var hiddenAct = "silu"
        var torchDtype = "bfloat16"
        var numExperts, numExpertsPerTok, moeIntermediateSize, sharedExpertIntermediateSize: Int?
        var normTopkProb: Bool?
        var decoderSparseStep: Int?
        var mlpOnlyLayers: [Int]?
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
