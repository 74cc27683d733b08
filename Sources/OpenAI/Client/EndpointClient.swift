internal import AsyncHTTPClient
public import Foundation
internal import NIOCore
internal import NIOHTTP1
internal import Tokenizers

/// Asks any endpoint that speaks OpenAI's API: retries, concurrency that adapts, a circuit breaker, time limits.
///
/// ``shutDown()`` must be called before it goes away.
public final class EndpointClient: Sendable {
    public struct Configuration: Sendable {
        /// Up to and with the version: `https://api.openai.com/v1`.
        public var url: URL
        public var model: String
        public var key: APIKey?
        /// Longest time for one answer, from the first byte asked to the last one given.
        public var secondsPerCall = 120.0
        public var secondsToConnect = 10.0
        public var maximumConcurrency = 64
        public var retry = RetryPolicy()
        /// Seconds in which an endpoint that only fails is tried again now and then.
        public var patience = 300.0

        public init(url: URL, model: String, key: APIKey? = nil) {
            self.url = url
            self.model = model
            self.key = key
        }
    }

    public let configuration: Configuration
    let base: String
    let client: HTTPClient
    private let gate: EndpointGate

    /// An answer larger than this is none.
    private static let maximumBytes = 16 << 20

    /// - Throws: ``EndpointError`` `.address`.
    public init(_ configuration: Configuration) throws {
        base = try Self.address(configuration.url.absoluteString)
        self.configuration = configuration
        var settings = HTTPClient.Configuration()
        settings.redirectConfiguration = .disallow
        settings.timeout = .init(connect: .milliseconds(Int64(configuration.secondsToConnect * 1000)))
        settings.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = configuration.maximumConcurrency
        // The policy here decides about retries, also of connections.
        settings.connectionPool.retryConnectionEstablishment = false
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: settings)
        gate = EndpointGate(
            AdmissionControl(limit: ConcurrencyLimit(maximum: configuration.maximumConcurrency)),
            patience: configuration.patience)
    }

    /// An endpoint's address without a slash at its end: calls go to `/chat/completions` below it.
    ///
    /// - Throws: ``EndpointError`` `.address` for what is no http or https address, or has a name, password or query in
    ///   it.
    public static func address(_ text: String) throws -> String {
        guard let parts = URLComponents(string: text), let scheme = parts.scheme?.lowercased(),
            scheme == "http" || scheme == "https", let host = parts.host, !host.isEmpty
        else { throw EndpointError(.address, "expected an address such as https://api.example.com/v1") }
        guard parts.user == nil, parts.password == nil, parts.query == nil, parts.fragment == nil else {
            throw EndpointError(
                .address, "the address may have no user name, password, query or fragment; a key goes into 'key'")
        }
        var address = text
        while address.hasSuffix("/") { address.removeLast() }
        if address.hasSuffix("/chat/completions") { address.removeLast("/chat/completions".count) }
        return address
    }

    /// Calls that may be in flight at present.
    public var concurrencyLimit: Double { get async { await gate.limit } }

    public func shutDown() async {
        try? await client.shutdown()
    }

    /// Asks until there is an answer or asking does not help.
    ///
    /// - Parameters:
    ///   - begins: called before each attempt, when its turn has come.
    ///   - failed: called after each attempt without an answer, before the next. What the two throw ends the call.
    /// - Returns: the answer, and the seconds its attempt took.
    /// - Throws: ``EndpointError``, `CancellationError`, what `begins` and `failed` throw.
    public func answer(
        _ call: ChatCall, begins: () async throws -> Void = {},
        failed: (AttemptFailure) async throws -> Void = { _ in }
    ) async throws -> (answer: ChatAnswer, seconds: Double) {
        let body = ByteBuffer(string: call.body(model: configuration.model))
        let clock = ContinuousClock()
        let began = clock.now
        var state = RetryState(configuration.retry, now: 0)
        while true {
            let number = try await gate.enter()
            var start = clock.now
            do {
                try await begins()
                start = clock.now
                let answer = try await limited { try await self.attempt(body, streams: call.streams) }
                await gate.leave(number, .answered)
                return (answer, (clock.now - start).inSeconds)
            } catch {
                guard let failure = error as? AttemptFailure, !Task.isCancelled else {
                    await gate.leave(number, .abandoned)
                    throw error is AttemptFailure ? CancellationError() : error
                }
                await gate.leave(number, failure.outcome)
                try await failed(failure)
                let now = (clock.now - began).inSeconds
                switch state.next(after: failure, now: now, draw: Double.random(in: 0..<1)) {
                case .retry(let seconds): try await Task.sleep(for: .seconds(seconds))
                case .giveUp: throw described(failure, state)
                }
            }
        }
    }

    func described(_ failure: AttemptFailure, _ state: RetryState) -> EndpointError {
        let code: EndpointError.Code
        var note = ""
        switch failure {
        case .refused(let status, _): code = [401, 402, 403, 404, 429].contains(status) ? .denied : .refused
        default:
            code = .noAnswer
            if state.failures + state.limits > 1 { note = " (asked \(state.failures + state.limits) times)" }
        }
        return EndpointError(code, "the endpoint \(base) gives no answer: \(failure.reason)\(note)")
    }

    /// Runs `body` for as long as a call may take.
    private func limited(_ body: @escaping @Sendable () async throws -> ChatAnswer) async throws -> ChatAnswer {
        let seconds = configuration.secondsPerCall
        return try await withThrowingTaskGroup(of: ChatAnswer.self) { group in
            group.addTask(operation: body)
            group.addTask {
                try await Task.sleep(for: .seconds(seconds))
                throw AttemptFailure.timedOut(seconds)
            }
            defer { group.cancelAll() }
            guard let answer = try await group.next() else { throw CancellationError() }
            return answer
        }
    }

    private func attempt(_ body: ByteBuffer, streams: Bool) async throws -> ChatAnswer {
        var request = HTTPClientRequest(url: base + "/chat/completions")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        request.headers.add(name: "Accept", value: streams ? "text/event-stream" : "application/json")
        request.headers.add(name: "User-Agent", value: "understudy")
        if let key = configuration.key { request.headers.add(name: "Authorization", value: key.authorization) }
        request.body = .bytes(body)
        let response: HTTPClientResponse
        do {
            response = try await client.execute(
                request, timeout: .milliseconds(Int64(configuration.secondsPerCall * 1000) + 1000))
        } catch {
            try Task.checkCancellation()
            throw failure(error, hasBegun: false)
        }
        do {
            guard response.status == .ok else { throw try await failure(response) }
            if streams, response.headers.first(name: "Content-Type")?.contains("event-stream") == true {
                return try await streamed(response)
            }
            var bytes: [UInt8] = []
            for try await part in response.body {
                bytes += part.readableBytesView
                guard bytes.count <= Self.maximumBytes else { throw AttemptFailure.broken("it is larger than 16 MB") }
            }
            let value: JSONValue
            do { value = try JSONParser.parse(bytes) } catch { throw AttemptFailure.broken("it is no JSON: \(error)") }
            do { return try ChatAnswer(value) } catch let error as ChatAnswer.Malformed {
                throw AttemptFailure.broken(error.message)
            }
        } catch let error as AttemptFailure {
            throw error
        } catch {
            try Task.checkCancellation()
            throw failure(error, hasBegun: true)
        }
    }

    private func streamed(_ response: HTTPClientResponse) async throws -> ChatAnswer {
        var events = ServerSentEvents(maximumBytes: Self.maximumBytes)
        var answer = StreamedAnswer()
        var count = 0
        for try await part in response.body {
            count += part.readableBytes
            guard count <= Self.maximumBytes else { throw AttemptFailure.broken("it is larger than 16 MB") }
            for event in try events.add(part.readableBytesView) { try answer.add(event) }
        }
        return try answer.finished()
    }

    /// What a failure of the connection is.
    func failure(_ error: any Error, hasBegun: Bool) -> AttemptFailure {
        if error is ServerSentEvents.TooLarge { return .broken("an event of the stream is too large") }
        if let error = error as? HTTPClientError {
            switch error {
            case .deadlineExceeded, .readTimeout: return .timedOut(configuration.secondsPerCall)
            case .connectTimeout:
                return .unreachable("no connection within \(Int(configuration.secondsToConnect.rounded(.up))) s")
            case .remoteConnectionClosed: return .broken("the connection was closed")
            case .cancelled: return .broken("the call was given up")
            default: return hasBegun ? .broken(error.shortDescription) : .unreachable(error.shortDescription)
            }
        }
        let text = configuration.key?.redacting("\(error)") ?? "\(error)"
        if error is HTTPParserError { return .broken("it is no HTTP (\(text.prefix(80)))") }
        if let error = error as? IOError, error.errnoCode == ECONNRESET || error.errnoCode == EPIPE {
            return .broken("the connection was reset")
        }
        return hasBegun ? .broken(String(text.prefix(200))) : .unreachable(String(text.prefix(200)))
    }

    /// What an answer with another status than 200 means.
    func failure(_ response: HTTPClientResponse) async throws -> AttemptFailure {
        var bytes: [UInt8] = []
        for try await part in response.body where bytes.count < 65536 { bytes += part.readableBytesView.prefix(65536) }
        let error = (try? JSONParser.parse(bytes)).map { $0["error"] ?? $0 }
        var message = error?["message"]?.stringValue ?? error?.stringValue ?? ""
        message = message.split(whereSeparator: \.isNewline).joined(separator: " ")
        message = String((configuration.key?.redacting(message) ?? message).prefix(300))
        let status = Int(response.status.code)
        let wait = RetryAfter.seconds(
            response.headers.first(name: "Retry-After"), milliseconds: response.headers.first(name: "retry-after-ms"),
            now: Date().timeIntervalSince1970)
        switch status {
        case 429:
            // An account without money is no reason to wait.
            let codes = [error?["code"]?.stringValue, error?["type"]?.stringValue]
            if codes.contains("insufficient_quota") { return .refused(status: status, message: message) }
            return .rateLimited(retryAfter: wait, message: message)
        case 408, 500...599: return .server(status: status, retryAfter: wait, message: message)
        default: return .refused(status: status, message: message)
        }
    }
}
