/// The most probable tokens at one place of an answer.
public struct TokenDistribution: Sendable, Hashable, Codable {
    /// Most probable first.
    public var tokens: [Int32]
    /// Before penalties and temperature; among choices, relative to what was allowed.
    public var probabilities: [Float]
    /// Probability of all other tokens together.
    public var tail: Float

    public init(tokens: [Int32], probabilities: [Float], tail: Float) {
        self.tokens = tokens
        self.probabilities = probabilities
        self.tail = tail
    }
}

/// The model's own view of a prompt's token.
public struct PromptScore: Sendable, Hashable {
    public var token: Int32
    /// nil for the first token, which nothing comes before.
    public var logProbability: Double?
    /// The most probable tokens at its place, where they were asked for.
    public var alternatives: TokenDistribution?
}

/// More of an answer.
public struct GenerationProgress: Sendable, Hashable {
    public var tokens: [Int32]
    /// Of each token, before penalties and temperature; 0 for those that the constraint left no choice about.
    public var logProbabilities: [Double]
    /// For each token, where they were asked for; forced ones have none.
    public var alternatives: [TokenDistribution?]
    /// What can be shown of the text so far and was not yet: not what may become a stop string, nor half a character.
    public var text: String
    /// Scores of the prompt's tokens, with the first part, where they were asked for.
    public var promptScores: [PromptScore]

    /// This and what came after it, as one.
    public func joined(with next: GenerationProgress) -> GenerationProgress {
        GenerationProgress(
            tokens: tokens + next.tokens, logProbabilities: logProbabilities + next.logProbabilities,
            alternatives: alternatives + next.alternatives, text: text + next.text,
            promptScores: promptScores + next.promptScores)
    }
}

/// What a model answered.
public struct GenerationResult: Sendable, Hashable {
    public enum Finish: String, Sendable, Hashable, Codable {
        /// A stop token or string, or the end of what a constraint allows.
        case stop
        /// `maximumTokens` were generated.
        case length
        /// The context is full.
        case context
    }

    /// The answer, without the token that ended it.
    public var tokens: [Int32]
    public var finish: Finish
    /// Σ log p over the answer's tokens and the one that ended it, before temperature; among choices, relative to what was
    /// allowed. `exp` of it is the probability the model gives to its answer.
    public var logProbability: Double
    /// Number of the choice, where choices were given.
    public var choice: Int?
    public var promptTokens: Int
    /// Of the prompt's tokens, those whose keys and values were there already.
    public var cachedTokens: Int
    /// One for each token chosen, the one that ended the answer included; empty unless asked for.
    public var alternatives: [TokenDistribution] = []
    /// The answer's text, without a stop string; empty unless asked for.
    public var text = ""
    /// Tokens that a constraint appended without asking the model.
    public var forcedTokens = 0
    /// Tokens that were guessed beforehand, and how many of them were right.
    public var draftedTokens = 0
    public var acceptedTokens = 0

    /// exp(logProbability).
    public var probability: Double { min(1, Double.exponential(logProbability)) }
}
