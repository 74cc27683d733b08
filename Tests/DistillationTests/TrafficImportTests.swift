import Distillation
import Foundation
import TestSupport
import Testing
import Tokenizers

@Suite struct PersonalDataTests {
    private func masked(_ text: String) -> String {
        var personal = PersonalData()
        return personal.mask(text)
    }

    @Test(arguments: [
        ("Write to anna.m+x@mail.example.co.uk, please.", "Write to [EMAIL], please."),
        ("IBAN DE89 3704 0044 0532 0130 00 is mine", "IBAN [IBAN] is mine"),
        ("GB29NWBK60161331926819.", "[IBAN]."), ("card 4111 1111 1111 1111 stolen", "card [CARD] stolen"),
        ("4111-1111-1111-1111", "[CARD]"), ("378282246310005", "[CARD]"),
        ("from 192.168.10.254. Then", "from [IP]. Then"), ("at 2001:db8::8a2e:370:7334 now", "at [IP] now"),
        ("fe80::1", "[IP]"),
        ("call +49 30 1234567 or", "call [PHONE] or"), ("(212) 555-0123!", "[PHONE]!"), ("030 1234 5678", "[PHONE]"),
    ])
    func isMasked(text: String, expected: String) {
        #expect(masked(text) == expected)
    }

    @Test(arguments: [
        "IBAN GB29NWBK60161331926818", "card 4111 1111 1111 1112", "version 1.2.3", "999.1.1.1", "at 12:30:45",
        "paid 1,234.56 on 2026-11-24", "order 1234567", "user@localhost", "a @ b.com", "x = a::b",
        "0000 0000 0000 0000",
        "twenty 20 thirty 30", "", "🙂 漢字 é", "ABCD1234",
    ])
    func isLeftAlone(text: String) {
        let result = masked(text)
        // A wrong card number is no card; that it looks like something else is not asked here.
        #expect(
            !result.contains("[CARD") && !result.contains("[IBAN") && !result.contains("[EMAIL")
                && !result.contains("[IP"))
        if !text.contains("4111"), !text.contains("0000") { #expect(result == text) }
    }

    @Test func equalValuesHaveEqualMarksWithinARow() {
        var personal = PersonalData()
        #expect(personal.mask("a@b.de to c@d.de and A@b.de") == "[EMAIL] to [EMAIL_2] and [EMAIL]")
        #expect(personal.mask("{\"to\":\"c@d.de\"}") == "{\"to\":\"[EMAIL_2]\"}")
        personal.beginRow()
        #expect(personal.mask("c@d.de") == "[EMAIL]")
        #expect(personal.counts[.email] == 5)
    }

    @Test func longRunsTakeLinearTime() {
        for text in ["1 ", "a.", "DE89", "+1-", "::"] {
            _ = masked(String(repeating: text, count: 20_000))
        }
    }
}

@Suite struct TrafficImportTests {
    private static let system = #"{"role":"system","content":"Name the intent."}"#

    private func request(_ text: String, system: String = system, more: String = "") -> String {
        #"{"model":"m","messages":[\#(system),{"role":"user","content":"\#(text)"}]\#(more)}"#
    }

    private func response(_ text: String, finish: String = "stop") -> String {
        let content = JSONValue.string(text).text
        return
            #"{"choices":[{"index":0,"message":{"role":"assistant","content":\#(content)},"finish_reason":"\#(finish)"}]}"#
    }

    private func rows(_ url: URL) throws -> [String] {
        try String(contentsOf: url, encoding: .utf8).split(separator: "\n").map(String.init)
    }

    @Test func allShapesAreRead() throws {
        let folder = try TemporaryFolder()
        let chunks = ["re", "fund"].map { #"{"choices":[{"index":0,"delta":{"content":"\#($0)"}}]}"# }
        let last = #"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#
        let stream = (chunks + [last]).map { "data: \($0)\n\n" }.joined() + "data: [DONE]\n\n"
        var lines = [
            #"{"request":\#(request("one")),"response":\#(response("card"))}"#,
            // Stored completions.
            #"{"id":"x","messages":[\#(Self.system),{"role":"user","content":[{"type":"text","text":"two"}]}],"choices":[{"message":{"content":"card"}}]}"#,
            #"{"request":\#(request("three")),"response":[\#((chunks + [last]).joined(separator: ","))]}"#,
            #"{"request":\#(request("four")),"response":\#(JSONValue.string(stream).text)}"#,
            #"{"request":\#(JSONValue.string(request("five")).text),"response":\#(JSONValue.string(response("card")).text)}"#,
            #"{"request":{"method":"POST","body":\#(request("six"))},"response":{"status_code":200,"body":\#(response("card"))}}"#,
            // Not to be used, each for a reason of its own.
            #"{"request":\#(request("seven")),"response":{"choices":[{"message":{"content":"ca"},"finish_reason":"length"}]}}"#,
            #"{"request":\#(request("eight")),"response":{"error":{"message":"no"}}}"#,
            #"{"request":\#(request("nine")),"response":[\#(chunks.joined(separator: ","))]}"#,
            "{not json", #"{"response":{}}"#,
            #"{"request":\#(request("ten", system: #"{"role":"system","content":"Other."}"#)),"response":\#(response("x"))}"#,
            #"{"request":\#(request("one")),"response":\#(response("card"))}"#,
        ]
        lines.insert("", at: 3)
        try folder.write(lines.joined(separator: "\n"), "logs.jsonl")
        let task = folder.url.appendingPathComponent("task")
        let report = try TrafficImport(folder: task, masks: false).run(folder.url.appendingPathComponent("logs.jsonl"))
        #expect(report.rows == 6 && report.lines == 13 && report.kind == "label" && report.madeTask)
        let skipped = Dictionary(uniqueKeysWithValues: report.skipped.map { ($0.reason, $0.lines) })
        #expect(skipped["the answer was cut off at the limit of tokens"] == [8])
        #expect(skipped["the request failed"] == [9])
        #expect(skipped["the streamed answer is not whole"] == [10])
        #expect(skipped["the line is no JSON"] == [11])
        #expect(skipped["there is no request"] == [12])
        #expect(skipped["the system message is another than that of most lines"] == [13])
        #expect(skipped["the row is there already"] == [14])
        let written = try rows(task.appendingPathComponent("traffic.jsonl"))
        #expect(
            written[2] == #"{"input":"three","output":"refund"}"#
                && written[3] == #"{"input":"four","output":"refund"}"#)
        let definition = try TaskDefinition(folder: task)
        #expect(definition.instruction == "Name the intent." && definition.recorded == "traffic.jsonl")
        #expect(try Dataset(definition).train.count + Dataset(definition).test.count == 6)

        // The same again adds nothing; more adds to it.
        let again = try TrafficImport(folder: task, masks: false).run(folder.url.appendingPathComponent("logs.jsonl"))
        #expect(again.rows == 0 && !again.madeTask)
        try folder.write(#"{"request":\#(request("new")),"response":\#(response("card"))}"#, "more.jsonl")
        #expect(
            try TrafficImport(folder: task, masks: false).run(folder.url.appendingPathComponent("more.jsonl")).rows == 1
        )
        #expect(try rows(task.appendingPathComponent("traffic.jsonl")).count == 7)
    }

    @Test func toolsAndStructuredOutputsBecomeJSON() throws {
        let folder = try TemporaryFolder()
        let call =
            #"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"book","arguments":"{\"to\": \"a@b.de\", \"n\": 2}"}}]},"finish_reason":"tool_calls"}]}"#
        try folder.write(
            [
                #"{"request":\#(request("write to a@b.de")),"response":\#(call)}"#,
                #"{"request":\#(request("two", more: #","response_format":{"type":"json_object"}"#)),"response":\#(response(#"{ "a" : 1 }"#))}"#,
                #"{"request":\#(request("three", more: #","response_format":{"type":"json_object"}"#)),"response":\#(response("oops"))}"#,
            ].joined(separator: "\n"), "logs.jsonl")
        let report = try TrafficImport(folder: folder.url, masks: true).run(
            folder.url.appendingPathComponent("logs.jsonl"))
        #expect(report.rows == 2 && report.kind == "json" && report.masked == ["email": 2])
        #expect(report.skipped.map(\.lines) == [[3]])
        let written = try rows(folder.url.appendingPathComponent("traffic.jsonl"))
        #expect(
            written == [
                #"{"input":"write to [EMAIL]","output":{"tool":"book","arguments":{"to":"[EMAIL]","n":2}}}"#,
                #"{"input":"two","output":{"a":1}}"#,
            ])
    }

    @Test func calledToolsMakeATaskOfTheirs() throws {
        let folder = try TemporaryFolder()
        func line(_ input: String, _ calls: [String]) -> String {
            let calls = calls.map {
                #"{"id":"1","type":"function","function":{"name":"\#($0)","arguments":"{\"n\": 2}"}}"#
            }.joined(separator: ",")
            return
                #"{"request":\#(request(input)),"response":{"choices":[{"message":{"content":null,"tool_calls":[\#(calls)]},"finish_reason":"tool_calls"}]}}"#
        }
        try folder.write([line("one", ["book"]), line("two", ["pay"])].joined(separator: "\n"), "logs.jsonl")
        let task = folder.url.appendingPathComponent("task")
        let report = try TrafficImport(folder: task, masks: false).run(folder.url.appendingPathComponent("logs.jsonl"))
        #expect(report.rows == 2 && report.kind == "tool" && report.madeTask)
        #expect(
            try rows(task.appendingPathComponent("traffic.jsonl"))[0]
                == #"{"input":"one","output":{"name":"book","arguments":{"n":2}}}"#)
        #expect(try TaskDefinition(folder: task).kind == .tool)

        // What does not fit the task that is there is left out, and says why.
        try folder.write(#"[{"function":{"name":"book"}}]"#, "task/tools.json")
        try folder.write(
            "name: t\noutput: {kind: tool, schema: tools.json}\ndata: {recorded: traffic.jsonl}", "task/task.yaml")
        try folder.write(
            [
                line("three", ["book"]), line("four", ["pay"]), line("five", ["book", "book"]),
                #"{"request":\#(request("six")),"response":\#(response("no call"))}"#,
            ].joined(separator: "\n"), "more.jsonl")
        let more = try TrafficImport(folder: task, masks: false).run(folder.url.appendingPathComponent("more.jsonl"))
        #expect(more.rows == 1)
        let skipped = Dictionary(uniqueKeysWithValues: more.skipped.map { ($0.reason, $0.lines) })
        #expect(skipped["the answer does not fit the task's schema"] == [2])
        #expect(skipped["the answer is no tool call"] == [3, 4])
    }

    @Test func setsOfLabelsAreRecorded() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            "name: t\noutput: {kind: labels, labels: [card, refund]}\ndata: {recorded: past.jsonl}\n", "task.yaml")
        try folder.write(
            [("one", #"["refund", "card"]"#), ("two", "card"), ("three", #"["loan"]"#)].map {
                #"{"request":\#(request($0)),"response":\#(response($1))}"#
            }.joined(separator: "\n"), "logs.jsonl")
        let report = try TrafficImport(folder: folder.url, masks: false).run(
            folder.url.appendingPathComponent("logs.jsonl"))
        #expect(report.skipped.map(\.reason) == ["the answer is no list of the task's labels"])
        #expect(
            try rows(folder.url.appendingPathComponent("past.jsonl")) == [
                #"{"input":"one","output":["card","refund"]}"#, #"{"input":"two","output":["card"]}"#,
            ])
    }

    @Test func aTaskThatIsThereDecides() throws {
        let folder = try TemporaryFolder()
        try folder.write(
            "name: t\noutput: {kind: label, labels: [card, refund]}\ndata: {recorded: past.jsonl}\n", "task.yaml")
        try folder.write(
            [("one", "card"), ("two", "loan")].map { #"{"request":\#(request($0)),"response":\#(response($1))}"# }
                .joined(separator: "\n"), "logs.jsonl")
        let report = try TrafficImport(folder: folder.url, masks: false).run(
            folder.url.appendingPathComponent("logs.jsonl"))
        #expect(report.rows == 1 && report.skipped.map(\.reason) == ["the answer is none of the task's labels"])
        #expect(try rows(folder.url.appendingPathComponent("past.jsonl")) == [#"{"input":"one","output":"card"}"#])
        try folder.write("name: t\noutput: {kind: text}\ndata: {gold: past.jsonl}\n", "task.yaml")
        let error = #expect(throws: TaskError.self) {
            try TrafficImport(folder: folder.url, masks: false).run(folder.url.appendingPathComponent("logs.jsonl"))
        }
        #expect(error?.message.contains("names no file") == true)
        #expect(throws: TaskError.self) {
            try TrafficImport(folder: folder.url, masks: false).run(folder.url.appendingPathComponent("no"))
        }
    }
}
