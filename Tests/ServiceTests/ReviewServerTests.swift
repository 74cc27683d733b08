import Distillation
import Foundation
import Service
import TestSupport
import Testing

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

@Suite(.serialized) struct ReviewServerTests {
    private func folder() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        var rows: [String] = []
        for number in 0..<60 {
            let isCard = number % 2 == 0
            let label = (number == 20) != isCard ? "card" : "money"
            rows.append(
                "{\"input\":\"\(isCard ? "my card is lost" : "send a payment") <b>\(number)</b>\",\"output\":\"\(label)\"}"
            )
        }
        try folder.write(rows.joined(separator: "\n"), "gold.jsonl")
        try folder.write(
            rows.prefix(2).map { $0.replacing("input\":\"", with: "input\":\"test ") }.joined(separator: "\n"),
            "test.jsonl")
        try folder.write(
            "name: t\noutput: {kind: label}\ndata: {gold: {train: gold.jsonl, test: test.jsonl}}", "task.yaml")
        return folder
    }

    private static func send(_ url: URL, token: String?, body: String? = nil) async throws -> (Int, String) {
        var request = URLRequest(url: url)
        request.setValue(token, forHTTPHeaderField: "X-Review-Token")
        if let body {
            request.httpMethod = "POST"
            request.httpBody = Data(body.utf8)
        }
        let (data, response) = try await URLSession.shared.data(for: request)
        return ((response as? HTTPURLResponse)?.statusCode ?? 0, String(decoding: data, as: UTF8.self))
    }

    @Test func decisionsReachTheGold() async throws {
        let folder = try folder()
        let queue = try ReviewQueue(folder: folder.url, limit: 10)
        let item = try #require(queue.items.first)
        #expect(item.input == "my card is lost <b>20</b>" && item.answer == "money" && item.others == ["card"])
        let server = try ReviewServer(queue, token: "secret")
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run(port: 0, handlesSignals: false) { continuation.yield($0) } }
            defer { group.cancelAll() }
            var iterator = ports.makeAsyncIterator()
            let port = try #require(await iterator.next())
            let base = URL(string: "http://127.0.0.1:\(port)")!
            let page = try await Self.send(base.appendingPathComponent("/"), token: nil)
            #expect(page.0 == 200 && page.1.contains("content=\"secret\""))
            // Whoever has not read the page decides nothing.
            let decisions = base.appendingPathComponent("decisions")
            let wish = "{\"id\":0,\"output\":\"card\"}"
            #expect(try await Self.send(decisions, token: nil, body: wish).0 == 403)
            #expect(try await Self.send(base.appendingPathComponent("items"), token: "other").0 == 403)
            let items = try await Self.send(base.appendingPathComponent("items"), token: "secret")
            #expect(items.0 == 200 && items.1.contains("my card is lost"))
            // Bad ones are refused with a sentence.
            let wrong = try await Self.send(decisions, token: "secret", body: "{\"id\":0,\"output\":\"cards\"}")
            #expect(wrong.0 == 400 && wrong.1.contains("did you mean 'card'?"))
            #expect(try await Self.send(decisions, token: "secret", body: "{\"id\":99,\"output\":\"card\"}").0 == 404)
            for body in ["", "{}", "[1]", "{\"id\":-1,\"output\":\"card\"}", "{\"id\":1e9,\"output\":\"card\"}"] {
                let status = try await Self.send(decisions, token: "secret", body: body).0
                #expect([400, 404].contains(status), "\(body)")
            }
            #expect(await server.progress == .init(rows: queue.items.count))
            let right = try await Self.send(decisions, token: "secret", body: wish)
            #expect(right.0 == 200 && right.1.contains("\"corrected\":1"))
            // The same again is no second row.
            #expect(try await Self.send(decisions, token: "secret", body: wish).0 == 200)
        }
        let task = try TaskDefinition(folder: folder.url)
        #expect(try Dataset(task).train.last == Example(input: item.input, output: "card"))
        let lines = try String(contentsOf: folder.url.appendingPathComponent("gold.jsonl"), encoding: .utf8)
            .split(separator: "\n")
        #expect(lines.count == 61 && lines[60].contains("\"reviewed\":true"))
    }
}
