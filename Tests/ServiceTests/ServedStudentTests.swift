import Distillation
import Foundation
import FoundationNetworking
import Inference
import OpenAI
import Service
import Tensors
import TestSupport
import Testing
import Tokenizers

/// A student behind the API, as clients of the large model see it.
@Suite(.serialized) struct ServedStudentTests {
    /// Trains a student of a kind whose schema allows one answer, and serves it while `body` runs.
    private func serve(
        _ kind: String, schema: String, gold: String, _ body: @Sendable @escaping (URL) async throws -> Void
    ) async throws {
        let folder = try TemporaryFolder()
        try TinyModel.write(to: folder.file("tiny.gguf").path)
        try folder.write(schema, "schema.json")
        for (name, count) in [("gold", 24), ("test", 8)] {
            try folder.write(
                (0..<count).map { "{\"input\":\"\(name) \($0)\",\"output\":\(gold)}" }.joined(separator: "\n"),
                "\(name).jsonl")
        }
        try folder.write(
            """
            name: t
            output: {kind: \(kind), schema: schema.json}
            data: {gold: {train: gold.jsonl, test: test.jsonl}}
            student: {base: tiny.gguf, start: carve, layers: 2, experts: {routed: 3, shared: 1, active: 1}}
            training: {epochs: 1, batch: 8}
            """, "task.yaml")
        let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 1), observer: Notes()).run()
        let model = try ServedModel(
            studentAt: outcome.package, configuration: .init(maximumSequences: 4), pool: WorkerPool(threadCount: 1))
        let server = Server(model: model, port: 0)
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run(handlesSignals: false) { continuation.yield($0) } }
            defer { group.cancelAll() }
            var iterator = ports.makeAsyncIterator()
            let port = try #require(await iterator.next())
            try await body(try #require(URL(string: "http://127.0.0.1:\(port)/v1")))
        }
    }

    /// The status and the body of the answer to a chat with more fields than a message.
    private static func post(_ fields: String, to url: URL) async throws -> (status: Int, body: JSONValue) {
        var request = URLRequest(url: url.appendingPathComponent("chat/completions"))
        request.httpMethod = "POST"
        request.httpBody = Data(#"{"messages":[{"role":"user","content":"go"}],\#(fields)}"#.utf8)
        let (data, response) = try await URLSession.shared.data(for: request)
        return ((response as? HTTPURLResponse)?.statusCode ?? 0, try JSONParser.parse(data))
    }

    private static let tools = #"[{"type":"function","function":{"name":"move"}}]"#

    @Test func toolCallsComeAsSuch() async throws {
        let call = #"{"name":"move","arguments":{"to":"left"}}"#
        let schema = """
            [{"function":{"name":"move","parameters":{"type":"object","properties":{"to":{"const":"left"}},
            "required":["to"],"additionalProperties":false}}}]
            """
        try await serve("tool", schema: schema, gold: call) { url in
            let whole = try await Self.post("\"tools\":\(Self.tools),\"tool_choice\":\"auto\"", to: url)
            let choice = try #require(whole.body["choices"]?.first)
            let made = try #require(choice["message"]?["tool_calls"]?.first)
            #expect(whole.status == 200 && choice["finish_reason"]?.stringValue == "tool_calls")
            #expect(made["type"]?.stringValue == "function" && made["id"]?.stringValue?.hasPrefix("call_") == true)
            #expect(made["function"]?["name"]?.stringValue == "move")
            #expect(made["function"]?["arguments"]?.stringValue == #"{"to":"left"}"#)
            #expect(choice["message"]?["content"] == nil)

            let client = try EndpointClient(.init(url: url, model: "t", key: nil))
            var streamed = ChatCall(messages: [.init(role: "user", content: "go")], maximumTokens: 64)
            streamed.streams = true
            let answer = try await client.answer(streamed).answer
            #expect(
                answer.toolCalls.map(\.name) == ["move"] && answer.toolCalls.map(\.arguments) == [#"{"to":"left"}"#])
            #expect(answer.text.isEmpty && answer.finishReason == "tool_calls")
            await client.shutDown()

            let cut = try await Self.post("\"max_tokens\":2", to: url)
            #expect(cut.body["choices"]?.first?["finish_reason"]?.stringValue == "length")
            let none = try await Self.post("\"tool_choice\":\"none\"", to: url)
            #expect(none.status == 400 && none.body["error"]?["param"]?.stringValue == "tool_choice")
        }
    }

    @Test func whatCallsNoToolsSaysSo() async throws {
        try await serve("json", schema: #"{"const":{"a":1}}"#, gold: #"{"a":1}"#) { url in
            let plain = try await Self.post("\"tools\":[]", to: url)
            let message = try #require(plain.body["choices"]?.first?["message"])
            #expect(message["content"]?.stringValue == #"{"a":1}"# && message["tool_calls"] == nil)
            let asked = try await Self.post("\"tools\":\(Self.tools)", to: url)
            #expect(asked.status == 400 && asked.body["error"]?["param"]?.stringValue == "tools")
        }
    }
}

extension JSONValue {
    /// The first of a list; nil where it is none.
    fileprivate var first: JSONValue? {
        guard case .array(let values) = self else { return nil }
        return values.first
    }
}
