internal import Foundation
public import LanguageModels
internal import Synchronization
public import Tensors
public import Tokenizers

/// A model that answers: for a Swift server to keep one of and share between all its requests.
///
///     let engine = InferenceEngine(model: try LanguageModel(contentsOf: "model.gguf"))
///     for try await part in try engine.chat([ChatMessage(role: "user", content: "Hello!")]) {
///         print(part.text, terminator: "")
///     }
///
/// Requests of any number of tasks run together, in batches, on a thread of the engine's own and its worker pool. A
/// task that is cancelled, or lets go of its stream, frees its memory at the next step.
public final class InferenceEngine: Sendable {
    public let model: LanguageModel
    private let shared: Shared

    /// - Parameter draft: a smaller model that guesses for this one, where the configuration asks for that.
    public init(
        model: LanguageModel,
        configuration: BatchEngine.Configuration = .init(maximumBatchTokens: 256, maximumWaiting: 1024),
        pool: WorkerPool = WorkerPool(), draft: LanguageModel? = nil
    ) {
        self.model = model
        shared = Shared(limit: configuration.maximumWaiting)
        let shared = shared
        let engine = Unshared(
            BatchEngine(model: model, configuration: configuration, pool: pool, draft: draft))
        let thread = Thread { shared.run(engine.value) }
        thread.name = "understudy-engine"
        thread.stackSize = 8 << 20
        thread.start()
    }

    deinit { shared.stop() }

    /// How the engine is doing.
    public var statistics: BatchEngine.Statistics { shared.statistics }

    /// Answers a request, part by part; the last part has the result.
    ///
    /// - Throws: `InferenceError`, at once where the queue is full, from the stream where the request makes no sense.
    public func generate(_ request: GenerationRequest) throws -> GenerationStream {
        try shared.submit(request)
    }

    /// The whole answer to a request.
    ///
    /// - Throws: `InferenceError`; `CancellationError` when the task is cancelled.
    public func answer(_ request: GenerationRequest) async throws -> GenerationResult {
        var result: GenerationResult?
        for try await part in try generate(request) { result = part.result ?? result }
        guard let result else { throw CancellationError() }
        return result
    }

    /// Continues a text.
    public func complete(_ text: String, _ options: TextOptions = TextOptions()) throws -> GenerationStream {
        try generate(options.request(model.tokens(ofText: text), model: model))
    }

    /// Answers a conversation, written with the model's chat template.
    ///
    /// - Throws: `InferenceError` when the model has no chat template; the template's own refusals.
    public func chat(_ messages: [ChatMessage], _ options: TextOptions = TextOptions()) throws -> GenerationStream {
        try generate(options.request(model.tokens(of: messages), model: model))
    }

    /// Waits for the answers under way, refuses new ones, and ends the engine's thread.
    public func shutDown() async {
        await shared.drain()
        shared.stop()
    }
}

/// What is usual to say of an answer in text.
public struct TextOptions: Sendable {
    /// The most tokens; nil: as many as the context has room for.
    public var maximumTokens: Int?
    public var sampling: SamplingOptions
    public var stop: [String]
    public var constraint: Constraint?

    public init(
        maximumTokens: Int? = 512, sampling: SamplingOptions = SamplingOptions(), stop: [String] = [],
        constraint: Constraint? = nil
    ) {
        self.maximumTokens = maximumTokens
        self.sampling = sampling
        self.stop = stop
        self.constraint = constraint
    }

    func request(_ prompt: [Int32], model: LanguageModel) -> GenerationRequest {
        let room = max(1, model.configuration.contextLength - prompt.count)
        return GenerationRequest(
            prompt: prompt, maximumTokens: min(maximumTokens ?? room, room), stopTokens: model.stopTokens,
            stopStrings: stop, sampling: sampling, constraint: constraint, writesText: true)
    }
}

/// A part of an answer.
public struct GenerationPart: Sendable {
    public var progress: GenerationProgress
    /// With the last part.
    public var result: GenerationResult?

    /// What is new of the text.
    public var text: String { progress.text }
}

/// The parts of one answer as they come. Let go of it, and the request is given up.
///
/// Parts that nobody has taken yet are joined into one: a slow reader costs no memory beyond the answer's own.
public struct GenerationStream: AsyncSequence, Sendable {
    public typealias Element = GenerationPart
    fileprivate let mailbox: Mailbox

    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let mailbox: Mailbox

        /// - Throws: `InferenceError`; `CancellationError` when the task is cancelled.
        public mutating func next() async throws -> GenerationPart? {
            let mailbox = mailbox
            return try await withTaskCancellationHandler {
                try Task.checkCancellation()
                return try await mailbox.next()
            } onCancel: {
                mailbox.abandon()
            }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(mailbox: mailbox) }
}

/// Where the engine leaves what one reader takes.
private final class Mailbox: Sendable {
    private struct State {
        var waiting: GenerationPart?
        var failure: (any Error)?
        var isDone = false
        var isAbandoned = false
        var reader: CheckedContinuation<GenerationPart?, any Error>?
    }

    private let state = Mutex(State())
    private let onAbandon: @Sendable () -> Void

    init(onAbandon: @escaping @Sendable () -> Void) { self.onAbandon = onAbandon }

    deinit { abandon() }

    func put(_ part: GenerationPart) {
        let reader = state.withLock { state -> CheckedContinuation<GenerationPart?, any Error>? in
            if part.result != nil { state.isDone = true }
            if let reader = state.reader {
                state.reader = nil
                return reader
            }
            state.waiting = state.waiting.map { $0.joined(with: part) } ?? part
            return nil
        }
        reader?.resume(returning: part)
    }

    func fail(_ error: any Error) {
        let reader = state.withLock { state -> CheckedContinuation<GenerationPart?, any Error>? in
            guard !state.isDone else { return nil }
            state.isDone = true
            if state.reader == nil { state.failure = error }
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(throwing: error)
    }

    func next() async throws -> GenerationPart? {
        try await withCheckedThrowingContinuation { continuation in
            let outcome = state.withLock { state -> Result<GenerationPart?, any Error>? in
                if let part = state.waiting {
                    state.waiting = nil
                    return .success(part)
                }
                if let failure = state.failure {
                    state.failure = nil
                    return .failure(failure)
                }
                if state.isDone { return .success(nil) }
                precondition(state.reader == nil, "one reader at a time")
                state.reader = continuation
                return nil
            }
            if let outcome { continuation.resume(with: outcome) }
        }
    }

    /// Nobody reads on.
    func abandon() {
        let wasRunning = state.withLock { state in
            guard !state.isDone, !state.isAbandoned else { return false }
            state.isAbandoned = true
            return true
        }
        guard wasRunning else { return }
        fail(CancellationError())
        onAbandon()
    }
}

extension GenerationPart {
    /// Both parts as one.
    fileprivate func joined(with next: GenerationPart) -> GenerationPart {
        GenerationPart(progress: progress.joined(with: next.progress), result: next.result)
    }
}

/// What the engine's thread and its callers share: what came in, and who waits.
private final class Shared: Sendable {
    private struct State {
        var arrivals: [(id: Int, request: GenerationRequest)] = []
        var cancelled: [Int] = []
        var mailboxes: [Int: WeakMailbox] = [:]
        var nextID = 0
        var isStopped = false
        var isDraining = false
        var statistics = BatchEngine.Statistics()
        var drained: [CheckedContinuation<Void, Never>] = []
    }

    private struct WeakMailbox {
        weak var value: Mailbox?
    }

    private let state = Mutex(State())
    private let arrived = DispatchSemaphore(value: 0)
    private let limit: Int?

    init(limit: Int?) { self.limit = limit }

    var statistics: BatchEngine.Statistics { state.withLock { $0.statistics } }

    func submit(_ request: GenerationRequest) throws -> GenerationStream {
        let mailbox = try state.withLock { state in
            guard !state.isStopped, !state.isDraining else {
                throw InferenceError(.stopped, "the engine is shutting down")
            }
            if let limit, state.statistics.waiting + state.arrivals.count >= limit {
                throw InferenceError(.busy, "\(limit) requests are waiting already; try again later")
            }
            let id = state.nextID
            state.nextID += 1
            let mailbox = Mailbox { [weak self] in self?.cancel(id) }
            state.mailboxes[id] = WeakMailbox(value: mailbox)
            state.arrivals.append((id, request))
            return mailbox
        }
        arrived.signal()
        return GenerationStream(mailbox: mailbox)
    }

    private func cancel(_ id: Int) {
        state.withLock {
            $0.cancelled.append(id)
            $0.mailboxes[id] = nil
        }
        arrived.signal()
    }

    func stop() {
        state.withLock { $0.isStopped = true }
        arrived.signal()
    }

    func drain() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                state.isDraining = true
                if state.mailboxes.isEmpty || state.isStopped { return true }
                state.drained.append(continuation)
                return false
            }
            if isIdle { continuation.resume() }
        }
    }

    /// The engine's thread.
    func run(_ engine: BatchEngine) {
        var ids: [Int: Int] = [:]
        var numbers: [Int: Int] = [:]
        while true {
            let (arrivals, cancelled, isStopped) = state.withLock { state in
                defer {
                    state.arrivals = []
                    state.cancelled = []
                }
                return (state.arrivals, state.cancelled, state.isStopped)
            }
            for (id, request) in arrivals {
                do {
                    let number = try engine.submit(request)
                    ids[number] = id
                    numbers[id] = number
                } catch {
                    end(id) { $0?.fail(error) }
                }
            }
            for id in cancelled {
                if let number = numbers.removeValue(forKey: id) {
                    engine.cancel(number)
                    ids[number] = nil
                }
            }
            if isStopped {
                for id in numbers.keys {
                    end(id) { $0?.fail(InferenceError(.stopped, "the engine was stopped")) }
                }
                finishDraining()
                return
            }
            if engine.isIdle {
                state.withLock { $0.statistics = engine.statistics }
                finishDraining()
                arrived.wait()
                continue
            }
            deliver(engine.step(), &ids, &numbers)
            state.withLock { $0.statistics = engine.statistics }
        }
    }

    private func deliver(_ events: [BatchEngine.Event], _ ids: inout [Int: Int], _ numbers: inout [Int: Int]) {
        var parts: [(id: Int, part: GenerationPart)] = []
        for event in events {
            switch event {
            case .progress(let number, let progress):
                guard let id = ids[number] else { continue }
                parts.append((id, GenerationPart(progress: progress, result: nil)))
            case .finished(let number, let result):
                guard let id = ids.removeValue(forKey: number) else { continue }
                numbers[id] = nil
                // The last progress of a request comes just before its result.
                if let last = parts.indices.last, parts[last].id == id {
                    parts[last].part.result = result
                } else {
                    let nothing = GenerationProgress(
                        tokens: [], logProbabilities: [], alternatives: [], text: "", promptScores: [])
                    parts.append((id, GenerationPart(progress: nothing, result: result)))
                }
            }
        }
        for (id, part) in parts {
            if part.result != nil {
                end(id) { $0?.put(part) }
            } else {
                state.withLock { $0.mailboxes[id]?.value }?.put(part)
            }
        }
    }

    private func end(_ id: Int, _ last: (Mailbox?) -> Void) {
        // Taken out first: what the mailbox does when it goes must not find the lock held.
        let mailbox = state.withLock { $0.mailboxes.removeValue(forKey: id)?.value }
        last(mailbox)
    }

    private func finishDraining() {
        let waiting = state.withLock { state in
            guard state.mailboxes.isEmpty || state.isStopped else { return [CheckedContinuation<Void, Never>]() }
            defer { state.drained = [] }
            return state.drained
        }
        for continuation in waiting { continuation.resume() }
    }
}

/// Hands the engine over to its thread, the only one that ever touches it.
private struct Unshared: @unchecked Sendable {
    let value: BatchEngine
    init(_ value: BatchEngine) { self.value = value }
}
