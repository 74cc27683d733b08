import Distillation
import Foundation
import OpenAI
import TestSupport
import Testing
import Tokenizers

@Suite struct BudgetAccountTests {
    @Test func callsReserveTheMostTheyCanCost() {
        var account = BudgetAccount(.init(usd: 1, requests: 10), spent: .init(usd: 0.5, tokens: 100, requests: 3))
        let call = BudgetAccount.Amount(usd: 0.2, tokens: 10, requests: 1)
        #expect(account.reserve(call, minutes: 0) == .granted)
        #expect(account.reserve(call, minutes: 0) == .granted)
        // 0.5 + 0.2 + 0.2 + 0.2 is too much unless a call costs less than it may.
        #expect(account.reserve(call, minutes: 0) == .wait)
        account.settle(call, actual: .init(usd: 0.01, tokens: 3, requests: 1))
        #expect(account.reserve(call, minutes: 0) == .granted)
        account.settle(call, actual: call)
        account.settle(call, actual: call)
        #expect(abs(account.spent.usd - 0.91) < 1e-12 && account.spent.requests == 6)
        #expect(account.reserve(call, minutes: 0) == .spent("$1"))
        #expect(account.reserved.requests == 0)
    }

    @Test func everyLimitCounts() {
        let call = BudgetAccount.Amount(usd: 0.1, tokens: 10, requests: 1)
        var tokens = BudgetAccount(.init(tokens: 25))
        #expect(tokens.reserve(call, minutes: 0) == .granted && tokens.reserve(call, minutes: 0) == .granted)
        #expect(tokens.reserve(call, minutes: 0) == .wait)
        var requests = BudgetAccount(.init(requests: 0))
        #expect(requests.reserve(call, minutes: 0) == .spent("0 requests"))
        var minutes = BudgetAccount(.init(minutes: 2))
        #expect(
            minutes.reserve(call, minutes: 1.9) == .granted && minutes.reserve(call, minutes: 2) == .spent("2 minutes"))
    }
}

/// What an endpoint answered.
func chatAnswer(_ text: String, finish: String? = "stop") -> ChatAnswer {
    var answer = ChatAnswer()
    answer.text = text
    answer.finishReason = finish
    return answer
}

@Suite struct EndpointAnswerReaderTests {
    private let labels = ["card_arrival", "card_arrival_late", "refund", "not", "lost_card"]

    @Test(arguments: [
        ("refund", "refund", false), (" refund\n", "refund", false), ("Refund.", "refund", true),
        ("**card arrival**", "card_arrival", true), ("`CARD-ARRIVAL`", "card_arrival", true),
        ("The label is: card_arrival_late.", "card_arrival_late", true),
        ("```json\n{\"label\": \"lost card\", \"sure\": true}\n```", "lost_card", true),
        ("card_arival", "card_arrival", true),
    ])
    func labelsAreFound(text: String, label: String, isRepaired: Bool) {
        let reading = EndpointAnswerReader(kind: .label, labels: labels).read(chatAnswer(text))
        #expect(reading?.output == label)
        #expect(reading?.isRepaired == isRepaired)
        #expect(reading?.confidence == 1)
    }

    @Test(arguments: [
        "", "either refund or lost_card", "I cannot tell what this customer wants.", "banana", "{\"a\": [\"x\"]}",
    ])
    func whatIsNoLabelIsNone(text: String) {
        #expect(EndpointAnswerReader(kind: .label, labels: labels).read(chatAnswer(text)) == nil)
    }

    @Test(arguments: [
        (#"{"a": 1}"#, #"{"a":1}"#), ("Here you are:\n```json\n{\"a\": [1, 2,],}\n```\nBye {", #"{"a":[1,2]}"#),
        (#"{"a": {"b": "}"}} and so on"#, #"{"a":{"b":"}"}}"#), (#"Sure: {"a": {"b": 2}"#, #"{"a":{"b":2}}"#),
        ("[1] is not it? {\"a\": 1}", "[1]"),
    ])
    func jsonIsFound(text: String, json: String) {
        #expect(EndpointAnswerReader(kind: .json, labels: []).read(chatAnswer(text))?.output == json)
    }

    @Test func whatWasCutOffIsNoAnswer() {
        let json = EndpointAnswerReader(kind: .json, labels: [])
        #expect(json.read(chatAnswer(#"{"a": {"b": 2}"#, finish: "length")) == nil)
        #expect(json.read(chatAnswer(#"{"a": "b"#)) == nil)
        #expect(json.read(chatAnswer(String(repeating: "[", count: 100_000))) == nil)
        #expect(EndpointAnswerReader(kind: .text, labels: []).read(chatAnswer("half a", finish: "length")) == nil)
        #expect(EndpointAnswerReader(kind: .text, labels: []).read(chatAnswer("all", finish: "content_filter")) == nil)
    }

    /// "card" leads to three labels, of which the second token takes one; "ref" and "not" go other ways.
    @Test func alternativesBecomeADistribution() throws {
        func p(_ value: Double) -> Double { log(value) }
        var given = chatAnswer("card_arrival")
        given.tokens = [
            .init(
                text: "card", logProbability: p(0.7),
                alternatives: [
                    .init(text: "card", logProbability: p(0.7)), .init(text: "ref", logProbability: p(0.2)),
                    .init(text: " lost", logProbability: p(0.06)), .init(text: "zzz", logProbability: p(0.04)),
                ]),
            .init(
                text: "_arrival", logProbability: p(0.9),
                alternatives: [.init(text: "_arrival_late", logProbability: p(0.1))]),
        ]
        let reading = try #require(EndpointAnswerReader(kind: .label, labels: labels).read(given))
        let found = Dictionary(uniqueKeysWithValues: reading.distribution.map { ($0.label, $0.probability) })
        // What leads nowhere is left out of the sum: 0.63 + 0.07 + 0.2 + 0.06.
        #expect(abs(found["card_arrival"]! - 0.63 / 0.96) < 1e-9)
        #expect(abs(found["card_arrival_late"]! - 0.07 / 0.96) < 1e-9)
        #expect(abs(found["refund"]! - 0.2 / 0.96) < 1e-9)
        #expect(abs(found["lost_card"]! - 0.06 / 0.96) < 1e-9)
        #expect(reading.confidence == found["card_arrival"])
        #expect(reading.distribution.map(\.label).first == "card_arrival")
    }
}

@Suite struct EndpointTaskTests {
    private func read(_ teacher: String) throws -> TaskDefinition {
        let folder = try TemporaryFolder()
        try folder.write("{\"input\":\"a\",\"output\":\"b\"}\n", "gold.jsonl")
        try folder.write(
            "name: t\noutput: {kind: label}\ndata: {gold: gold.jsonl}\nteacher: \(teacher)\n", "task.yaml")
        return try TaskDefinition(folder: folder.url)
    }

    @Test func anEndpointIsRead() throws {
        let task = try read(
            "{endpoint: {url: 'https://a.b/v1/', model: m, key: env:KEY, stream: true, examples: 3}, budget: {usd: 2, requests: 10}}"
        )
        let endpoint = try #require(task.endpoint)
        #expect(endpoint.url == "https://a.b/v1" && endpoint.model == "m" && endpoint.key == .environment("KEY"))
        #expect(endpoint.streams && endpoint.examples == 3 && endpoint.concurrency == 64 && !endpoint.isPriced)
        #expect(task.budget == .init(usd: 2, requests: 10) && task.teacher == nil)
    }

    @Test(arguments: [
        ("{endpoint: {model: m}}", "'teacher.endpoint.url' is missing"),
        ("{endpoint: {url: 'http://a/v1'}}", "'teacher.endpoint.model' is missing"),
        ("{endpoint: {url: 'a/v1', model: m}}", "expected an address"),
        ("{endpoint: {url: 'http://u:p@a/v1', model: m}}", "may have no user name"),
        ("{endpoint: {url: 'http://a/v1', model: m, key: sk-secret}}", "must be env:NAME or file:PATH"),
        ("{endpoint: {url: 'http://a/v1', model: m, kez: x}}", "did you mean 'key'"),
        ("{endpoint: {url: 'http://a/v1', model: m}, model: x}", "both 'model' and 'endpoint'"),
        ("{endpoint: {url: 'http://a/v1', model: m}, adapt: {epochs: 1}}", "is for a local teacher"),
        ("{endpoint: {url: 'http://a/v1', model: m, stream: maybe}}", "must be true or false"),
        ("{endpoint: {url: 'http://a/v1', model: m}, budget: {usd: -1}}", "'teacher.budget.usd' must be a number"),
    ])
    func mistakesAreNamed(teacher: String, message: String) {
        let error = #expect(throws: TaskError.self) { try read(teacher) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(error?.line == 4 && error?.description.contains("sk-secret") == false)
    }

    @Test func theNearestExamplesAreShownNearestLast() throws {
        let examples = [
            Example(input: "my card is lost", output: "lost"), Example(input: "where is my refund", output: "refund"),
            Example(input: "the card was stolen yesterday", output: "stolen"),
        ]
        let index = ExampleIndex(examples)
        #expect(index.nearest(to: "lost card", count: 2).map(\.output) == ["lost", "stolen"])
        #expect(!index.nearest(to: "my card is lost", count: 3).contains { $0.input == "my card is lost" })
        #expect(index.nearest(to: "zebra", count: 3).isEmpty && index.nearest(to: "card", count: 0).isEmpty)
        let task = try read("{endpoint: {url: 'http://a/v1', model: m, examples: 2}}")
        let prompt = EndpointPrompt(task, endpoint: task.endpoint!, labels: ["lost", "stolen"], examples: examples)
        let call = prompt.call("lost card")
        #expect(call.messages.map(\.role) == ["system", "user", "assistant", "user", "assistant", "user"])
        #expect(call.messages[4].content == "lost" && call.messages[5].content == "lost card")
        var streamed = task.endpoint!
        streamed.streams = true
        let other = EndpointPrompt(task, endpoint: streamed, labels: ["lost", "stolen"], examples: examples)
        #expect(other.key("lost card") == prompt.key("lost card") && prompt.key("lost") != prompt.key("lost card"))
    }

    @Test func pricesComeFromOneFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.url.appendingPathComponent("prices.json").path
        #expect(try PriceList(path: path)[model: "gpt-4o-mini-2024-07-18"].usdPerMillionInput == 0.15)
        try folder.write(
            #"{"default": {"input": 1, "output": 2}, "models": {"a": {"input": 3, "output": 4}}}"#, "prices.json")
        let list = try PriceList(path: path)
        #expect(
            list[model: "a"].usd(input: 1_000_000, output: 500_000) == 5 && list[model: "b"].usdPerMillionOutput == 2)
        try folder.write(#"{"models": {"a": {"input": "3"}}}"#, "prices.json")
        let error = #expect(throws: TaskError.self) { try PriceList(path: path) }
        #expect(error?.file == path && error?.message.contains("'a'") == true)
    }
}

@Suite struct CallAccountTests {
    @Test func theAccountKeepsWhatEveryCallCost() async throws {
        let folder = try TemporaryFolder()
        let writer = CallWriter(try Workspace(folder: folder.url))
        let key = ContentKey(of: "a")
        func call(_ id: Int64) -> CallChange {
            .open(.init(id: id, request: key, inputTokens: 100, outputTokens: 50, usd: 1))
        }
        for id in 1...4 as ClosedRange<Int64> { try await writer.write(call(id)) }
        let answer = StoredAnswer(request: key, body: Data("x".utf8), inputTokens: 10, outputTokens: 5, usd: 0.25)
        try await writer.write(.answered(id: 1, answer))
        try await writer.write(.lost(id: 2))
        try await writer.write(.free(id: 3))
        let totals = try Workspace(folder: folder.url, access: .reading).callTotals()
        #expect(totals.answered == 1 && totals.lost == 1 && totals.open == 1 && totals.nextID == 5)
        #expect(totals.usd == 2.25 && totals.inputTokens == 210 && totals.outputTokens == 105)
        let other = try Workspace(folder: folder.url, access: .reading)
        #expect(try other.answers(to: [key])[key] == answer)
        #expect(try other.answered([key, ContentKey(of: "b")]) == [key])
    }

    /// Many writers at once: every change is made, in far fewer transactions than changes or as many.
    @Test func manyWriteAtOnce() async throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        let writer = CallWriter(workspace)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for id in 1...200 as ClosedRange<Int64> {
                group.addTask {
                    let key = ContentKey(of: "\(id)")
                    try await writer.write(.open(.init(id: id, request: key, inputTokens: 1, outputTokens: 1, usd: 1)))
                    try await writer.write(.answered(id: id, StoredAnswer(request: key, body: Data(), usd: 0.5)))
                }
            }
            try await group.waitForAll()
        }
        let totals = try workspace.callTotals()
        #expect(totals.answered == 200 && totals.open == 0 && totals.usd == 100)
    }
}
