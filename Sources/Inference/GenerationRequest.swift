/// How the next token is chosen.
public struct SamplingOptions: Sendable, Hashable, Codable {
    /// 0: always the most probable token.
    public var temperature: Float
    /// Only the k most probable tokens; 0: all.
    public var topK: Int
    /// Only the most probable tokens that together have this probability (Holtzman et al. 2020).
    public var topP: Float
    /// Requests with the same seed draw the same tokens, whatever else runs.
    public var seed: UInt64

    public init(temperature: Float = 0, topK: Int = 0, topP: Float = 1, seed: UInt64 = 0) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.seed = seed
    }
}

/// One answer asked of a model.
public struct GenerationRequest: Sendable {
    /// Tokens to go on from; not empty, unless there is a prefix.
    public var prompt: [Int32]
    /// Tokens that come before the prompt and are shared with other requests.
    public var prefix: SharedPrefix?
    /// The most tokens to generate.
    public var maximumTokens: Int
    /// Tokens that end the answer and are not part of it.
    public var stopTokens: Set<Int32>
    public var sampling: SamplingOptions
    /// The answers that are allowed; nil: anything.
    public var choices: ChoiceTree?
    /// How many of the most probable tokens to report for each token chosen; 0: none.
    public var alternatives: Int
    /// Whether the answer must be one JSON value without spaces between its parts.
    public var isJSON: Bool

    public init(
        prompt: [Int32], prefix: SharedPrefix? = nil, maximumTokens: Int = 128, stopTokens: Set<Int32> = [],
        sampling: SamplingOptions = SamplingOptions(), choices: ChoiceTree? = nil,
        alternatives: Int = 0, isJSON: Bool = false
    ) {
        self.prompt = prompt
        self.prefix = prefix
        self.maximumTokens = maximumTokens
        self.stopTokens = stopTokens
        self.sampling = sampling
        self.choices = choices
        self.alternatives = alternatives
        self.isJSON = isJSON
    }
}

/// The most probable tokens at one place of an answer.
public struct TokenDistribution: Sendable, Hashable, Codable {
    /// Most probable first.
    public var tokens: [Int32]
    /// Before temperature; under a constraint, relative to what was allowed.
    public var probabilities: [Float]
    /// Probability of all other tokens together.
    public var tail: Float
}

/// What a model answered.
public struct GenerationResult: Sendable, Hashable {
    public enum Finish: String, Sendable, Hashable, Codable {
        /// A stop token, or the end of a choice.
        case stop
        /// `maximumTokens` were generated.
        case length
        /// The context is full.
        case context
    }

    /// The answer, without the token that ended it.
    public var tokens: [Int32]
    public var finish: Finish
    /// Σ log p over the answer's tokens and the one that ended it, before temperature; under a constraint, relative to what
    /// was allowed. `exp` of it is the probability the model gives to its answer.
    public var logProbability: Double
    /// Number of the choice, where choices were given.
    public var choice: Int?
    public var promptTokens: Int
    /// One for each token chosen, the one that ended the answer included; empty unless asked for.
    public var alternatives: [TokenDistribution] = []

    /// exp(logProbability).
    public var probability: Double { min(1, Double.exponential(logProbability)) }
}
