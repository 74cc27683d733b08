public import LanguageModels
public import Tensors
internal import Tokenizers

/// Generates answers for many requests together, on one model and one worker pool.
///
/// `step()` is synchronous and does one forward pass; whoever owns the engine calls it until nothing is left. One
/// owner at a time; ``InferenceEngine`` is the one to share. An answer does not depend, bit for bit, on the requests that
/// ran beside it, on what was cached, or on drafts.
///
///     let engine = BatchEngine(model: try LanguageModel(contentsOf: path))
///     let results = try engine.answer([GenerationRequest(prompt: tokens)])
public final class BatchEngine {
    /// Limits.
    public struct Configuration: Sendable, Hashable {
        /// Sequences that run at a time.
        public var maximumSequences: Int
        /// Tokens of one pass.
        public var maximumBatchTokens: Int
        /// Requests that may wait; more are refused. nil: any number.
        public var maximumWaiting: Int?
        /// Bytes of memory for keys and values; more requests than fit wait.
        public var cacheBytes: Int
        /// How keys and values are kept.
        public var cacheFormat: CacheFormat
        /// Whether requests that begin alike share what was computed for the first.
        public var sharesPrefixes: Bool
        /// Guessing tokens beforehand and checking several in one pass.
        public var speculation: Speculation

        public init(
            maximumSequences: Int = 16, maximumBatchTokens: Int = 512, maximumWaiting: Int? = nil,
            cacheBytes: Int = 1 << 30, cacheFormat: CacheFormat = .float16, sharesPrefixes: Bool = true,
            speculation: Speculation = .off
        ) {
            self.maximumSequences = maximumSequences
            self.maximumBatchTokens = maximumBatchTokens
            self.maximumWaiting = maximumWaiting
            self.cacheBytes = cacheBytes
            self.cacheFormat = cacheFormat
            self.sharesPrefixes = sharesPrefixes
            self.speculation = speculation
        }
    }

    /// What happened to a request in a step.
    public enum Event: Sendable {
        /// More of the answer.
        case progress(request: Int, GenerationProgress)
        case finished(request: Int, GenerationResult)
    }

    /// How the engine is doing.
    public struct Statistics: Sendable, Hashable, Codable {
        public var running = 0
        public var waiting = 0
        public var pagesInUse = 0
        public var pagesCached = 0
        public var pageLimit = 0
        /// Since the beginning.
        public var promptTokens = 0
        public var cachedPromptTokens = 0
        public var generatedTokens = 0
        public var draftedTokens = 0
        public var acceptedTokens = 0
        public var preemptions = 0
        public var passes = 0
    }

    public let model: LanguageModel
    public let configuration: Configuration
    let pool: WorkerPool
    let pages: PagePool
    private let pass: DecoderPass
    private var scheduler: Scheduler
    private var sequences: [Int: RunningSequence] = [:]
    private var nextNumber = 0
    /// Pages of prompts being computed right now, by their chain: who begins alike waits for them.
    private var underWay: [UInt64: Int] = [:]
    private var automata = AutomatonCache()
    private var drafter: (any Drafter)?
    private var pace = SpeculationPace()
    private var counts = Statistics()

    /// - Parameter draft: a smaller model that guesses for this one, where the configuration asks for that.
    public init(
        model: LanguageModel, configuration: Configuration = .init(), pool: WorkerPool = WorkerPool(),
        draft: LanguageModel? = nil
    ) {
        self.model = model
        self.configuration = configuration
        self.pool = pool
        pass = DecoderPass(model: model, pool: pool)
        let pageBytes = PagePool.bytes(model.configuration, format: configuration.cacheFormat, tokens: 1)
        pages = PagePool(
            model.configuration, format: configuration.cacheFormat, limit: max(4, configuration.cacheBytes / pageBytes))
        scheduler = Scheduler(
            maximumSequences: configuration.maximumSequences, maximumTokens: configuration.maximumBatchTokens,
            pageTokens: PagePool.pageTokens)
        drafter = configuration.speculation.drafter(for: model, draft: draft, pool: pool)
    }

    /// Whether there is nothing to do.
    public var isIdle: Bool { scheduler.isEmpty }

    public var statistics: Statistics {
        var result = counts
        result.running = scheduler.runningCount
        result.waiting = scheduler.waitingCount
        result.pagesInUse = pages.used
        result.pagesCached = pages.cachedCount
        result.pageLimit = pages.limit
        return result
    }

    /// Computes a prefix that requests can share.
    ///
    /// - Throws: `InferenceError` for tokens outside the vocabulary and prefixes that fill the context or the cache.
    public func prefix(_ tokens: [Int32]) throws -> SharedPrefix {
        try check(tokens, room: 1)
        let whole = tokens.count / PagePool.pageTokens * PagePool.pageTokens
        guard whole > 0, configuration.sharesPrefixes else { return SharedPrefix(tokens: tokens, cache: nil) }
        let cache = SequenceCache(model.configuration, pool: pages)
        let chains = PrefixIndex.chains(tokens)
        cache.share(pages.match(tokens, chains: chains, limit: chains.count))
        while cache.count < whole {
            let end = min(cache.count + configuration.maximumBatchTokens, whole)
            guard cache.reserve(end) else {
                throw InferenceError(.tooLarge, "the prefix of \(tokens.count) tokens does not fit the cache")
            }
            _ = pass.run([SequenceInput(cache: cache, tokens: Array(tokens[cache.count..<end]), rows: .none)])
        }
        for (number, page) in cache.pageNumbers.enumerated() {
            remember(page, number, tokens: tokens, chains: chains)
        }
        return SharedPrefix(tokens: tokens, cache: cache)
    }

    /// Takes a request in.
    ///
    /// - Returns: its number in the events to come.
    /// - Throws: `InferenceError` for an empty prompt, tokens outside the vocabulary, prompts that fill the context, options
    ///   that make no sense, and when the queue is full.
    public func submit(_ request: GenerationRequest) throws -> Int {
        guard !request.prompt.isEmpty else { throw InferenceError(.emptyPrompt, "the prompt has no tokens") }
        try check(request.prompt, room: 1 + (request.prefix?.count ?? 0))
        try request.sampling.validate()
        guard request.maximumTokens >= 1, request.alternatives >= 0 else {
            throw InferenceError(.invalidOption, "maximum tokens is \(request.maximumTokens), expected at least 1")
        }
        if let limit = configuration.maximumWaiting, scheduler.waitingCount >= limit {
            throw InferenceError(.busy, "\(limit) requests are waiting already")
        }
        var sequence = RunningSequence(request, model: model)
        let most = min(
            sequence.tokens.count + request.maximumTokens + configuration.speculation.maximumDraft,
            model.configuration.contextLength)
        guard (most + PagePool.pageTokens - 1) / PagePool.pageTokens <= pages.limit else {
            throw InferenceError(
                .tooLarge, "\(most) tokens do not fit the cache of \(pages.limit * PagePool.pageTokens) tokens")
        }
        if let constraint = request.constraint {
            sequence.automaton = automata.automaton(constraint, tokenizer: model.tokenizer)
            sequence.state = sequence.automaton!.start
            guard !sequence.automaton!.isDead(sequence.state) else {
                throw InferenceError(.unsupportedConstraint, "nothing can be written that fits the constraint")
            }
            sequence.appendForced(model.tokenizer, limit: request.maximumTokens)
        }
        if configuration.sharesPrefixes { sequence.chains = PrefixIndex.chains(sequence.tokens) }
        let number = nextNumber
        nextNumber += 1
        // Scores of a whole pass of prompt rows would take a vocabulary's width each.
        scheduler.add(
            number, tokens: sequence.tokens.count, chunk: request.scoresPrompt ? 32 : .max, priority: request.priority,
            tenant: request.tenant?.hashValue ?? 0)
        sequences[number] = sequence
        return number
    }

    /// Gives a request up; there are no further events of it.
    public func cancel(_ number: Int) {
        scheduler.remove(number)
        drafter?.forget(number)
        if let sequence = sequences.removeValue(forKey: number) { stopComputing(number, sequence) }
    }

    /// One forward pass over what is due.
    public func step() -> [Event] {
        let began = ContinuousClock.now
        admit()
        var feeds: [Feed] = []
        for share in scheduler.shares() {
            if let feed = prepare(share) { feeds.append(feed) }
        }
        if feeds.isEmpty { return [] }
        counts.passes += 1
        let tokensBefore = counts.generatedTokens
        let logits = pass.run(feeds.map(\.input))
        let width = model.configuration.vocabularySize
        var events: [Event] = []
        var row = 0
        for feed in feeds {
            let rows = feed.rows
            let own = UnsafeMutableBufferPointer(
                start: rows > 0 ? logits.baseAddress! + row * width : nil, count: rows * width)
            row += rows
            advance(feed, logits: own, events: &events)
        }
        if drafter != nil, feeds.allSatisfy({ $0.known == 1 && $0.rows > 0 && !$0.scores }) {
            let time = (ContinuousClock.now - began).components
            pace.record(
                tokens: counts.generatedTokens - tokensBefore, sequences: feeds.count,
                seconds: Double(time.seconds) + Double(time.attoseconds) * 1e-18)
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

    // MARK: One step

    /// What one sequence feeds in a pass.
    private struct Feed {
        var request: Int
        var input: SequenceInput
        /// Tokens fed that are known, and guesses behind them.
        var known: Int
        var drafts: [Int32]
        /// Rows of logits asked for.
        var rows: Int
        /// Whether the prompt's tokens are scored.
        var scores: Bool
    }

    /// Lets waiting requests begin, with whatever of their prompt is cached.
    private func admit() {
        let begun = scheduler.admit(freePages: pages.available) { number in
            guard let sequence = sequences[number], !sequence.chains.isEmpty else { return true }
            // Somebody is computing the page that this one would compute next: it is worth waiting for.
            let matched = match(sequence).count
            guard matched < sequence.chains.count else { return true }
            if let owner = underWay[sequence.chains[matched]], owner != number { return false }
            for chain in sequence.chains[matched...] where underWay[chain] == nil { underWay[chain] = number }
            return true
        }
        for number in begun {
            let cache = SequenceCache(model.configuration, pool: pages)
            let shared = match(sequences[number]!)
            cache.share(shared)
            sequences[number]!.cache = cache
            sequences[number]!.remembered = shared.count
            sequences[number]!.fed = cache.count
            if sequences[number]!.answer.isEmpty || sequences[number]!.cachedTokens == 0 {
                sequences[number]!.cachedTokens = cache.count
                counts.cachedPromptTokens += cache.count
            }
            scheduler.fed(number, tokens: cache.count)
        }
    }

    /// Cached pages of a sequence's beginning; at least one token is left to feed.
    private func match(_ sequence: RunningSequence) -> [Int] {
        guard configuration.sharesPrefixes, !sequence.request.scoresPrompt else { return [] }
        return pages.match(
            sequence.tokens, chains: sequence.chains, limit: (sequence.tokens.count - 1) / PagePool.pageTokens)
    }

    /// Makes room for a share and guesses behind it; nil when the sequence had to stop for others.
    private func prepare(_ share: Scheduler.Share) -> Feed? {
        guard let sequence = sequences[share.request], let cache = sequence.cache else { return nil }
        let end = sequence.fed + share.tokens
        let isWhole = end == sequence.tokens.count
        var drafts: [Int32] = []
        if isWhole, pace.guesses, sequence.canSpeculate, let drafter {
            let room = min(
                sequence.request.maximumTokens - sequence.answer.count - 1,
                model.configuration.contextLength - end - 1)
            if room > 0 { drafts = drafter.draft(share.request, tokens: sequence.tokens, limit: room) }
        }
        while !cache.reserve(end + drafts.count) {
            if !drafts.isEmpty {
                drafts = []
                continue
            }
            guard let victim = scheduler.victim(atOrAfter: share.request) else { return nil }
            preempt(victim)
            if victim == share.request { return nil }
        }
        let tokens = Array(sequence.tokens[sequence.fed..<end]) + drafts
        let scores =
            sequence.request.scoresPrompt && sequence.promptScores.count < sequence.request.prompt.count
        let rows = scores ? tokens.count : isWhole ? drafts.count + 1 : 0
        return Feed(
            request: share.request, input: SequenceInput(cache: cache, tokens: tokens, rows: .tail(rows)),
            known: share.tokens, drafts: drafts, rows: rows, scores: scores)
    }

    private func preempt(_ number: Int) {
        scheduler.preempt(number)
        stopComputing(number, sequences[number]!)
        drafter?.forget(number)
        counts.preemptions += 1
        sequences[number]!.cache = nil
        sequences[number]!.fed = 0
        sequences[number]!.remembered = 0
        if configuration.sharesPrefixes { sequences[number]!.chains = PrefixIndex.chains(sequences[number]!.tokens) }
    }

    /// Nobody waits for the request's pages any more.
    private func stopComputing(_ number: Int, _ sequence: RunningSequence) {
        for chain in sequence.chains where underWay[chain] == number { underWay[chain] = nil }
    }

    private func remember(_ page: Int, _ number: Int, tokens: [Int32], chains: [UInt64]) {
        let size = PagePool.pageTokens
        pages.remember(
            page, chain: chains[number], parent: number > 0 ? chains[number - 1] : 0,
            tokens: tokens[number * size..<(number + 1) * size])
    }

    private func advance(_ feed: Feed, logits: UnsafeMutableBufferPointer<Float>, events: inout [Event]) {
        // Out of the table while it changes: one copy only.
        guard var sequence = sequences.removeValue(forKey: feed.request), let cache = sequence.cache else { return }
        sequence.fed += feed.known
        scheduler.fed(feed.request, tokens: feed.known)
        if sequence.answer.isEmpty { counts.promptTokens += feed.known }
        let width = model.configuration.vocabularySize
        func row(_ index: Int) -> UnsafeMutableBufferPointer<Float> {
            UnsafeMutableBufferPointer(rebasing: logits[index * width..<(index + 1) * width])
        }
        if feed.scores {
            sequence.score(rows: (0..<feed.known).map(row), from: sequence.fed - feed.known)
        }
        guard sequence.fed == sequence.tokens.count else {
            rememberPages(&sequence, feed.request)
            sequences[feed.request] = sequence
            return
        }
        let before = sequence.tokens.count
        var finish: GenerationResult.Finish?
        var right = 0
        var progress = GenerationProgress(
            tokens: [], logProbabilities: [], alternatives: [], text: "", promptScores: sequence.takeScores())
        // Each row's token is chosen as it would be without guesses; the next row counts as long as the guess was right.
        while true {
            let offset = feed.rows - feed.drafts.count - 1 + right
            finish = sequence.choose(row(offset), model: model, into: &progress)
            let added = sequence.tokens.count - before
            if finish != nil || added > feed.drafts.count { break }
            guard sequence.tokens[(before + right)...].elementsEqual(feed.drafts[right..<added]) else { break }
            right = added
        }
        if !feed.drafts.isEmpty {
            // Of the guesses, those that became part of the answer.
            right = zip(sequence.tokens[before...], feed.drafts).prefix { $0 == $1 }.count
            sequence.drafted += feed.drafts.count
            sequence.accepted += right
            counts.draftedTokens += feed.drafts.count
            counts.acceptedTokens += right
            drafter?.learn(feed.request, drafted: feed.drafts.count, accepted: right)
            right = min(right, max(0, sequence.tokens.count - before - (finish == nil ? 1 : 0)))
            cache.truncate(to: sequence.fed + right)
            sequence.fed += right
            scheduler.fed(feed.request, tokens: right)
        }
        counts.generatedTokens += sequence.tokens.count - before
        scheduler.extend(feed.request, tokens: sequence.tokens.count - before)
        if finish == nil, sequence.tokens.count > model.configuration.contextLength { finish = .context }
        if finish != nil { progress.text += sequence.finishText() }
        if !progress.tokens.isEmpty || !progress.text.isEmpty || !progress.promptScores.isEmpty {
            events.append(.progress(request: feed.request, progress))
        }
        rememberPages(&sequence, feed.request)
        guard let finish else {
            sequences[feed.request] = sequence
            return
        }
        scheduler.remove(feed.request)
        drafter?.forget(feed.request)
        stopComputing(feed.request, sequence)
        events.append(.finished(request: feed.request, sequence.result(finish)))
    }

    /// Makes pages that are full now known to others.
    private func rememberPages(_ sequence: inout RunningSequence, _ number: Int) {
        guard configuration.sharesPrefixes, let cache = sequence.cache else { return }
        let size = PagePool.pageTokens
        while (sequence.remembered + 1) * size <= sequence.fed {
            let page = sequence.remembered
            if page >= sequence.chains.count {
                sequence.chains.append(
                    PrefixIndex.next(
                        page > 0 ? sequence.chains[page - 1] : 0, sequence.tokens[page * size..<(page + 1) * size]))
            }
            remember(cache.pageNumbers[page], page, tokens: sequence.tokens, chains: sequence.chains)
            if underWay[sequence.chains[page]] == number { underWay[sequence.chains[page]] = nil }
            sequence.remembered += 1
        }
    }
}
