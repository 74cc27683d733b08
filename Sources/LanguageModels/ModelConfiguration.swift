/// The shape of a decoder: what a family, a size and a checkpoint differ in.
public struct ModelConfiguration: Sendable, Hashable, Codable {
    /// Architectures this program runs, by their Hugging Face `model_type`.
    public enum Family: String, Sendable, Hashable, Codable, CaseIterable {
        case llama
        case qwen2
        case qwen3
        case gemma3 = "gemma3_text"
        case mixtral
        case qwen2MoE = "qwen2_moe"
        case qwen3MoE = "qwen3_moe"
        case graniteMoEShared = "granitemoeshared"
    }

    /// The gate's function in feed-forward networks.
    public enum Activation: String, Sendable, Hashable, Codable {
        case silu
        /// With the tanh approximation (Hendrycks & Gimpel 2016).
        case gelu
    }

    /// How rotary frequencies are stretched for contexts longer than those trained on.
    public enum RotaryScaling: Sendable, Hashable, Codable {
        /// All positions divided by a factor.
        case linear(factor: Float)
        /// Llama 3.1's: low frequencies divided, high ones kept, those between blended.
        case llama3(factor: Float, lowFrequency: Float, highFrequency: Float, originalContext: Int)
        /// Each frequency divided by a factor of its own: how GGUF files keep Llama 3.1's.
        case factors([Float])
    }

    public var family: Family
    /// Rows of the embedding.
    public var vocabularySize: Int
    /// Width of the residual stream.
    public var width: Int
    public var layerCount: Int
    /// Query heads; a multiple of `keyValueHeadCount`.
    public var headCount: Int
    public var keyValueHeadCount: Int
    public var headDimension: Int
    /// Hidden width of dense feed-forward networks; unused with experts.
    public var feedForwardWidth: Int
    /// Longest sequence, in tokens.
    public var contextLength: Int
    public var normEpsilon: Float
    public var ropeTheta: Float
    /// Whether the embedding is the vocabulary projection, too.
    public var tiedEmbeddings: Bool
    /// Whether query, key and value projections have a bias.
    public var attentionBias: Bool
    /// nil for dense models.
    public var experts: ExpertConfiguration?
    public var activation = Activation.silu
    /// Whether each head's queries and keys pass an RMS norm before they are rotated.
    public var normalizesQueriesAndKeys = false
    /// Whether attention and feed-forward outputs pass a norm of their own before they join the stream.
    public var hasPostNorms = false
    /// Embeddings are multiplied by this.
    public var embeddingScale: Float = 1
    /// What attention and feed-forward networks add to the stream is multiplied by this.
    public var residualScale: Float = 1
    /// Scores are multiplied by this; nil: 1 / sqrt(headDimension).
    public var attentionScale: Float?
    /// Logits are multiplied by this.
    public var logitScale: Float = 1
    public var rotaryScaling: RotaryScaling?
    /// Positions a token of a local layer sees, its own included; nil: all layers see everything.
    public var slidingWindow: Int?
    /// With a sliding window: every so many layers, one sees everything; 0: none does.
    public var globalLayerInterval = 0
    /// Rotary base of local layers, where it differs.
    public var localRopeTheta: Float?

    public init(
        family: Family, vocabularySize: Int, width: Int, layerCount: Int, headCount: Int, keyValueHeadCount: Int,
        headDimension: Int, feedForwardWidth: Int, contextLength: Int, normEpsilon: Float = 1e-5,
        ropeTheta: Float = 10_000, tiedEmbeddings: Bool = true, attentionBias: Bool = false,
        experts: ExpertConfiguration? = nil
    ) {
        self.family = family
        self.vocabularySize = vocabularySize
        self.width = width
        self.layerCount = layerCount
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.headDimension = headDimension
        self.feedForwardWidth = feedForwardWidth
        self.contextLength = contextLength
        self.normEpsilon = normEpsilon
        self.ropeTheta = ropeTheta
        self.tiedEmbeddings = tiedEmbeddings
        self.attentionBias = attentionBias
        self.experts = experts
    }
}

/// The shape of a mixture-of-experts layer.
public struct ExpertConfiguration: Sendable, Hashable, Codable {
    public var routedCount: Int
    /// Routed experts that work on one token.
    public var activeCount: Int
    /// Hidden width of one routed expert.
    public var width: Int
    /// Hidden width of the shared expert; 0: none.
    public var sharedWidth: Int
    /// Whether the chosen experts' weights are scaled to sum to one.
    public var normalizesWeights: Bool
    /// Whether the shared expert's output is multiplied by a sigmoid gate.
    public var gatesShared: Bool

    public init(
        routedCount: Int, activeCount: Int, width: Int, sharedWidth: Int, normalizesWeights: Bool = false,
        gatesShared: Bool = true
    ) {
        self.routedCount = routedCount
        self.activeCount = activeCount
        self.width = width
        self.sharedWidth = sharedWidth
        self.normalizesWeights = normalizesWeights
        self.gatesShared = gatesShared
    }
}

extension ModelConfiguration {
    /// Positions that a token of this layer sees; nil: all.
    package func window(_ layer: Int) -> Int? {
        guard let slidingWindow else { return nil }
        return globalLayerInterval > 0 && (layer + 1) % globalLayerInterval == 0 ? nil : slidingWindow
    }

    /// Canonical name of the norm before the feed-forward network.
    package var feedForwardNormName: String { hasPostNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm" }

    /// What the trainer does not know; nil when it can train the model.
    package var untrainable: String? {
        if normalizesQueriesAndKeys { return "norms of queries and keys" }
        if hasPostNorms { return "norms after attention" }
        if slidingWindow != nil { return "sliding windows" }
        if activation != .silu || rotaryScaling != nil { return "its activation or rotary scaling" }
        if embeddingScale != 1 || residualScale != 1 || logitScale != 1 || attentionScale != nil { return "its scales" }
        if let experts, experts.sharedWidth == 0 || !experts.gatesShared { return "experts without a gated shared one" }
        return nil
    }

    /// Checks sizes against each other and against limits that keep every product within an `Int`.
    ///
    /// - Throws: `ModelError` naming the field.
    public func validate(file: String? = nil) throws {
        func check(_ condition: Bool, _ message: @autoclosure () -> String) throws {
            if !condition { throw ModelError(.malformed, message(), file: file) }
        }
        func size(_ name: String, _ value: Int, _ limit: Int) throws {
            try check(value >= 1 && value <= limit, "\(name) is \(value), expected 1 to \(limit)")
        }
        try size("the vocabulary size", vocabularySize, 1 << 20)
        try size("the width", width, 1 << 16)
        try size("the layer count", layerCount, 1024)
        try size("the head count", headCount, 1024)
        try size("the key/value head count", keyValueHeadCount, 1024)
        try size("the head dimension", headDimension, 1024)
        try size("the context length", contextLength, 1 << 24)
        try check(
            headCount % keyValueHeadCount == 0,
            "\(headCount) heads cannot share \(keyValueHeadCount) key/value heads evenly")
        try check(headDimension % 8 == 0, "the head dimension \(headDimension) is no multiple of 8")
        for (name, scale) in [
            ("embedding", embeddingScale), ("residual", residualScale), ("attention", attentionScale ?? 1),
            ("logit", logitScale),
        ] {
            try check(scale.isFinite && scale != 0, "the \(name) scale is \(scale)")
        }
        try check(slidingWindow ?? 1 >= 1, "the sliding window is \(slidingWindow ?? 0), expected at least 1")
        try check(globalLayerInterval >= 0, "the interval of global layers is \(globalLayerInterval)")
        switch rotaryScaling {
        case nil: break
        case .linear(let factor):
            try check(factor > 0 && factor.isFinite, "the rotary factor is \(factor), expected above 0")
        case .factors(let factors):
            try check(
                factors.count == headDimension / 2 && factors.allSatisfy { $0 > 0 && $0.isFinite },
                "\(factors.count) rotary factors for heads of \(headDimension)")
        case .llama3(let factor, let low, let high, let context):
            try check(
                factor > 0 && low > 0 && high > low && high.isFinite && factor.isFinite && context > 0,
                "the rotary scaling (factor \(factor), \(low) to \(high), \(context)) makes no sense")
        }
        if let localRopeTheta {
            try check(
                localRopeTheta >= 1 && localRopeTheta.isFinite, "the local rotary base is \(localRopeTheta)")
        }
        try check(normEpsilon > 0 && normEpsilon < 1, "the norm's epsilon is \(normEpsilon), expected 0 to 1")
        try check(ropeTheta >= 1 && ropeTheta.isFinite, "the rotary base is \(ropeTheta), expected at least 1")
        guard let experts else { return try size("the feed-forward width", feedForwardWidth, 1 << 20) }
        try size("the expert count", experts.routedCount, 4096)
        try size("the active expert count", experts.activeCount, experts.routedCount)
        try size("the expert width", experts.width, 1 << 20)
        try check(
            experts.sharedWidth >= 0 && experts.sharedWidth <= 1 << 20,
            "the shared expert's width is \(experts.sharedWidth), expected 0 to \(1 << 20)")
    }

    /// Weights in all.
    public var parameterCount: Int {
        vocabularySize * width * (tiedEmbeddings ? 1 : 2) + width + layerCount
            * (blockOverhead + feedForward(all: true))
    }

    /// Weights that one token is multiplied with: attention, the experts it is sent to, the router and the vocabulary
    /// projection; the embedding is a lookup and not counted.
    public var activeParameterCount: Int {
        vocabularySize * width + width + layerCount * (blockOverhead + feedForward(all: false))
    }

    private var blockOverhead: Int {
        let q = headCount * headDimension
        let k = keyValueHeadCount * headDimension
        return (hasPostNorms ? 4 : 2) * width + width * (2 * q + 2 * k) + (attentionBias ? q + 2 * k : 0)
            + (normalizesQueriesAndKeys ? 2 * headDimension : 0)
    }

    private func feedForward(all: Bool) -> Int {
        guard let experts else { return 3 * width * feedForwardWidth }
        let routed = (all ? experts.routedCount : experts.activeCount) * experts.width
        let gate = experts.gatesShared && experts.sharedWidth > 0 ? width : 0
        return 3 * width * (routed + experts.sharedWidth) + experts.routedCount * width + gate
    }
}
