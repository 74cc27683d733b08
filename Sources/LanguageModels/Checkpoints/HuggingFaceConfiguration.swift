/// `config.json` as Transformers writes it, older and newer.
struct HuggingFaceConfiguration: Decodable {
    var modelType: String
    var vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads: Int
    var numKeyValueHeads, headDim, intermediateSize, maxPositionEmbeddings: Int?
    var rmsNormEps, ropeTheta, ropeLocalBaseFreq: Double?
    var tieWordEmbeddings: Bool?
    var attentionBias: Bool?
    var hiddenAct, hiddenActivation: String?
    var ropeScaling: Rotary?
    var ropeParameters: Rotary?
    var numExperts, numLocalExperts, numExpertsPerTok, moeIntermediateSize: Int?
    var sharedExpertIntermediateSize, sharedIntermediateSize: Int?
    var normTopkProb: Bool?
    var decoderSparseStep: Int?
    var mlpOnlyLayers: [Int]?
    var slidingWindow, slidingWindowPattern: Int?
    var useSlidingWindow: Bool?
    var layerTypes: [String]?
    var queryPreAttnScalar: Double?
    var embeddingMultiplier, residualMultiplier, attentionMultiplier, logitsScaling: Double?
    var attnLogitSoftcapping, finalLogitSoftcapping: Double?

    /// Rotary settings: of all layers, or (Gemma) of each kind of layer.
    struct Rotary: Decodable {
        var ropeTheta, factor, lowFreqFactor, highFreqFactor: Double?
        var originalMaxPositionEmbeddings: Int?
        var ropeType, type: String?
        var fullAttention, slidingAttention: Inner?

        struct Inner: Decodable {
            var ropeTheta, factor: Double?
            var ropeType: String?
        }

        func scaling(_ unsupported: (String) -> ModelError) throws -> ModelConfiguration.RotaryScaling? {
            switch ropeType ?? type ?? fullAttention?.ropeType ?? "default" {
            case "default": return nil
            case "linear": return .linear(factor: Float(factor ?? fullAttention?.factor ?? 1))
            case "llama3":
                return .llama3(
                    factor: Float(factor ?? 8), lowFrequency: Float(lowFreqFactor ?? 1),
                    highFrequency: Float(highFreqFactor ?? 4), originalContext: originalMaxPositionEmbeddings ?? 8192)
            case let other: throw unsupported("rotary scaling \(ModelError.quoted(other))")
            }
        }
    }

    /// - Throws: `ModelError` naming what is not supported or makes no sense.
    func configuration(_ path: String) throws -> ModelConfiguration {
        func unsupported(_ what: String) -> ModelError {
            ModelError(.unsupported, "\(what) is not supported", file: path)
        }
        guard let family = ModelConfiguration.Family(rawValue: modelType) else {
            let known = ModelConfiguration.Family.allCases.map(\.rawValue).joined(separator: ", ")
            throw ModelError(
                .unsupported, "model_type \(ModelError.quoted(modelType)) is not supported (\(known) are)", file: path)
        }
        let activation = hiddenActivation ?? hiddenAct ?? "silu"
        guard activation == (family == .gemma3 ? "gelu_pytorch_tanh" : "silu") else {
            throw unsupported("the activation \(ModelError.quoted(activation))")
        }
        guard attnLogitSoftcapping == nil, finalLogitSoftcapping == nil else { throw unsupported("softcapping") }
        guard family.hasAttentionBias || attentionBias != true else { throw unsupported("attention_bias here") }
        guard numAttentionHeads > 0 else {
            throw ModelError(.malformed, "'num_attention_heads' is \(numAttentionHeads)", file: path)
        }
        let rotary = ropeParameters ?? ropeScaling
        let theta = ropeParameters?.ropeTheta ?? ropeParameters?.fullAttention?.ropeTheta ?? ropeTheta ?? 10_000
        var c = ModelConfiguration(
            family: family, vocabularySize: vocabSize, width: hiddenSize, layerCount: numHiddenLayers,
            headCount: numAttentionHeads, keyValueHeadCount: numKeyValueHeads ?? numAttentionHeads,
            headDimension: headDim ?? hiddenSize / numAttentionHeads, feedForwardWidth: intermediateSize ?? 0,
            contextLength: maxPositionEmbeddings ?? 2048, normEpsilon: Float(rmsNormEps ?? 1e-6),
            ropeTheta: Float(theta), tiedEmbeddings: tieWordEmbeddings ?? (family == .gemma3),
            attentionBias: family.hasAttentionBias)
        c.normalizesQueriesAndKeys = family.normalizesQueriesAndKeys
        c.rotaryScaling = try rotary?.scaling(unsupported)
        if family == .gemma3 {
            c.setGemma(width: hiddenSize)
            c.slidingWindow = slidingWindow ?? 4096
            c.globalLayerInterval = try interval(unsupported) ?? slidingWindowPattern ?? 6
            c.localRopeTheta = Float(ropeParameters?.slidingAttention?.ropeTheta ?? ropeLocalBaseFreq ?? 10_000)
            c.attentionScale = Float(1 / (queryPreAttnScalar ?? 256).squareRoot())
        } else if family == .mixtral, let slidingWindow {
            c.slidingWindow = slidingWindow
        } else if useSlidingWindow == true {
            throw unsupported("use_sliding_window")
        }
        if family == .graniteMoEShared {
            c.embeddingScale = Float(embeddingMultiplier ?? 1)
            c.residualScale = Float(residualMultiplier ?? 1)
            c.attentionScale = Float(attentionMultiplier ?? 1)
            c.logitScale = 1 / Float(logitsScaling ?? 1)
        }
        if family.hasExperts { c.experts = try experts(family, unsupported) }
        try c.validate(file: path)
        return c
    }

    private func experts(_ family: ModelConfiguration.Family, _ unsupported: (String) -> ModelError) throws
        -> ExpertConfiguration
    {
        guard decoderSparseStep ?? 1 == 1, mlpOnlyLayers?.isEmpty ?? true else {
            throw unsupported("a mix of dense and expert layers")
        }
        let isQwen = family == .qwen2MoE || family == .qwen3MoE
        return ExpertConfiguration(
            routedCount: numExperts ?? numLocalExperts ?? (family == .qwen2MoE ? 60 : 8),
            activeCount: numExpertsPerTok ?? (family == .qwen2MoE ? 4 : 2),
            width: (isQwen ? moeIntermediateSize : intermediateSize) ?? 1408,
            sharedWidth: family == .qwen2MoE
                ? sharedExpertIntermediateSize ?? 5632 : family == .graniteMoEShared ? sharedIntermediateSize ?? 0 : 0,
            normalizesWeights: family.alwaysNormalizesWeights || normTopkProb ?? false,
            gatesShared: family == .qwen2MoE)
    }

    /// After how many layers one sees everything, as the list of layer types has it.
    private func interval(_ unsupported: (String) -> ModelError) throws -> Int? {
        guard let layerTypes else { return nil }
        let isGlobal = layerTypes.map { $0 == "full_attention" }
        let first = isGlobal.firstIndex(of: true).map { $0 + 1 } ?? 0
        let expected = isGlobal.indices.map { first > 0 && ($0 + 1) % first == 0 }
        guard isGlobal == expected else { throw unsupported("this order of local and global layers") }
        return first
    }
}

extension ModelConfiguration {
    /// What all Gemma 3 models have in common.
    mutating func setGemma(width: Int) {
        activation = .gelu
        hasPostNorms = true
        embeddingScale = Float(width).squareRoot()
        globalLayerInterval = 6
        localRopeTheta = 10_000
        tiedEmbeddings = true
    }
}
