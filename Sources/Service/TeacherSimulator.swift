internal import Foundation
internal import HTTPTypes
public import Hummingbird
internal import NIOCore
internal import OpenAI
internal import ServiceLifecycle
internal import Synchronization
internal import Tokenizers

/// An endpoint with OpenAI's API that answers from a script and goes wrong as often as it is told, on this machine's
/// loopback address. It counts what it did, so that a client can be shown to have paid for nothing twice.
public final class TeacherSimulator: Sendable {
    public struct Configuration: Sendable {
        public var script = TeacherScript()
        public var model = "simulated"
        /// The key clients must show; nil: none.
        public var key: String?
        /// Requests that are answered at a time; more get 429. nil: all.
        public var capacity: Int?
        /// What 429 says, in seconds; nil: nothing.
        public var retryAfter: Double? = 1
        /// How long a hang lasts.
        public var hangSeconds = 60.0
        /// Fields that are refused with 400.
        public var refusedFields: Set<String> = []
        /// How long a batch takes.
        public var batchSeconds = 1.0
        /// So many batches, the first ones, expire with half of their requests undone.
        public var expiringBatches = 0
        /// Whether `tools` are called, and `/v1/completions` tells how probable the prompt is.
        public var callsTools = true
        public var echoesPrompts = true

        public init() {}
    }

    /// What happened so far.
    public struct Statistics: Codable, Sendable, Hashable {
        public var requests = 0
        /// Requests that differ in what was asked.
        public var distinct = 0
        /// Whole answers, each of which a provider would bill.
        public var answered = 0
        /// Answers to requests that had been answered before.
        public var answeredAgain = 0
        /// Most answers to the same request.
        public var mostAnswers = 0
        public var faults: [String: Int] = [:]
        public var overCapacity = 0
        public var inFlight = 0
        public var mostInFlight = 0
        public var promptTokens = 0
        public var completionTokens = 0
        /// Batches that were made.
        public var batches = 0
    }

    private struct Counts {
        var attempts: UInt32 = 0
        var answered: UInt32 = 0
    }

    private struct State {
        var statistics = Statistics()
        var counts: [UInt64: Counts] = [:]
    }

    public let configuration: Configuration
    private let state = Mutex(State())
    let batches = Mutex(SimulatedBatches())

    public init(_ configuration: Configuration) { self.configuration = configuration }

    public var statistics: Statistics { state.withLock { $0.statistics } }

    /// The routes, for tests and for servers that have others, too.
    public func router() -> Router<BasicRequestContext> {
        let router = Router()
        router.add(middleware: APIErrors())
        router.get("/simulator/statistics") { _, _ in try OpenAIRoutes.json(self.statistics) }
        router.get("/v1/models") { _, _ in
            try OpenAIRoutes.json(
                ModelList(data: [.init(id: self.configuration.model, created: 0, ownedBy: "understudy")]))
        }
        router.post("/v1/chat/completions") { request, _ in try await self.chat(request) }
        router.post("/v1/completions") { request, _ in try await self.completion(request) }
        addBatchRoutes(router)
        return router
    }

    /// Runs until the process is asked to end, or the task is cancelled.
    ///
    /// - Parameters:
    ///   - port: 0: any free one.
    ///   - handlesSignals: whether SIGINT and SIGTERM end it.
    ///   - onReady: called with the port once requests can come.
    /// - Throws: when the port is taken.
    public func run(
        port: Int, handlesSignals: Bool = true, onReady: @escaping @Sendable (Int) -> Void
    ) async throws {
        try await LoopbackListener.run(router(), port: port, handlesSignals: handlesSignals, onReady: onReady)
    }

    /// - Throws: ``APIError`` 401 for who does not show the key.
    func authorize(_ request: Request) throws {
        guard let key = configuration.key, request.headers[.authorization] != "Bearer \(key)" else { return }
        let shown = request.headers[.authorization]?.dropFirst(7) ?? ""
        throw APIError(status: 401, "Incorrect API key provided: \(shown).", code: "invalid_api_key")
    }

    /// A request that this model answers.
    ///
    /// - Throws: ``APIError``.
    func checked(_ bytes: [UInt8]) throws -> ChatCompletionRequest {
        let text = String(decoding: bytes, as: UTF8.self)
        for field in configuration.refusedFields.sorted() where text.contains("\"\(field)\":") {
            throw APIError.invalid("Unsupported parameter: '\(field)'.", parameter: field)
        }
        let chat = try ChatCompletionRequest(body: bytes)
        try check(model: chat.fields.model)
        return chat
    }

    private func check(model: String?) throws {
        guard let model, model != configuration.model else { return }
        throw APIError(
            status: 404, "The model '\(model)' does not exist.", parameter: "model", code: "model_not_found")
    }

    /// Counts a request in: a number for what is asked, and how often it was asked before. The same question, streamed or
    /// not, is the same request; with temperature, another seed makes it another one.
    func begin(_ chat: ChatCompletionRequest) -> (identity: UInt64, attempt: Int) {
        var text = chat.messages.map { "\($0.role)\u{1}\($0.content)" }.joined(separator: "\u{2}")
        if let sample = Self.sample(chat) { text += "\u{3}\(sample)" }
        let identity = TeacherScript.hash(text)
        return state.withLock { state in
            state.statistics.requests += 1
            state.statistics.inFlight += 1
            state.statistics.mostInFlight = max(state.statistics.mostInFlight, state.statistics.inFlight)
            if let capacity = configuration.capacity, state.statistics.inFlight > capacity {
                state.statistics.overCapacity += 1
                return (identity, -1)
            }
            if state.counts[identity] == nil { state.statistics.distinct += 1 }
            state.counts[identity, default: Counts()].attempts += 1
            return (identity, Int(state.counts[identity]!.attempts) - 1)
        }
    }

    /// The seed of an answer that is drawn; nil for the most probable answer.
    private static func sample(_ chat: ChatCompletionRequest) -> UInt64? {
        chat.fields.temperature > 0 ? chat.fields.seed : nil
    }

    func reply(_ chat: ChatCompletionRequest, identity: UInt64, attempt: Int) -> TeacherScript.Reply {
        configuration.script.reply(
            input: chat.messages.last { $0.role == "user" }?.content ?? "", request: identity, attempt: attempt,
            sample: Self.sample(chat))
    }

    func noteBatch() { state.withLock { $0.statistics.batches += 1 } }

    func note(_ fault: TeacherScript.Fault) {
        state.withLock { $0.statistics.faults[fault.rawValue, default: 0] += 1 }
    }

    private func chat(_ request: Request) async throws -> Response {
        try authorize(request)
        let buffer = try await request.body.collect(upTo: 16 << 20)
        let bytes = Array(buffer.readableBytesView)
        if let called = try toolCall(bytes) { return called }
        let chat = try checked(bytes)
        let (identity, attempt) = begin(chat)
        var handsOver = false
        defer { if !handsOver { leave() } }
        if attempt < 0 { return try limited() }
        let reply = reply(chat, identity: identity, attempt: attempt)
        try await wait(reply.seconds)
        if let fault = reply.fault { note(fault) }
        switch reply.fault {
        case .rateLimited: return try limited()
        case .server:
            throw APIError(
                status: [500, 502, 503][reply.variant % 3], "The simulated teacher failed.", type: "server_error")
        case .hang where reply.variant % 2 == 0 || !chat.fields.streams:
            try await wait(configuration.hangSeconds)
            throw APIError(status: 504, "The simulated teacher hung.", type: "server_error")
        default: break
        }
        // A model always says something.
        let answer = reply.answer ?? "I do not know."
        let written = SimulatedAnswer(
            chat, answer: answer, confidence: reply.confidence, script: configuration.script,
            model: configuration.model, number: identity)
        if reply.fault == nil { count(identity, written.usage) }
        handsOver = true
        return try response(written, streams: chat.fields.streams, reply: reply)
    }

    /// The answer to a request with tools: a call of the first one; nil for a request without.
    private func toolCall(_ bytes: [UInt8]) throws -> Response? {
        guard let body = try? JSONParser.parse(bytes), case .array(let tools)? = body["tools"] else { return nil }
        guard configuration.callsTools, let name = tools.first?["function"]?["name"]?.stringValue else {
            throw APIError.invalid("Unsupported parameter: 'tools'.", parameter: "tools")
        }
        try check(model: body["model"]?.stringValue)
        let function = JSONValue.object([("name", .string(name)), ("arguments", .string("{}"))])
        let call = JSONValue.object([
            ("id", .string("call_0")), ("type", .string("function")), ("function", function),
        ])
        let message = JSONValue.object([
            ("role", .string("assistant")), ("content", .null), ("tool_calls", .array([call])),
        ])
        return try Self.whole(
            object: "chat.completion",
            choice: [("message", message), ("finish_reason", .string("tool_calls"))])
    }

    /// `/v1/completions`, as far as it tells how probable a prompt is.
    private func completion(_ request: Request) async throws -> Response {
        try authorize(request)
        let buffer = try await request.body.collect(upTo: 1 << 20)
        guard let body = try? JSONParser.parse(Array(buffer.readableBytesView)),
            let prompt = body["prompt"]?.stringValue
        else { throw APIError.invalid("'prompt' must be a text.", parameter: "prompt") }
        try check(model: body["model"]?.stringValue)
        guard configuration.echoesPrompts, body["echo"] == .bool(true) else {
            throw APIError(status: 404, "There are no completions here but of echoed prompts.", type: "not_found_error")
        }
        let tokens = TeacherScript.tokens(prompt + " on")
        let logprobs = JSONValue.object([
            ("tokens", .array(tokens.map { .string($0) })),
            ("token_logprobs", .array(tokens.indices.map { $0 == 0 ? .null : .number("-1.5") })),
        ])
        return try Self.whole(
            object: "text_completion",
            choice: [
                ("text", .string(prompt + " on")), ("logprobs", logprobs), ("finish_reason", .string("length")),
            ])
    }

    private static func whole(object: String, choice: [(key: String, value: JSONValue)]) throws -> Response {
        let usage = JSONValue.object([("prompt_tokens", .number("40")), ("completion_tokens", .number("8"))])
        let value = JSONValue.object([
            ("id", .string("simulated")), ("object", .string(object)), ("created", .number("0")),
            ("choices", .array([.object([("index", .number("0"))] + choice)])), ("usage", usage),
        ])
        return Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: .init(byteBuffer: ByteBuffer(string: value.text)))
    }

    func leave() { state.withLock { $0.statistics.inFlight -= 1 } }

    /// An answer is counted before it is sent: a provider bills what it made, whoever listens.
    func count(_ identity: UInt64, _ usage: Usage) {
        state.withLock { state in
            state.counts[identity]!.answered += 1
            let answers = Int(state.counts[identity]!.answered)
            state.statistics.answered += 1
            if answers > 1 { state.statistics.answeredAgain += 1 }
            state.statistics.mostAnswers = max(state.statistics.mostAnswers, answers)
            state.statistics.promptTokens += usage.promptTokens
            state.statistics.completionTokens += usage.completionTokens
        }
    }

    private func wait(_ seconds: Double) async throws {
        guard seconds > 0 else { return }
        try await cancelWhenGracefulShutdown { try await Task.sleep(for: .seconds(seconds)) }
    }

    private func limited() throws -> Response {
        var response = try OpenAIRoutes.json(
            APIError(status: 429, "Too many requests.", type: "rate_limit_error", code: "rate_limit_exceeded"),
            status: .tooManyRequests)
        if let seconds = configuration.retryAfter {
            response.headers[.retryAfter] = String(Int(seconds.rounded(.up)))
            response.headers[HTTPField.Name("retry-after-ms")!] = String(Int(seconds * 1000))
        }
        return response
    }

    private struct Broken: Error {}

    private func response(_ answer: SimulatedAnswer, streams: Bool, reply: TeacherScript.Reply) throws -> Response {
        var pieces = try streams ? answer.events() : [answer.whole()]
        switch reply.fault {
        case .malformed:
            // In the middle of its JSON, then on as if nothing were.
            let place = streams ? pieces.count / 2 : 0
            let end = streams ? Array("\n\n".utf8) : []
            pieces[place] = Array(pieces[place].prefix(pieces[place].count / 2)) + end
        case .broken, .hang:
            if streams {
                pieces = Array(pieces.prefix(max(1, pieces.count / 2)))
            } else {
                pieces[0] = Array(pieces[0].prefix(pieces[0].count / 2))
            }
        default: break
        }
        let parts = pieces
        let length = streams ? nil : try answer.whole().count
        let body = ResponseBody(contentLength: reply.fault == .malformed || streams ? nil : length) { writer in
            defer { self.leave() }
            for part in parts { try await writer.write(ByteBuffer(bytes: part)) }
            if reply.fault == .hang { try await self.wait(self.configuration.hangSeconds) }
            if reply.fault == .broken || reply.fault == .hang { throw Broken() }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: streams ? "text/event-stream" : "application/json"], body: body)
    }
}

/// An answer of the simulated model in OpenAI's form.
struct SimulatedAnswer {
    let id: String
    let model: String
    let tokens: [TokenLogProbability]
    let reportsProbabilities: Bool
    let finish: String
    let usage: Usage
    let includesUsage: Bool

    init(
        _ chat: ChatCompletionRequest, answer: String, confidence: Double, script: TeacherScript, model: String,
        number: UInt64
    ) {
        id = "chatcmpl-" + String(number, radix: 16)
        self.model = model
        let all = TeacherScript.tokens(answer)
        let limit = chat.fields.maximumTokens ?? Int.max
        finish = all.count > limit ? "length" : "stop"
        reportsProbabilities = chat.topLogProbabilities != nil
        let count = chat.topLogProbabilities ?? 0
        tokens = all.prefix(limit).enumerated().map { place, text in
            // The first token is the choice; the others follow from it.
            let probability = place == 0 ? confidence : 0.999
            let others = place == 0 && count > 1 ? script.alternatives(to: text, count: count - 1) : []
            let own = (text, log(probability))
            let rest = others.map { ($0, log((1 - probability) / Double(others.count))) }
            let top = count > 0 ? [own] + rest : []
            return TokenLogProbability(
                token: text, logprob: own.1, bytes: Array(text.utf8),
                topLogprobs: top.map { .init(token: $0.0, logprob: $0.1, bytes: Array($0.0.utf8)) })
        }
        let prompt = chat.messages.reduce(0) { $0 + ($1.content.utf8.count + 3) / 4 + 4 }
        usage = Usage(promptTokens: prompt, completionTokens: tokens.count, cachedTokens: 0)
        includesUsage = chat.fields.includesUsage
    }

    private func completion(
        _ choices: [ChatCompletion.Choice], object: String, usage: Usage?
    ) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        let value = ChatCompletion(id: id, object: object, created: 0, model: model, choices: choices, usage: usage)
        return Array(try encoder.encode(value))
    }

    func whole() throws -> [UInt8] {
        let choice = ChatCompletion.Choice(
            index: 0, message: .init(role: "assistant", content: tokens.map(\.token).joined()),
            logprobs: reportsProbabilities ? .init(content: tokens) : nil, finishReason: finish)
        return try completion([choice], object: "chat.completion", usage: usage)
    }

    func events() throws -> [[UInt8]] {
        func event(_ choices: [ChatCompletion.Choice], usage: Usage? = nil) throws -> [UInt8] {
            Array("data: ".utf8) + (try completion(choices, object: "chat.completion.chunk", usage: usage))
                + Array("\n\n".utf8)
        }
        var events = [try event([.init(index: 0, delta: .init(role: "assistant", content: ""))])]
        for token in tokens {
            events.append(
                try event([
                    .init(
                        index: 0, delta: .init(content: token.token),
                        logprobs: reportsProbabilities ? .init(content: [token]) : nil)
                ]))
        }
        events.append(try event([.init(index: 0, delta: .init(), finishReason: finish)]))
        if includesUsage { events.append(try event([], usage: usage)) }
        events.append(Array("data: [DONE]\n\n".utf8))
        return events
    }
}
