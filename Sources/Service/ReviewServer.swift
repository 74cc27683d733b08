package import Distillation
internal import Foundation
internal import HTTPTypes
public import Hummingbird
internal import NIOCore
internal import OpenAI
internal import Tokenizers

/// A page on this machine's loopback address where a person confirms or corrects the rows that are in doubt.
public actor ReviewServer {
    /// What was done so far.
    public struct Progress: Sendable, Hashable, Codable {
        public var rows: Int
        public var confirmed = 0
        public var corrected = 0

        public init(rows: Int) { self.rows = rows }
    }

    private let items: [ReviewItem]
    private let labels: [String]
    private let task: TaskDefinition
    private let gold: GoldFile
    /// What only the page knows, so that no other page of the browser can decide anything.
    package nonisolated let token: String
    private var decisions: [Int: String] = [:]

    /// - Throws: `TaskError` when the task has no gold that decisions could be added to.
    package init(_ queue: ReviewQueue, token: String? = nil) throws {
        items = queue.items
        labels = queue.labels
        task = queue.task
        gold = try GoldFile(queue.task, labels: queue.labels)
        self.token = token ?? UUID().uuidString
    }

    public var progress: Progress {
        var result = Progress(rows: items.count)
        for (id, answer) in decisions {
            if items[id].answer == answer { result.confirmed += 1 } else { result.corrected += 1 }
        }
        return result
    }

    /// The routes, for tests and for servers that have others, too.
    public nonisolated func router() -> Router<BasicRequestContext> {
        let router = Router()
        router.add(middleware: APIErrors())
        router.get("/") { request, _ in
            try Self.checkHost(request)
            return try await self.page()
        }
        router.get("/items") { request, _ in
            try self.check(request)
            return try await OpenAIRoutes.json(self.state())
        }
        router.post("/decisions") { request, _ in
            try self.check(request)
            let buffer: ByteBuffer
            do { buffer = try await request.body.collect(upTo: 1 << 20) } catch is NIOTooManyBytesError {
                throw APIError(status: 413, "The answer is larger than a megabyte.")
            }
            return try await OpenAIRoutes.json(self.decide(Array(buffer.readableBytesView)))
        }
        return router
    }

    /// Runs until the process is asked to end, or the task is cancelled.
    ///
    /// - Parameters:
    ///   - port: 0: any free one.
    ///   - handlesSignals: whether SIGINT and SIGTERM end it.
    ///   - onReady: called with the port once requests can come.
    /// - Throws: when the port is taken.
    public nonisolated func run(
        port: Int, handlesSignals: Bool = true, onReady: @escaping @Sendable (Int) -> Void
    ) async throws {
        try await LoopbackListener.run(router(), port: port, handlesSignals: handlesSignals, onReady: onReady)
    }

    /// A name that another site made lead here is none of ours (DNS rebinding).
    private static func checkHost(_ request: Request) throws {
        let host = request.head.authority ?? ""
        guard ["127.0.0.1", "localhost"].contains(String(host.prefix { $0 != ":" })) else {
            throw APIError(status: 403, "Only for this machine's loopback address.")
        }
    }

    private nonisolated func check(_ request: Request) throws {
        try Self.checkHost(request)
        guard let name = HTTPField.Name("X-Review-Token"), request.headers[name] == token else {
            throw APIError(status: 403, "Only for the page that this program serves; load it again.")
        }
    }

    private struct State: Encodable {
        var task: String
        var instruction: String
        var kind: String
        var labels: [String]
        var items: [ReviewItem]
        /// By the item's number.
        var decisions: [String: String]
        var file: String
    }

    private func state() -> State {
        State(
            task: task.name, instruction: task.instruction, kind: task.kind.rawValue, labels: labels, items: items,
            decisions: Dictionary(uniqueKeysWithValues: decisions.map { (String($0.key), $0.value) }),
            file: gold.url.lastPathComponent)
    }

    private func page() throws -> Response {
        var headers: HTTPFields = [.contentType: "text/html; charset=utf-8", .cacheControl: "no-store"]
        headers[.contentSecurityPolicy] =
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'"
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: ReviewPage.html(token: token)))
        )
    }

    /// Writes a decision down, then remembers it.
    private func decide(_ body: [UInt8]) throws -> Progress {
        guard let value = try? JSONParser.parse(body), case .number(let number)? = value["id"], let id = Int(number),
            let answer = value["output"]?.stringValue
        else { throw APIError.invalid("Expected {\"id\": …, \"output\": \"…\"}.") }
        guard items.indices.contains(id) else { throw APIError(status: 404, "There is no row \(id).") }
        do {
            let checked = try gold.checked(answer)
            if decisions[id] != checked {
                try gold.append(Example(input: items[id].input, output: checked))
                decisions[id] = checked
            }
        } catch let error as TaskError {
            throw APIError.invalid(error.description)
        }
        return progress
    }
}
