/// One answer asked of a model.
public struct GenerationRequest: Sendable {
    /// Tokens to go on from; not empty.
    public var prompt: [Int32]
    /// Tokens that come before the prompt and are shared with other requests.
    public var prefix: SharedPrefix?
    /// The most tokens to generate.
    public var maximumTokens: Int
    /// Tokens that end the answer and are not part of it.
    public var stopTokens: Set<Int32>
    /// Texts that end the answer and are not part of its text, wherever tokens begin and end.
    public var stopStrings: [String]
    public var sampling: SamplingOptions
    /// The answers that are allowed; nil: anything.
    public var choices: ChoiceTree?
    /// What the answer may look like; nil: anything.
    public var constraint: Constraint?
    /// How many of the most probable tokens to report for each token chosen; 0: none.
    public var alternatives: Int
    /// Whether to report log-probabilities of the prompt's tokens, with `alternatives` for each.
    public var scoresPrompt: Bool
    /// Higher ones are begun first; those that wait rise with time.
    public var priority: Int
    /// Whose request this is: of equal priority, whoever has the fewest running comes first.
    public var tenant: String?
    /// Whether to work out the answer's text as it comes.
    public var writesText: Bool

    public init(
        prompt: [Int32], prefix: SharedPrefix? = nil, maximumTokens: Int = 128, stopTokens: Set<Int32> = [],
        stopStrings: [String] = [], sampling: SamplingOptions = SamplingOptions(), choices: ChoiceTree? = nil,
        constraint: Constraint? = nil, alternatives: Int = 0, scoresPrompt: Bool = false, priority: Int = 0,
        tenant: String? = nil, writesText: Bool = false
    ) {
        self.prompt = prompt
        self.prefix = prefix
        self.maximumTokens = maximumTokens
        self.stopTokens = stopTokens
        self.stopStrings = stopStrings
        self.sampling = sampling
        self.choices = choices
        self.constraint = constraint
        self.alternatives = alternatives
        self.scoresPrompt = scoresPrompt
        self.priority = priority
        self.tenant = tenant
        self.writesText = writesText
    }
}
