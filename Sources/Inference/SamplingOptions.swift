/// How the next token is chosen. In this order: penalties and bias, temperature, then top-k, typical, top-p and min-p, each
/// on what the one before left.
public struct SamplingOptions: Sendable, Hashable, Codable {
    /// 0: always the most probable token.
    public var temperature: Float
    /// Only the k most probable tokens; 0: all.
    public var topK: Int
    /// Only the most probable tokens that together have this probability (Holtzman et al. 2020).
    public var topP: Float
    /// Only tokens at least this times as probable as the most probable one (Nguyen et al. 2024); 0: all.
    public var minP: Float
    /// Only tokens of about the expected surprise that together have this probability (Meister et al. 2022); 1: all.
    public var typicalP: Float
    /// Logits of tokens in the prompt or the answer are divided (above zero) or multiplied (below) by this (Keskar et al.
    /// 2019); 1: not.
    public var repetitionPenalty: Float
    /// Taken off the logit of every token that the answer has.
    public var presencePenalty: Float
    /// Taken off the logit of a token for each time the answer has it.
    public var frequencyPenalty: Float
    /// Added to tokens' logits.
    public var logitBias: [Int32: Float]
    /// Requests with the same seed draw the same tokens, whatever else runs.
    public var seed: UInt64

    public init(
        temperature: Float = 0, topK: Int = 0, topP: Float = 1, minP: Float = 0, typicalP: Float = 1,
        repetitionPenalty: Float = 1, presencePenalty: Float = 0, frequencyPenalty: Float = 0,
        logitBias: [Int32: Float] = [:], seed: UInt64 = 0
    ) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.minP = minP
        self.typicalP = typicalP
        self.repetitionPenalty = repetitionPenalty
        self.presencePenalty = presencePenalty
        self.frequencyPenalty = frequencyPenalty
        self.logitBias = logitBias
        self.seed = seed
    }

    /// - Throws: `InferenceError` naming the option that makes no sense.
    public func validate() throws {
        func check(_ name: String, _ value: Float, _ range: ClosedRange<Float>) throws {
            guard range.contains(value) else {
                throw InferenceError(
                    .invalidOption, "\(name) is \(value), expected \(range.lowerBound) to \(range.upperBound)")
            }
        }
        try check("temperature", temperature, 0...100)
        try check("top_p", topP, 0...1)
        try check("min_p", minP, 0...1)
        try check("typical_p", typicalP, 0...1)
        try check("repetition_penalty", repetitionPenalty, 0.01...100)
        try check("presence_penalty", presencePenalty, -100...100)
        try check("frequency_penalty", frequencyPenalty, -100...100)
        guard topK >= 0 else { throw InferenceError(.invalidOption, "top_k is \(topK), expected at least 0") }
        for value in logitBias.values { try check("logit_bias", value, -1000...1000) }
    }

    /// Whether tokens are drawn, and all of them can be.
    var drawsFromAll: Bool { temperature > 0 && topK == 0 && topP >= 1 && minP == 0 && typicalP >= 1 }

    /// Whether logits are used as they come.
    var leavesLogits: Bool {
        repetitionPenalty == 1 && presencePenalty == 0 && frequencyPenalty == 0 && logitBias.isEmpty
    }
}
