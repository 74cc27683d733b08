internal import LanguageModels
internal import Tokenizers

/// A request on its way: what is known of it and what was fed.
struct RunningSequence {
    let request: GenerationRequest
    var cache: SequenceCache?
    /// Everything to feed: prefix, prompt, then what was generated.
    var tokens: [Int32]
    /// Of those, how many the cache holds.
    var fed = 0
    /// Chains of the pages of `tokens` that are full, and how many of them others know.
    var chains: [UInt64] = []
    var remembered = 0
    var cachedTokens = 0

    var answer: [Int32] = []
    var logProbability = 0.0
    var alternatives: [TokenDistribution] = []
    var node = 0
    var choice: Int?
    var automaton: TokenAutomaton?
    var state: TokenAutomaton.State = 0
    var forced = 0
    var drafted = 0
    var accepted = 0
    var promptScores: [PromptScore] = []
    private var scoresTaken = false
    private var sampler: Sampler
    private var text: AnswerText?
    private let promptCount: Int
    private let prefixCount: Int
    /// Forced tokens that no event has reported yet.
    private var unreported: [Int32] = []

    init(_ request: GenerationRequest, model: LanguageModel) {
        self.request = request
        let prefix = request.prefix?.tokens ?? []
        prefixCount = prefix.count
        promptCount = prefix.count + request.prompt.count
        tokens = prefix + request.prompt
        sampler = Sampler(request.sampling, prompt: tokens)
        if request.writesText || !request.stopStrings.isEmpty {
            text = AnswerText(model.tokenizer, stops: request.stopStrings)
        }
        if let choices = request.choices {
            let forced = choices.forced(from: 0)
            node = forced.node
            answer = forced.tokens
            tokens += forced.tokens
            unreported = forced.tokens
            self.forced = forced.tokens.count
        }
    }

    /// Whether guesses can be checked: not where few answers are allowed anyway.
    var canSpeculate: Bool { request.choices == nil }

    /// Appends tokens that the constraint leaves no choice about.
    ///
    /// The bytes that must come are cut as the tokenizer cuts them; the last token is left to the model unless the answer
    /// ends there, because what follows might be part of it.
    mutating func appendForced(_ tokenizer: Tokenizer, limit: Int) {
        guard let automaton, request.constraint?.appendsForced ?? true else { return }
        let (bytes, end) = automaton.forced(from: state)
        guard bytes.count >= 2 else { return }
        let text = String(decoding: bytes, as: UTF8.self)
        guard Array(text.utf8) == bytes else { return }
        var forced = tokenizer.encodeContinuation(text)
        guard forced.flatMap({ tokenizer.bytes(of: $0) }) == bytes else { return }
        if !automaton.isFinal(end) { forced.removeLast() }
        forced = Array(forced.prefix(max(0, limit - answer.count)))
        for token in forced {
            guard let next = automaton.state(after: token, from: state) else { return }
            state = next
            append(token)
            self.forced += 1
            unreported.append(token)
        }
    }

    private mutating func append(_ token: Int32) {
        tokens.append(token)
        answer.append(token)
        sampler.note(token)
    }

    /// Scores prompt tokens: row i of `rows` is what the model expects after token `from + i`.
    mutating func score(rows: [UnsafeMutableBufferPointer<Float>], from: Int) {
        if promptScores.isEmpty, prefixCount == 0 {
            promptScores.append(PromptScore(token: tokens[0], logProbability: nil, alternatives: nil))
        }
        for (index, row) in rows.enumerated() {
            let place = from + index + 1
            // Each once: a sequence that had to stop for others feeds its prompt again.
            guard place == prefixCount + promptScores.count, place < promptCount else { continue }
            let token = tokens[place]
            var best = 0
            let total = Sampler.logSumExp(row, &best)
            promptScores.append(
                PromptScore(
                    token: token, logProbability: Double(row[Int(token)] - total),
                    alternatives: request.alternatives > 0 ? .top(request.alternatives, of: row) : nil))
        }
    }

    /// The prompt's scores, once.
    mutating func takeScores() -> [PromptScore] {
        defer { scoresTaken = true }
        return scoresTaken ? [] : promptScores
    }

    /// Chooses the next token from a row of logits, and what must follow it.
    ///
    /// - Returns: why the answer ends here; nil when it does not.
    mutating func choose(
        _ row: UnsafeMutableBufferPointer<Float>, model: LanguageModel, into progress: inout GenerationProgress
    ) -> GenerationResult.Finish? {
        if let finish = reportForced(&progress) { return finish }
        if let choices = request.choices { return choose(row, among: choices, into: &progress) }
        var distribution: TokenDistribution?
        if request.alternatives > 0 { distribution = .top(request.alternatives, of: row) }
        guard let chosen = pick(row, model: model) else { return .stop }
        if let distribution { alternatives.append(distribution) }
        logProbability += chosen.logProbability
        if request.stopTokens.contains(chosen.token) { return .stop }
        if let automaton {
            guard let next = automaton.state(after: chosen.token, from: state) else { return .stop }
            state = next
        }
        append(chosen.token)
        report(chosen.token, chosen.logProbability, distribution, &progress)
        if text?.isStopped != true { appendForced(model.tokenizer, limit: request.maximumTokens) }
        return reportForced(&progress)
    }

    /// Reports what the constraint appended.
    ///
    /// - Returns: why the answer ends after it; nil when it does not.
    private mutating func reportForced(_ progress: inout GenerationProgress) -> GenerationResult.Finish? {
        for token in unreported { report(token, 0, nil, &progress) }
        unreported = []
        if text?.isStopped == true { return .stop }
        if let automaton, automaton.isFinal(state) { return .stop }
        return answer.count >= request.maximumTokens && request.choices == nil ? .length : nil
    }

    private mutating func report(
        _ token: Int32, _ logProbability: Double, _ distribution: TokenDistribution?,
        _ progress: inout GenerationProgress
    ) {
        progress.tokens.append(token)
        progress.logProbabilities.append(logProbability)
        progress.alternatives.append(distribution)
        if let piece = text?.append(token) { progress.text += piece }
    }

    /// The next token; under a constraint, one that fits. nil when none does.
    private mutating func pick(_ row: UnsafeMutableBufferPointer<Float>, model: LanguageModel) -> Sampler.Choice? {
        guard let automaton else { return sampler.choose(row) }
        let state = state
        let stops = request.stopTokens
        let mayEnd = automaton.isAccepting(state)
        func allows(_ token: Int32) -> Bool {
            stops.contains(token) ? mayEnd : automaton.state(after: token, from: state) != nil
        }
        func mask() -> TokenMask {
            var mask = automaton.mask(state)
            for stop in stops {
                if mayEnd { mask.insert(stop) } else { mask.remove(stop) }
            }
            return mask
        }
        return sampler.choose(row, allows: allows, mask: mask)
    }

    private mutating func choose(
        _ row: UnsafeMutableBufferPointer<Float>, among choices: ChoiceTree, into progress: inout GenerationProgress
    ) -> GenerationResult.Finish? {
        let node = choices.node(self.node)
        if let choice = node.choice {
            self.choice = choice
            return .stop
        }
        var distribution: TokenDistribution?
        if request.alternatives > 0 { distribution = .top(request.alternatives, of: row, among: node.tokens) }
        let chosen = sampler.choose(row, among: node.tokens)
        if let distribution { alternatives.append(distribution) }
        logProbability += chosen.logProbability
        let following = choices.forced(from: node.children[chosen.place])
        append(chosen.token)
        report(chosen.token, chosen.logProbability, distribution, &progress)
        for token in following.tokens {
            append(token)
            forced += 1
            report(token, 0, nil, &progress)
        }
        self.node = following.node
        guard let choice = choices.node(following.node).choice else { return nil }
        self.choice = choice
        return .stop
    }

    /// The text that was held back.
    mutating func finishText() -> String { text?.finish() ?? "" }

    func result(_ finish: GenerationResult.Finish) -> GenerationResult {
        GenerationResult(
            tokens: answer, finish: finish, logProbability: logProbability, choice: choice, promptTokens: promptCount,
            cachedTokens: min(cachedTokens, promptCount), alternatives: alternatives, text: text?.text ?? "",
            forcedTokens: forced, draftedTokens: drafted, acceptedTokens: accepted)
    }
}

/// Automata by constraint: what was worked out for one request serves the next of the same constraint.
struct AutomatonCache {
    private var automata: [String: (automaton: TokenAutomaton, lastUse: Int)] = [:]
    private var trie: VocabularyTrie?
    private var clock = 0
    private static let limit = 32

    mutating func automaton(_ constraint: Constraint, tokenizer: Tokenizer) -> TokenAutomaton {
        clock += 1
        if let known = automata[constraint.key], !known.automaton.isWornOut {
            automata[constraint.key]!.lastUse = clock
            return known.automaton
        }
        if automata.count >= Self.limit, let oldest = automata.min(by: { $0.value.lastUse < $1.value.lastUse }) {
            automata[oldest.key] = nil
        }
        let trie = trie ?? VocabularyTrie(tokenizer)
        self.trie = trie
        let automaton = TokenAutomaton(constraint.grammar, tokenizer: tokenizer, trie: trie)
        automata[constraint.key] = (automaton, clock)
        return automaton
    }
}
