internal import AsyncHTTPClient
internal import Foundation
internal import NIOCore
internal import NIOHTTP1
public import Tokenizers

/// A batch of requests that an endpoint works off within a day, for half the price.
public struct EndpointBatch: Sendable, Hashable {
    public var id: String
    /// `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling`, `cancelled`.
    public var status: String
    /// Ids of the files with answers and with failures.
    public var outputFile: String?
    public var errorFile: String?
    /// What the one who made it wrote on it.
    public var mark: String?
    /// What was wrong with it, where it failed.
    public var problem: String?
    /// Seconds since 1970, and when it ended.
    public var created: Double
    public var ended: Double?

    /// Whether nothing more will happen to it.
    public var isOver: Bool { ["completed", "failed", "expired", "cancelled"].contains(status) }

    /// - Throws: ``ChatAnswer/Malformed``.
    public init(_ value: JSONValue) throws {
        guard let id = value["id"]?.stringValue, let status = value["status"]?.stringValue else {
            throw ChatAnswer.Malformed("a batch has no 'id' or 'status'")
        }
        func time(_ name: String) -> Double? {
            guard case .number(let text)? = value[name] else { return nil }
            return Double(text)
        }
        self.id = id
        self.status = status
        outputFile = value["output_file_id"]?.stringValue
        errorFile = value["error_file_id"]?.stringValue
        mark = value["metadata"]?[EndpointClient.markName]?.stringValue
        if case .array(let entries)? = value["errors"]?["data"] { problem = entries.first?["message"]?.stringValue }
        created = time("created_at") ?? 0
        ended = ["completed_at", "failed_at", "expired_at", "cancelled_at"].lazy.compactMap(time).first
    }
}

/// One line of a batch's files.
public struct EndpointBatchLine: Sendable {
    public enum Outcome: Sendable {
        case answer(ChatAnswer)
        /// The endpoint worked and may bill it, but nobody can read what it says.
        case broken(String)
        /// Asking again does not help.
        case refused(String)
        /// It was not worked off.
        case failed(String)
    }

    /// The name the request was given.
    public var name: String
    public var outcome: Outcome

    /// - Returns: nil for what is no line of such a file.
    public init?(_ line: some Collection<UInt8>) {
        guard let value = try? JSONParser.parse(line), let name = value["custom_id"]?.stringValue else { return nil }
        self.name = name
        let response = value["response"]
        let status = response?["status_code"].flatMap(RequestReader.integer) ?? 0
        let problem = value["error"]?["message"] ?? response?["body"]?["error"]?["message"]
        if status == 200, let body = response?["body"] {
            do { outcome = .answer(try ChatAnswer(body)) } catch {
                outcome = .broken((error as? ChatAnswer.Malformed)?.message ?? "it cannot be read")
            }
        } else if (400..<500).contains(status), status != 408, status != 429 {
            outcome = .refused("\(problem?.stringValue ?? "no reason given") (\(status))")
        } else {
            outcome = .failed(problem?.stringValue ?? "no reason given")
        }
    }
}

extension EndpointClient {
    /// The name of the mark in a batch's metadata.
    static let markName = "understudy"
    /// Longest time for sending or fetching a file, in seconds.
    private static let secondsPerFile = 900.0
    private static let maximumFileBytes = 512 << 20

    /// One request of a batch as a line of its file, without the line's end.
    public func batchLine(_ name: String, _ call: ChatCall) -> String {
        let body = (try? JSONParser.parse(call.body(model: configuration.model).utf8)) ?? .null
        return JSONValue.object([
            ("custom_id", .string(name)), ("method", .string("POST")), ("url", .string("/v1/chat/completions")),
            ("body", body),
        ]).text
    }

    /// Uploads requests and makes a batch of them. A batch with the same mark is taken instead of a new one, so that
    /// nothing is made twice when an answer got lost.
    ///
    /// - Throws: ``EndpointError``, `CancellationError`.
    public func makeBatch(_ lines: [String], mark: String) async throws -> EndpointBatch {
        let boundary = "understudy-\(mark)"
        var form = ByteBuffer(
            string:
                "--\(boundary)\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--\(boundary)\r\n"
                + "Content-Disposition: form-data; name=\"file\"; filename=\"\(mark).jsonl\"\r\n"
                + "Content-Type: application/jsonl\r\n\r\n")
        for line in lines { form.writeString(line + "\n") }
        form.writeString("\r\n--\(boundary)--\r\n")
        let upload = form
        let file = try await persisting {
            let value = try await self.exchange(
                .POST, "/files", body: upload, type: "multipart/form-data; boundary=\(boundary)")
            guard let id = value["id"]?.stringValue else { throw AttemptFailure.broken("the file has no 'id'") }
            return id
        }
        let request = JSONValue.object([
            ("input_file_id", .string(file)), ("endpoint", .string("/v1/chat/completions")),
            ("completion_window", .string("24h")), ("metadata", .object([(Self.markName, .string(mark))])),
        ]).text
        var mayExist = false
        return try await persisting {
            if mayExist, let known = try await self.findBatchOnce(mark: mark) { return known }
            mayExist = true
            return try Self.batch(
                try await self.exchange(
                    .POST, "/batches", body: ByteBuffer(string: request), type: "application/json"))
        }
    }

    /// The batch with a mark; nil: there is none.
    ///
    /// - Throws: ``EndpointError``, `CancellationError`.
    public func findBatch(mark: String) async throws -> EndpointBatch? {
        try await persisting { try await self.findBatchOnce(mark: mark) }
    }

    private func findBatchOnce(mark: String) async throws -> EndpointBatch? {
        var after = ""
        while true {
            let page = try await exchange(.GET, "/batches?limit=100" + after)
            guard case .array(let entries)? = page["data"] else { throw AttemptFailure.broken("it has no 'data'") }
            let batches = try entries.map(Self.batch)
            if let found = batches.first(where: { $0.mark == mark }) { return found }
            guard page["has_more"] == .bool(true), let last = batches.last else { return nil }
            after = "&after=\(last.id)"
        }
    }

    /// How a batch stands.
    ///
    /// - Throws: ``EndpointError``, `CancellationError`.
    public func batch(_ id: String) async throws -> EndpointBatch {
        try await persisting { try Self.batch(try await self.exchange(.GET, "/batches/" + id)) }
    }

    /// A file's bytes.
    ///
    /// - Throws: ``EndpointError``, `CancellationError`.
    public func file(_ id: String) async throws -> [UInt8] {
        try await persisting { try await self.bytes(.GET, "/files/\(id)/content") }
    }

    private static func batch(_ value: JSONValue) throws -> EndpointBatch {
        do { return try EndpointBatch(value) } catch let error as ChatAnswer.Malformed {
            throw AttemptFailure.broken(error.message)
        }
    }

    /// Tries again as the retry policy says.
    private func persisting<Value>(_ body: () async throws -> Value) async throws -> Value {
        let clock = ContinuousClock()
        let began = clock.now
        var state = RetryState(configuration.retry, now: 0)
        while true {
            do { return try await body() } catch let failure as AttemptFailure {
                let now = (clock.now - began).inSeconds
                switch state.next(after: failure, now: now, draw: Double.random(in: 0..<1)) {
                case .retry(let seconds): try await Task.sleep(for: .seconds(seconds))
                case .giveUp: throw described(failure, state)
                }
            }
        }
    }

    /// An answer to a request that may be refused; nil when it is.
    ///
    /// - Parameter body: nil: the request has none and reads.
    /// - Throws: ``EndpointError``, `CancellationError`.
    func accepted(_ path: String, _ body: JSONValue?) async throws -> JSONValue? {
        try await persisting {
            do {
                return try await self.exchange(
                    body == nil ? .GET : .POST, path, body: body.map { ByteBuffer(string: $0.text) },
                    type: body == nil ? nil : "application/json")
            } catch AttemptFailure.refused {
                return nil
            }
        }
    }

    private func exchange(
        _ method: HTTPMethod, _ path: String, body: ByteBuffer? = nil, type: String? = nil
    ) async throws -> JSONValue {
        let bytes = try await bytes(method, path, body: body, type: type)
        do { return try JSONParser.parse(bytes) } catch { throw AttemptFailure.broken("it is no JSON: \(error)") }
    }

    /// - Throws: ``AttemptFailure``, `CancellationError`.
    private func bytes(
        _ method: HTTPMethod, _ path: String, body: ByteBuffer? = nil, type: String? = nil
    ) async throws -> [UInt8] {
        var request = HTTPClientRequest(url: base + path)
        request.method = method
        request.headers.add(name: "User-Agent", value: "understudy")
        if let type { request.headers.add(name: "Content-Type", value: type) }
        if let key = configuration.key { request.headers.add(name: "Authorization", value: key.authorization) }
        if let body { request.body = .bytes(body) }
        let response: HTTPClientResponse
        do {
            response = try await client.execute(request, timeout: .seconds(Int64(Self.secondsPerFile)))
        } catch {
            try Task.checkCancellation()
            throw failure(error, hasBegun: false)
        }
        do {
            guard response.status == .ok else { throw try await failure(response) }
            var bytes: [UInt8] = []
            for try await part in response.body {
                bytes += part.readableBytesView
                guard bytes.count <= Self.maximumFileBytes else {
                    throw AttemptFailure.broken("it is larger than 512 MB")
                }
            }
            return bytes
        } catch let error as AttemptFailure {
            throw error
        } catch {
            try Task.checkCancellation()
            throw failure(error, hasBegun: true)
        }
    }
}
