internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import OpenAI
internal import Synchronization
internal import Tokenizers

/// OpenAI's batches: `/v1/files` and `/v1/batches`, in memory.
extension TeacherSimulator {
    struct StoredFile {
        var name: String
        var purpose: String
        var bytes: [UInt8]
    }

    struct StoredBatch {
        var number: Int
        var input: String
        var metadata: JSONValue
        var created: Double
        /// When it is over, and how.
        var ends: Double
        var status: String
        var output: String?
        var errors: String?
        var problem: String?
        var counts: (total: Int, completed: Int, failed: Int)
    }

    func addBatchRoutes(_ router: Router<BasicRequestContext>) {
        router.post("/v1/files") { request, _ in try await self.upload(request) }
        router.get("/v1/files/{id}") { request, context in
            try self.authorize(request)
            let id = try context.parameters.require("id")
            return try Self.json(Self.describe(id, try self.file(id)))
        }
        router.get("/v1/files/{id}/content") { request, context in
            try self.authorize(request)
            let file = try self.file(try context.parameters.require("id"))
            return Response(
                status: .ok, headers: [.contentType: "application/octet-stream"],
                body: .init(byteBuffer: ByteBuffer(bytes: file.bytes)))
        }
        router.post("/v1/batches") { request, _ in try await self.makeBatch(request) }
        router.get("/v1/batches") { request, _ in
            try self.authorize(request)
            let after = request.uri.queryParameters["after"].map(String.init)
            let limit = request.uri.queryParameters["limit"].flatMap { Int($0) } ?? 20
            let all = self.batches.withLock { $0.batches.sorted { $0.value.number > $1.value.number } }
            let rest = after.flatMap { id in all.firstIndex { $0.key == id } }.map { all.dropFirst($0 + 1) } ?? all[...]
            let page = rest.prefix(max(1, limit))
            return try Self.json(
                .object([
                    ("object", .string("list")), ("data", .array(page.map { Self.describe($0.key, $0.value) })),
                    ("has_more", .bool(page.count < rest.count)),
                    ("first_id", page.first.map { .string($0.key) } ?? .null),
                    ("last_id", page.last.map { .string($0.key) } ?? .null),
                ]))
        }
        router.get("/v1/batches/{id}") { request, context in
            try self.authorize(request)
            let id = try context.parameters.require("id")
            guard let batch = self.batches.withLock({ $0.batches[id] }) else { throw Self.missing("batch", id) }
            return try Self.json(Self.describe(id, batch))
        }
        router.post("/v1/batches/{id}/cancel") { request, context in
            try self.authorize(request)
            let id = try context.parameters.require("id")
            let now = Date().timeIntervalSince1970
            let batch = self.batches.withLock { state -> StoredBatch? in
                guard var batch = state.batches[id] else { return nil }
                if batch.ends > now {
                    (batch.status, batch.ends, batch.output, batch.errors) = ("cancelled", now, nil, nil)
                    batch.counts = (batch.counts.total, 0, 0)
                    state.batches[id] = batch
                }
                return batch
            }
            guard let batch else { throw Self.missing("batch", id) }
            return try Self.json(Self.describe(id, batch))
        }
    }

    private static func json(_ value: JSONValue) throws -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: .init(byteBuffer: ByteBuffer(string: value.text)))
    }

    private static func missing(_ what: String, _ id: String) -> APIError {
        APIError(status: 404, "No such \(what): '\(id)'.", parameter: "id", code: "not_found")
    }

    private func file(_ id: String) throws -> StoredFile {
        guard let file = batches.withLock({ $0.files[id] }) else { throw Self.missing("File object", id) }
        return file
    }

    private static func describe(_ id: String, _ file: StoredFile) -> JSONValue {
        .object([
            ("id", .string(id)), ("object", .string("file")), ("bytes", .number(String(file.bytes.count))),
            ("created_at", .number("0")), ("filename", .string(file.name)), ("purpose", .string(file.purpose)),
            ("status", .string("processed")),
        ])
    }

    private static func describe(_ id: String, _ batch: StoredBatch) -> JSONValue {
        let isOver = batch.ends <= Date().timeIntervalSince1970
        func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
        func number(_ value: Int) -> JSONValue { .number(String(value)) }
        let shown = isOver ? batch.counts : (batch.counts.total, 0, 0)
        let ended = batch.status + "_at"
        let errors: JSONValue =
            batch.problem.map { problem in
                .object([
                    ("object", .string("list")),
                    (
                        "data",
                        .array([.object([("code", .string("invalid_json_line")), ("message", .string(problem))])])
                    ),
                ])
            } ?? .null
        return .object([
            ("id", .string(id)), ("object", .string("batch")), ("endpoint", .string("/v1/chat/completions")),
            ("errors", isOver ? errors : .null), ("input_file_id", .string(batch.input)),
            ("completion_window", .string("24h")), ("status", .string(isOver ? batch.status : "in_progress")),
            ("output_file_id", isOver ? text(batch.output) : .null),
            ("error_file_id", isOver ? text(batch.errors) : .null), ("created_at", number(Int(batch.created))),
            (ended, isOver ? number(Int(batch.ends.rounded(.up))) : .null),
            (
                "request_counts",
                .object([
                    ("total", number(shown.0)), ("completed", number(shown.1)), ("failed", number(shown.2)),
                ])
            ), ("metadata", batch.metadata),
        ])
    }

    private func upload(_ request: Request) async throws -> Response {
        try authorize(request)
        guard let type = request.headers[.contentType], let place = type.range(of: "boundary=") else {
            throw APIError.invalid("Expected multipart/form-data.", parameter: "file")
        }
        let boundary = type[place.upperBound...].trimmingCharacters(in: CharacterSet(charactersIn: "\""))
        let buffer = try await request.body.collect(upTo: 256 << 20)
        var parts: [String: (name: String, bytes: [UInt8])] = [:]
        for part in Self.parts(Array(buffer.readableBytesView), boundary: boundary) {
            guard let end = Self.find(Array("\r\n\r\n".utf8), in: part, from: 0) else { continue }
            let head = String(decoding: part[..<end], as: UTF8.self)
            func field(_ name: String) -> String? {
                guard let start = head.range(of: "; \(name)=\"") else { return nil }
                return head[start.upperBound...].firstIndex(of: "\"").map { String(head[start.upperBound..<$0]) }
            }
            if let name = field("name") { parts[name] = (field("filename") ?? "", Array(part[(end + 4)...])) }
        }
        guard let file = parts["file"] else {
            throw APIError.invalid("'file' is a required property.", parameter: "file")
        }
        let purpose = parts["purpose"].map { String(decoding: $0.bytes, as: UTF8.self) } ?? ""
        guard purpose == "batch" else {
            throw APIError.invalid("'\(purpose)' is not one of ['batch'].", parameter: "purpose")
        }
        let stored = StoredFile(name: file.name, purpose: purpose, bytes: file.bytes)
        let id = batches.withLock { $0.add(stored) }
        return try Self.json(Self.describe(id, stored))
    }

    /// The parts of a form, heads and contents, without the line breaks around them.
    private static func parts(_ bytes: [UInt8], boundary: String) -> [[UInt8]] {
        let mark = Array("--\(boundary)".utf8)
        var result: [[UInt8]] = []
        var start: Int?
        var from = 0
        while let place = find(mark, in: bytes, from: from) {
            if let start, place - 2 >= start { result.append(Array(bytes[start..<(place - 2)])) }
            from = place + mark.count
            start = from + 2
        }
        return result
    }

    private static func find(_ mark: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard bytes.count >= mark.count, start <= bytes.count - mark.count else { return nil }
        return (start...(bytes.count - mark.count)).first { place in
            bytes[place] == mark[0] && bytes[place..<(place + mark.count)].elementsEqual(mark)
        }
    }

    private func makeBatch(_ request: Request) async throws -> Response {
        try authorize(request)
        let buffer = try await request.body.collect(upTo: 1 << 20)
        guard let body = try? JSONParser.parse(Array(buffer.readableBytesView)) else {
            throw APIError.invalid("The body is no JSON.", parameter: nil)
        }
        guard let input = body["input_file_id"]?.stringValue else {
            throw APIError.invalid("'input_file_id' is a required property.", parameter: "input_file_id")
        }
        guard body["endpoint"]?.stringValue == "/v1/chat/completions" else {
            throw APIError.invalid("Only /v1/chat/completions is supported.", parameter: "endpoint")
        }
        let lines = try file(input).bytes.split(separator: 0x0A).map(Array.init)
        let batch = workOff(lines, input: input, metadata: body["metadata"] ?? .null)
        let id = batches.withLock { state in
            var batch = batch
            batch.number = state.batches.count
            let id = "batch_\(batch.number)"
            state.batches[id] = batch
            return id
        }
        return try Self.json(Self.describe(id, batch))
    }

    /// Does the whole batch at once; it is shown when its time is over.
    private func workOff(_ lines: [[UInt8]], input: String, metadata: JSONValue) -> StoredBatch {
        noteBatch()
        let now = Date().timeIntervalSince1970
        var batch = StoredBatch(
            number: 0, input: input, metadata: metadata, created: now, ends: now + configuration.batchSeconds,
            status: "completed", counts: (lines.count, 0, 0))
        var output: [String] = []
        var errors: [String] = []
        // The first batches run out of time with half of their requests undone.
        let isExpired = batches.withLock { state in
            state.made += 1
            return state.made <= configuration.expiringBatches
        }
        for (place, line) in lines.enumerated() {
            guard let value = try? JSONParser.parse(line), let name = value["custom_id"]?.stringValue,
                let body = value["body"]
            else {
                batch.status = "failed"
                batch.problem = "Line \(place + 1) is not a request."
                batch.counts = (lines.count, 0, 0)
                return batch
            }
            func entry(_ status: Int, _ body: JSONValue?, error: JSONValue? = nil) -> String {
                let response: JSONValue =
                    body.map { .object([("status_code", .number(String(status))), ("body", $0)]) } ?? .null
                return JSONValue.object([
                    ("id", .string("batch_req_\(place)")), ("custom_id", .string(name)), ("response", response),
                    ("error", error ?? .null),
                ]).text
            }
            func failed(_ error: APIError) {
                let message = JSONValue.object([("message", .string(error.message))])
                errors.append(entry(error.status, .object([("error", message)])))
            }
            if isExpired, place >= lines.count / 2 {
                let error = JSONValue.object([
                    ("code", .string("batch_expired")),
                    ("message", .string("This request could not be executed before the completion window expired.")),
                ])
                errors.append(entry(0, nil, error: error))
                continue
            }
            do {
                let chat = try checked(Array(body.text.utf8))
                let (identity, attempt) = begin(chat)
                defer { leave() }
                let reply = reply(chat, identity: identity, attempt: attempt)
                if let fault = reply.fault {
                    note(fault)
                    failed(APIError(status: 500, "The simulated teacher failed.", type: "server_error"))
                    continue
                }
                let written = SimulatedAnswer(
                    chat, answer: reply.answer ?? "I do not know.", confidence: reply.confidence,
                    script: configuration.script, model: configuration.model, number: identity)
                count(identity, written.usage)
                output.append(entry(200, try JSONParser.parse(try written.whole())))
            } catch let error as APIError {
                failed(error)
            } catch {
                failed(APIError(status: 500, "\(error)", type: "server_error"))
            }
        }
        if isExpired { batch.status = "expired" }
        batch.counts = (lines.count, output.count, errors.count)
        func keep(_ lines: [String], _ name: String) -> String? {
            guard !lines.isEmpty else { return nil }
            let bytes = Array((lines.joined(separator: "\n") + "\n").utf8)
            return batches.withLock { $0.add(StoredFile(name: name, purpose: "batch_output", bytes: bytes)) }
        }
        batch.output = keep(output, "output.jsonl")
        batch.errors = keep(errors, "errors.jsonl")
        return batch
    }
}

/// The files and batches of a simulated endpoint.
struct SimulatedBatches {
    var files: [String: TeacherSimulator.StoredFile] = [:]
    var batches: [String: TeacherSimulator.StoredBatch] = [:]
    /// Batches that were asked for.
    var made = 0

    mutating func add(_ file: TeacherSimulator.StoredFile) -> String {
        let id = "file-\(files.count)"
        files[id] = file
        return id
    }
}
