internal import Foundation
internal import HTTPTypes
public import Hummingbird
internal import Inference
internal import LanguageModels
internal import Logging
internal import NIOCore
internal import OpenAI
internal import Tokenizers

/// OpenAI's API over one model: `/v1/chat/completions`, `/v1/completions`, `/v1/models`, and `/health`.
///
///     let router = Router()
///     OpenAIRoutes(model: served).register(on: router)
public struct OpenAIRoutes: Sendable {
    private let model: ServedModel
    private let started = Int(Date().timeIntervalSince1970)
    /// Largest body of a request.
    private let maximumBody = 16 << 20

    public init(model: ServedModel) { self.model = model }

    public func register<Context: RequestContext>(on router: Router<Context>) {
        router.add(middleware: APIErrors())
        router.get("/health") { _, _ in try Self.json(Health(statistics: self.model.engine.statistics)) }
        router.get("/v1/models") { _, _ in try Self.json(ModelList(data: [self.entry])) }
        router.get("/v1/models/:id") { _, context in
            try self.check(context.parameters.get("id"))
            return try Self.json(self.entry)
        }
        router.post("/v1/chat/completions") { request, _ in
            let body = try await self.body(of: request)
            return try await self.chat(try ChatCompletionRequest(body: body))
        }
        router.post("/v1/completions") { request, _ in
            let body = try await self.body(of: request)
            return try await self.complete(try CompletionRequest(body: body))
        }
    }

    private struct Health: Encodable {
        var status = "ok"
        var statistics: BatchEngine.Statistics
    }

    private var entry: ModelList.Model { .init(id: model.id, created: started, ownedBy: "understudy") }

    private func body(of request: Request) async throws -> [UInt8] {
        do {
            let buffer = try await request.body.collect(upTo: maximumBody)
            return Array(buffer.readableBytesView)
        } catch is NIOTooManyBytesError {
            throw APIError(status: 413, "The body is larger than \(maximumBody) bytes.")
        }
    }

    /// - Throws: ``APIError`` for a model that is not served.
    private func check(_ name: String?) throws {
        guard let name, name != model.id else { return }
        throw APIError(
            status: 404, "The model '\(name)' does not exist; '\(model.id)' does.", parameter: "model",
            code: "model_not_found")
    }

    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        return Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try encoder.encode(value))))
    }

    private func identifier(_ prefix: String) -> String {
        prefix + UUID().uuidString.lowercased().filter { $0 != "-" }
    }

    // MARK: Chats

    private func chat(_ chat: ChatCompletionRequest) async throws -> Response {
        try check(chat.fields.model)
        let requests = try model.requests(chat)
        let id = identifier("chatcmpl-")
        let created = Int(Date().timeIntervalSince1970)
        let wantsLogProbabilities = chat.topLogProbabilities != nil
        @Sendable func logprobs(_ progress: GenerationProgress) -> ChatCompletion.LogProbabilities? {
            wantsLogProbabilities ? .init(content: chatLogProbabilities(progress)) : nil
        }
        if chat.fields.streams {
            return try stream(requests, includesUsage: chat.fields.includesUsage) { event in
                var choices: [ChatCompletion.Choice] = []
                var usage: Usage?
                switch event {
                case .first(let index): choices = [.init(index: index, delta: .init(role: "assistant", content: ""))]
                case .part(let index, let part):
                    let text = self.model.text(part)
                    guard !text.isEmpty || wantsLogProbabilities else { return nil }
                    choices = [
                        .init(
                            index: index, delta: self.message(text, place: 0), logprobs: logprobs(part.progress))
                    ]
                case .last(let index, let result):
                    choices = [.init(index: index, delta: .init(), finishReason: self.model.reason(result))]
                case .usage(let all): usage = all
                }
                return ChatCompletion(
                    id: id, object: "chat.completion.chunk", created: created, model: self.model.id, choices: choices,
                    usage: usage)
            }
        }
        let answers = try await collect(requests)
        let choices = answers.enumerated().map { index, answer in
            var message = message(answer.text)
            message.role = "assistant"
            return ChatCompletion.Choice(
                index: index, message: message, logprobs: logprobs(answer.progress),
                finishReason: model.reason(answer.result))
        }
        return try Self.json(
            ChatCompletion(
                id: id, object: "chat.completion", created: created, model: model.id, choices: choices,
                usage: Self.usage(answers.map(\.result), answersPerPrompt: requests.count)))
    }

    /// What a text shown says: itself, or a tool's call.
    ///
    /// - Parameter place: of the call among those of a streamed answer.
    private func message(_ text: String, place: Int? = nil) -> ChatCompletion.Message {
        guard let call = model.call(text) else { return .init(content: text) }
        return .init(toolCalls: [.init(index: place, id: identifier("call_"), function: call)])
    }

    private func chatLogProbabilities(_ progress: GenerationProgress) -> [TokenLogProbability] {
        progress.tokens.indices.map { index in
            let (text, bytes) = model.describe(progress.tokens[index])
            let top = progress.alternatives[index].map { distribution in
                zip(distribution.tokens, distribution.probabilities).map { token, probability in
                    let (text, bytes) = model.describe(token)
                    return TokenLogProbability.Alternative(
                        token: text, logprob: Self.logarithm(Double(probability)), bytes: bytes)
                }
            }
            return TokenLogProbability(
                token: text, logprob: max(progress.logProbabilities[index], -9999), bytes: bytes, topLogprobs: top ?? []
            )
        }
    }

    /// JSON has no infinity.
    private static func logarithm(_ probability: Double) -> Double { probability > 0 ? log(probability) : -9999 }

    private static func usage(_ results: [GenerationResult], answersPerPrompt: Int) -> Usage {
        var prompt = 0
        var cached = 0
        for index in stride(from: 0, to: results.count, by: max(1, answersPerPrompt)) {
            prompt += results[index].promptTokens
            cached += results[index].cachedTokens
        }
        return Usage(
            promptTokens: prompt, completionTokens: results.reduce(0) { $0 + $1.tokens.count }, cachedTokens: cached)
    }

    // MARK: Completions

    private func complete(_ completion: CompletionRequest) async throws -> Response {
        try check(completion.fields.model)
        let requests = try model.requests(completion)
        let id = identifier("cmpl-")
        let created = Int(Date().timeIntervalSince1970)
        let model = model
        @Sendable func echo(_ index: Int) -> String {
            guard completion.echoes else { return "" }
            switch completion.prompts[index / completion.fields.count] {
            case .text(let text): return text
            case .tokens(let tokens): return model.engine.model.tokenizer.decode(tokens)
            }
        }
        @Sendable func logprobs(_ progress: GenerationProgress) -> Completion.LogProbabilities? {
            completion.logProbabilities == nil ? nil : self.completionLogProbabilities(progress)
        }
        @Sendable func whole(_ choices: [Completion.Choice], _ usage: Usage? = nil) -> Completion {
            Completion(id: id, created: created, model: model.id, choices: choices, usage: usage)
        }
        if completion.fields.streams {
            return try stream(requests, includesUsage: completion.fields.includesUsage) { event in
                switch event {
                case .first(let index):
                    let text = echo(index)
                    return text.isEmpty ? nil : whole([.init(index: index, text: text)])
                case .part(let index, let part):
                    let values = logprobs(part.progress)
                    guard !part.text.isEmpty || values != nil else { return nil }
                    return whole([.init(index: index, text: part.text, logprobs: values)])
                case .last(let index, let result):
                    return whole([.init(index: index, text: "", finishReason: model.reason(result))])
                case .usage(let usage): return whole([], usage)
                }
            }
        }
        let answers = try await collect(requests)
        let choices = answers.enumerated().map { index, answer in
            Completion.Choice(
                index: index, text: echo(index) + answer.text, logprobs: logprobs(answer.progress),
                finishReason: model.reason(answer.result))
        }
        return try Self.json(
            whole(choices, Self.usage(answers.map(\.result), answersPerPrompt: completion.fields.count)))
    }

    private func completionLogProbabilities(_ progress: GenerationProgress) -> Completion.LogProbabilities {
        var result = Completion.LogProbabilities()
        var offset = 0
        func add(_ token: Int32, _ logProbability: Double?, _ distribution: TokenDistribution?) {
            let text = model.describe(token).text
            result.tokens.append(text)
            result.tokenLogprobs.append(logProbability.map { max($0, -9999) })
            result.topLogprobs.append(
                distribution.map { distribution in
                    Dictionary(
                        zip(distribution.tokens, distribution.probabilities).map {
                            (model.describe($0).text, Self.logarithm(Double($1)))
                        }, uniquingKeysWith: max)
                })
            result.textOffset.append(offset)
            offset += text.unicodeScalars.count
        }
        for score in progress.promptScores { add(score.token, score.logProbability, score.alternatives) }
        for index in progress.tokens.indices {
            add(progress.tokens[index], progress.logProbabilities[index], progress.alternatives[index])
        }
        return result
    }

    // MARK: Answers

    private struct Answer {
        var text = ""
        var progress: GenerationProgress
        var result: GenerationResult
    }

    /// All answers, whole.
    private func collect(_ requests: [GenerationRequest]) async throws -> [Answer] {
        // Taken in before any is waited for: they run together.
        let streams = try requests.map { try model.engine.generate($0) }
        var answers: [Answer] = []
        for stream in streams {
            var text = ""
            var progress: GenerationProgress?
            var result: GenerationResult?
            for try await part in stream {
                text += model.text(part)
                progress = progress?.joined(with: part.progress) ?? part.progress
                result = part.result
            }
            guard let progress, let result else { throw CancellationError() }
            answers.append(Answer(text: text, progress: progress, result: result))
        }
        return answers
    }

    /// What a streamed answer consists of.
    private enum StreamEvent: Sendable {
        case first(Int)
        case part(Int, GenerationPart)
        case last(Int, GenerationResult)
        case usage(Usage)
    }

    /// Answers as server-sent events, one for each part.
    private func stream(
        _ requests: [GenerationRequest], includesUsage: Bool,
        _ chunk: @escaping @Sendable (StreamEvent) -> (any Encodable)?
    ) throws -> Response {
        let streams = try requests.map { try model.engine.generate($0) }
        let body = ResponseBody { writer in
            let encoder = JSONEncoder()
            encoder.outputFormatting = .withoutEscapingSlashes
            func data(_ value: any Encodable) throws -> [UInt8] {
                Array("data: ".utf8) + (try encoder.encode(value)) + Array("\n\n".utf8)
            }
            var results: [GenerationResult] = []
            do {
                for try await (index, part) in Self.merged(streams) {
                    // Everything one step brought goes out in one piece.
                    var bytes: [UInt8] = []
                    func add(_ event: StreamEvent) throws {
                        if let chunk = chunk(event) { bytes += try data(chunk) }
                    }
                    guard let part else {
                        try add(.first(index))
                        try await writer.write(ByteBuffer(bytes: bytes))
                        continue
                    }
                    try add(.part(index, part))
                    if let result = part.result {
                        try add(.last(index, result))
                        results.append(result)
                    }
                    if !bytes.isEmpty { try await writer.write(ByteBuffer(bytes: bytes)) }
                }
                if includesUsage, let chunk = chunk(.usage(Self.usage(results, answersPerPrompt: results.count))) {
                    try await writer.write(ByteBuffer(bytes: try data(chunk)))
                }
                try await writer.write(ByteBuffer(string: "data: [DONE]\n\n"))
            } catch let error where !(error is CancellationError) {
                // The status is out already: the error comes as an event.
                try await writer.write(ByteBuffer(bytes: try data(APIErrors.described(error))))
            }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-cache"], body: body)
    }

    /// The parts of several answers as they come; nil comes first for each.
    private static func merged(_ streams: [GenerationStream]) -> AsyncThrowingStream<(Int, GenerationPart?), any Error>
    {
        AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for (index, stream) in streams.enumerated() {
                            continuation.yield((index, nil))
                            group.addTask {
                                for try await part in stream { continuation.yield((index, part)) }
                            }
                        }
                        try await group.waitForAll()
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }
}
