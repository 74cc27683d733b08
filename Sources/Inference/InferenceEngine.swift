public import LanguageModels
public import Tensors
internal import Tokenizers

/// Generates answers for many requests together, on one model and one worker pool.
///
/// `step()` is synchronous and does one forward pass; whoever owns the engine calls it until nothing is left. One
/// owner at a time. An answer does not depend, bit for bit, on the requests that ran beside it.
///
///     let engine = InferenceEngine(model: try LanguageModel(contentsOf: path))
///     let results = try engine.answer([GenerationRequest(prompt: tokens)])
public final class InferenceEngine {
    /// Limits.
    public struct Configuration: Sendable, Hashable {
        /// Sequences that run at a time.
        public var maximumSequences: Int
        /// Tokens of one pass.
        public var maximumBatchTokens: Int

        public init(maximumSequences: Int = 16, maximumBatchTokens: Int = 512) {
            self.maximumSequences = maximumSequences
            self.maximumBatchTokens = maximumBatchTokens
        }
    }

    public let model: LanguageModel
    private let pass: DecoderPass
    private var scheduler: Scheduler
    private var sequences: [Int: Sequence] = [:]
    private var nextNumber = 0

    private struct Sequence {
        var request: GenerationRequest
        var cache: SequenceCache?
        /// Everything to feed: the prompt, then what was generated.
        var tokens: [Int32]
        var fed = 0
        var answer: [Int32] = []
        var logProbability = 0.0
        var node = 0
        var choice: Int?
        var alternatives: [TokenDistribution] = []
        var json: JSONConstraint?
        var sampler: Sampler
    }

    /// What happened to a request in a step.
    public enum Event: Sendable {
        /// More of the answer.
        case tokens(request: Int, [Int32])
        case finished(request: Int, GenerationResult)
    }

    public init(model: LanguageModel, configuration: Configuration = .init(), pool: WorkerPool = WorkerPool()) {
        self.model = model
        pass = DecoderPass(model: model, pool: pool)
        scheduler = Scheduler(
            maximumSequences: configuration.maximumSequences, maximumTokens: configuration.maximumBatchTokens)
    }

    /// Whether there is nothing to do.
    public var isIdle: Bool { scheduler.isEmpty }

    /// Computes a prefix that requests can share.
    ///
    /// - Throws: `InferenceError` for tokens outside the vocabulary and prefixes that fill the context.
    public func prefix(_ tokens: [Int32]) throws -> SharedPrefix {
        try check(tokens, room: 1)
        let cache = SequenceCache(model.configuration, capacity: tokens.count)
        for start in stride(from: 0, to: tokens.count, by: 512) {
            let part = Array(tokens[start..<min(start + 512, tokens.count)])
            _ = pass.run([SequenceInput(cache: cache, tokens: part, rows: .none)])
        }
        return SharedPrefix(cache: cache)
    }

    /// Takes a request in.
    ///
    /// - Returns: its number in the events to come.
    /// - Throws: `InferenceError` for an empty prompt, tokens outside the vocabulary, and prompts that fill the context.
    public func submit(_ request: GenerationRequest) throws -> Int {
        guard !request.prompt.isEmpty else { throw InferenceError(.emptyPrompt, "the prompt has no tokens") }
        try check(request.prompt, room: 1 + (request.prefix?.count ?? 0))
        let number = nextNumber
        nextNumber += 1
        var sequence = Sequence(request: request, tokens: request.prompt, sampler: Sampler(request.sampling))
        if request.isJSON { sequence.json = JSONConstraint() }
        if let choices = request.choices {
            let forced = choices.forced(from: 0)
            sequence.node = forced.node
            sequence.answer = forced.tokens
            sequence.tokens += forced.tokens
        }
        scheduler.add(number, tokens: sequence.tokens.count)
        sequences[number] = sequence
        return number
    }

    /// Gives a request up; there are no further events of it.
    public func cancel(_ number: Int) {
        scheduler.remove(number)
        sequences[number] = nil
    }

    /// One forward pass over what is due.
    public func step() -> [Event] {
        let shares = scheduler.next()
        if shares.isEmpty { return [] }
        var inputs: [SequenceInput] = []
        for share in shares {
            var sequence = sequences[share.request]!
            let cache =
                sequence.cache ?? sequence.request.prefix?.cache.fork(room: sequence.tokens.count + 16)
                ?? SequenceCache(model.configuration, capacity: sequence.tokens.count + 16)
            let end = sequence.fed + share.tokens
            let isWhole = end == sequence.tokens.count
            inputs.append(
                SequenceInput(
                    cache: cache, tokens: Array(sequence.tokens[sequence.fed..<end]), rows: isWhole ? .last : .none))
            sequence.cache = cache
            sequence.fed = end
            sequences[share.request] = sequence
            scheduler.fed(share)
        }
        let logits = pass.run(inputs)
        let width = model.configuration.vocabularySize
        var events: [Event] = []
        var row = 0
        for (index, share) in shares.enumerated() where inputs[index].rows == .last {
            let start = logits.baseAddress! + row * width
            row += 1
            advance(share.request, logits: UnsafeBufferPointer(start: start, count: width), events: &events)
        }
        return events
    }

    /// Answers all requests, in their order.
    ///
    /// - Parameter progress: called after each finished answer with their number.
    /// - Throws: `InferenceError`, before anything runs; what `progress` throws.
    public func answer(_ requests: [GenerationRequest], progress: ((Int) throws -> Void)? = nil) throws
        -> [GenerationResult]
    {
        var places: [Int: Int] = [:]
        do {
            for (place, request) in requests.enumerated() { places[try submit(request)] = place }
            var results = [GenerationResult?](repeating: nil, count: requests.count)
            var done = 0
            while !isIdle {
                for case .finished(let number, let result) in step() {
                    if let place = places[number] { results[place] = result }
                    done += 1
                    try progress?(done)
                }
            }
            return results.map { $0! }
        } catch {
            for number in places.keys { cancel(number) }
            throw error
        }
    }

    private func check(_ tokens: [Int32], room: Int) throws {
        let c = model.configuration
        if let wrong = tokens.first(where: { $0 < 0 || Int($0) >= c.vocabularySize }) {
            throw InferenceError(.invalidToken, "token \(wrong) is outside the vocabulary of \(c.vocabularySize)")
        }
        guard tokens.count + room <= c.contextLength else {
            throw InferenceError(
                .promptTooLong, "the prompt has \(tokens.count + room - 1) tokens, the context \(c.contextLength)")
        }
    }

    /// The next token; where the answer must be JSON, among those that can stand there.
    private func choose(_ sequence: inout Sequence, _ logits: UnsafeBufferPointer<Float>) -> (Int32, Double) {
        let free = sequence.sampler.choose(logits)
        let first = Int32(free.place)
        guard let json = sequence.json else { return (first, free.logProbability) }
        let stops = sequence.request.stopTokens
        func after(_ token: Int32) -> JSONConstraint? {
            if stops.contains(token) { return json.isComplete ? json : nil }
            let bytes = model.tokenizer.bytes(of: token)
            var next = json
            return !bytes.isEmpty && next.accept(bytes) ? next : nil
        }
        if let next = after(first) {
            sequence.json = next
            return (first, free.logProbability)
        }
        let allowed = logits.indices.map(Int32.init).filter { after($0) != nil }
        // Nothing fits when the vocabulary lacks a byte: the answer then goes on as it would.
        guard !allowed.isEmpty else { return (first, free.logProbability) }
        let chosen = sequence.sampler.choose(logits, among: allowed)
        let token = allowed[chosen.place]
        sequence.json = after(token)
        // Its probability among all tokens: being forced is a reason for doubt.
        return (token, free.logProbability + Double(logits[Int(token)] - logits[free.place]))
    }

    private func advance(_ number: Int, logits: UnsafeBufferPointer<Float>, events: inout [Event]) {
        guard var sequence = sequences[number] else { return }
        let request = sequence.request
        let before = sequence.answer.count
        var added: [Int32] = []
        var finish: GenerationResult.Finish?
        if let choices = request.choices {
            let node = choices.nodes[sequence.node]
            if let choice = node.choice {
                sequence.choice = choice
                finish = .stop
            } else {
                let chosen = sequence.sampler.choose(logits, among: node.tokens)
                if request.alternatives > 0 {
                    sequence.alternatives.append(
                        .top(request.alternatives, of: logits, among: node.tokens, best: node.tokens[chosen.place]))
                }
                sequence.logProbability += chosen.logProbability
                let forced = choices.forced(from: node.children[chosen.place])
                added = [node.tokens[chosen.place]] + forced.tokens
                sequence.node = forced.node
                if let choice = choices.nodes[forced.node].choice {
                    sequence.choice = choice
                    finish = .stop
                }
            }
        } else {
            let (token, logProbability) = choose(&sequence, logits)
            if request.alternatives > 0 {
                sequence.alternatives.append(.top(request.alternatives, of: logits, among: nil, best: token))
            }
            sequence.logProbability += logProbability
            if request.stopTokens.contains(token) {
                finish = .stop
            } else {
                added = [token]
                if before + 1 >= request.maximumTokens { finish = .length }
            }
        }
        sequence.answer += added
        sequence.tokens += added
        let length = (request.prefix?.count ?? 0) + sequence.tokens.count
        if finish == nil, length > model.configuration.contextLength { finish = .context }
        if !added.isEmpty { events.append(.tokens(request: number, added)) }
        guard let finish else {
            scheduler.extend(number, tokens: added.count)
            sequences[number] = sequence
            return
        }
        scheduler.remove(number)
        sequences[number] = nil
        events.append(
            .finished(
                request: number,
                GenerationResult(
                    tokens: sequence.answer, finish: finish, logProbability: sequence.logProbability,
                    choice: sequence.choice, promptTokens: (request.prefix?.count ?? 0) + request.prompt.count,
                    alternatives: sequence.alternatives)))
    }
}
