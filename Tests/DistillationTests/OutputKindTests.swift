import Distillation
import Foundation
import OpenAI
import Tensors
import TestSupport
import Testing
import Tokenizers

/// Answers that are sets of labels, and tool calls: how they are read, kept, judged and asked for.
@Suite struct OutputKindTests {
    private func json(_ text: String) throws -> JSONValue { try JSONParser.parse(text.utf8) }

    private func task(_ output: String, gold: [String], test: [String] = [], more: String = "") throws -> (
        folder: TemporaryFolder, task: () throws -> TaskDefinition
    ) {
        let folder = try TemporaryFolder()
        func rows(_ outputs: [String], _ name: String) -> String {
            outputs.enumerated().map { "{\"input\":\"\(name) \($0.offset)\",\"output\":\($0.element)}" }
                .joined(separator: "\n")
        }
        try folder.write(rows(gold, "gold"), "gold.jsonl")
        if !test.isEmpty { try folder.write(rows(test, "test"), "test.jsonl") }
        let sets = test.isEmpty ? "{train: gold.jsonl}" : "{train: gold.jsonl, test: test.jsonl}"
        try folder.write("name: t\noutput: \(output)\ndata: {gold: \(sets)}\n\(more)", "task.yaml")
        return (folder, { try TaskDefinition(folder: folder.url) })
    }

    // MARK: Forms

    @Test(arguments: [
        (#"["b","a"]"#, #"["b","a"]"#), (#"["a","b"]"#, #"["b","a"]"#), ("[]", "[]"), (#""a""#, #"["a"]"#),
        (#"["a","a"]"#, #"["a"]"#),
    ])
    func setsAreKeptInTheTasksOrder(given: String, kept: String) throws {
        #expect(try AnswerForm(kind: .labels, labels: ["b", "a"]).text(json(given)) == kept)
    }

    @Test func withoutAListTheAlphabetIsTheOrder() throws {
        #expect(try AnswerForm(kind: .labels).text(json(#"["z","m","a"]"#)) == #"["a","m","z"]"#)
    }

    @Test(arguments: [
        (#"{"a":1}"#, "must be a list of labels"), ("[1]", "must be a list of labels"), (#"[""]"#, "must be a list"),
        (#"["blue","gren"]"#, "'gren' is not in the task's list; did you mean 'green'?"),
    ])
    func whatIsNoSetIsAnError(given: String, words: String) throws {
        let error = #expect(throws: AnswerForm.Misfit.self) {
            try AnswerForm(kind: .labels, labels: ["blue", "green"]).text(json(given))
        }
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [
        #"{"name":"f","arguments":{"x":1}}"#, #"{"arguments":{"x":1},"name":"f"}"#,
        #"{"type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}}"#,
        #"{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
        #"[{"function":{"name":"f","arguments":{"x":1}}}]"#, #"{"tool":"f","arguments":{"x":1}}"#,
    ])
    func callsHaveOneForm(given: String) throws {
        #expect(try AnswerForm(kind: .tool).text(json(given)) == #"{"name":"f","arguments":{"x":1}}"#)
    }

    @Test(arguments: [
        #"{"name":"f"}"#, #"{"name":"","arguments":{}}"#, #"{"name":"f","arguments":[1]}"#, #""f""#, "[]",
        #"{"name":"f","arguments":"{\"x\""}"#,
        #"[{"name":"f","arguments":{}},{"name":"g","arguments":{}}]"#,
    ])
    func whatIsNoCallIsAnError(given: String) throws {
        let error = #expect(throws: AnswerForm.Misfit.self) { try AnswerForm(kind: .tool).text(json(given)) }
        #expect(error?.message.contains("must be one tool call") == true)
    }

    @Test func rowsAreReadAndMistakesHaveFileAndLine() throws {
        let (folder, read) = try task("{kind: labels}", gold: [#"["b","a"]"#, "[]", #""c""#], test: ["[]"])
        let data = try Dataset(read())
        #expect(data.train.map(\.output) == [#"["a","b"]"#, "[]", #"["c"]"#] && data.labels == ["a", "b", "c"])
        try folder.write(#"{"input":"x","output":[]}"# + "\n" + #"{"input":"y","output":[3]}"#, "gold.jsonl")
        let error = #expect(throws: TaskError.self) { try Dataset(read()) }
        #expect(error?.line == 2 && error?.file?.hasSuffix("gold.jsonl") == true)
        try folder.write(#"{"input":"x","output":[]}"#, "gold.jsonl")
        #expect(throws: TaskError.self) { try Dataset(read()) }
    }

    @Test(arguments: [("label", #""new""#), ("labels", #"["a","new"]"#)])
    func labelsNobodyLearnsOfAreANoteUnlessTheTaskHasAList(kind: String, unknown: String) throws {
        let gold = (0..<6).map { $0 % 2 == 0 ? #""a""# : #""b""# }
        let open = try task("{kind: \(kind)}", gold: gold, test: [#""a""#, unknown])
        let data = try Dataset(open.task())
        #expect(data.labels == ["a", "b"] && data.test.count == 2)
        #expect(data.notes.contains { $0.contains("1 of 2 test rows") && $0.contains("(new)") }, "\(data.notes)")
        let closed = try task("{kind: \(kind), labels: [a, b]}", gold: gold, test: [#""a""#, unknown])
        let error = #expect(throws: TaskError.self) { try Dataset(closed.task()) }
        #expect(error?.line == 2 && error?.message.contains("'new'") == true)
        let known = try task("{kind: \(kind)}", gold: gold, test: [#""a""#])
        #expect(try Dataset(known.task()).notes.isEmpty)
    }

    @Test func labelsMayBeDescribed() throws {
        let (_, read) = try task(
            "{kind: label, labels: {card: 'asks where the card is', other: ''}}", gold: [#""card""#],
            more: "teacher: {endpoint: {url: 'http://a/v1', model: m}}")
        let task = try read()
        #expect(task.labels == ["card", "other"] && task.descriptions == ["card": "asks where the card is"])
        let prompt = EndpointPrompt(task, endpoint: task.endpoint!, labels: task.labels, examples: [])
        #expect(prompt.call("x").messages[0].content.hasSuffix("\ncard: asks where the card is\nother"))
        for wrong in ["[card, {a: b}]", "{card: [x]}", "{}", "[card, card]"] {
            #expect(throws: TaskError.self, "\(wrong)") {
                try self.task("{kind: label, labels: \(wrong)}", gold: [#""card""#]).task()
            }
        }
    }

    // MARK: Metrics

    private func scoring(_ kind: String, metric: String) throws -> Scoring {
        Scoring(try task("{kind: \(kind)}", gold: [#"["a"]"#], more: "quality: {metric: \(metric)}").task())
    }

    @Test func setsAreRightWhenTheyAreEqual() throws {
        for metric in ["accuracy", "exact"] {
            let scoring = try scoring("labels", metric: metric)
            #expect(scoring.metric == .accuracy)
            #expect(scoring.isRight(#"["b","a"]"#, expected: #"["a","b"]"#))
            #expect(!scoring.isRight(#"["a"]"#, expected: #"["a","b"]"#))
            #expect(scoring.isRight("[]", expected: "[]") && !scoring.isRight("", expected: "[]"))
            let score = scoring.score(["[]", #"["a"]"#], ["[]", #"["b"]"#], confidence: 0.95)
            #expect(score.value == 0.5)
        }
    }

    @Test func macroF1IsTheMeanOverLabels() throws {
        let score = try scoring("labels", metric: "macro_f1").score(
            [#"["a","b"]"#, #"["b"]"#, "[]"], [#"["a"]"#, #"["b","c"]"#, "[]"], confidence: 0.95)
        // a: 1; b: one hit, given twice, wanted once: 2/3; c: 0.
        #expect(abs(score.value - (1 + 2.0 / 3) / 3) < 1e-12)
        #expect(score.low <= score.value && score.value <= score.high)
    }

    @Test func otherKindsHaveNoSuchMetric() throws {
        #expect(throws: TaskError.self) { try scoring("tool", metric: "macro_f1") }
        let exact = Scoring(
            try task("{kind: tool}", gold: [#"{"name":"f","arguments":{"x":1}}"#]).task())
        #expect(
            exact.isRight(
                #"{"name":"f","arguments":{"y":1.0,"x":2}}"#, expected: #"{"name":"f","arguments":{"x":2,"y":1}}"#))
        #expect(!exact.isRight(#"{"name":"f","arguments":{}}"#, expected: #"{"name":"f","arguments":{"x":2}}"#))
    }

    @Test func theCheapRivalLearnsEachLabel() throws {
        let topics = [("card", "lost my card"), ("money", "send money home"), ("rate", "what is the rate")]
        var rows: [Example] = []
        for n in 0..<12 {
            for (place, topic) in topics.enumerated() {
                let other = topics[(place + 1) % 3]
                rows.append(Example(input: "\(topic.1) please \(n)", output: LabelSet.text([topic.0], order: [])))
                rows.append(
                    Example(
                        input: "\(topic.1) and \(other.1) \(n)", output: LabelSet.text([topic.0, other.0], order: [])))
            }
            rows.append(Example(input: "hello there \(n)", output: "[]"))
        }
        let scoring = try scoring("labels", metric: "accuracy")
        let order = ["rate", "money", "card"]
        let baseline = LabelSetClassifier(rows, labels: order, scoring: scoring, seed: 1)
        #expect(baseline.answer("hello there you") == "[]")
        #expect(baseline.answer("my card was lost") == #"["card"]"#)
        #expect(baseline.answer("send money and what is the rate") == #"["rate","money"]"#)
        #expect(LabelSetClassifier([], labels: [], scoring: scoring, seed: 1).answer("x") == "[]")
        // Where every row has its label, nothing is gained by asking for more than a little.
        let always = rows.map { Example(input: $0.input, output: #"["card"]"#) }
        #expect(LabelSetClassifier(always, labels: order, scoring: scoring, seed: 1).threshold <= 0)
    }

    // MARK: Teachers

    @Test(arguments: [
        (#"["refund", "lost_card"]"#, #"["lost_card","refund"]"#), ("[]", "[]"), ("None.", "[]"),
        ("```json\n[\"Lost card\",]\n```", #"["lost_card"]"#), (#"{"labels": ["refund"]}"#, #"["refund"]"#),
        ("refund, lost_card", #"["lost_card","refund"]"#), ("refund", #"["refund"]"#),
    ])
    func setsAreFound(text: String, output: String) {
        let reader = EndpointAnswerReader(kind: .labels, labels: ["lost_card", "refund"])
        #expect(reader.read(chatAnswer(text))?.output == output)
    }

    @Test(arguments: ["", "I cannot tell what this customer wants, sorry", #"["refund", "banana"]"#, "[1]"])
    func whatIsNoSetIsNoAnswer(text: String) {
        let reader = EndpointAnswerReader(kind: .labels, labels: ["lost_card", "refund"])
        #expect(reader.read(chatAnswer(text)) == nil)
    }

    @Test func callsAreFoundWrittenOrMade() throws {
        let reader = EndpointAnswerReader(kind: .tool, labels: [])
        let expected = #"{"name":"f","arguments":{"x":1}}"#
        #expect(reader.read(chatAnswer("Sure: {\"name\": \"f\", \"arguments\": {\"x\": 1,}}"))?.output == expected)
        #expect(reader.read(chatAnswer(#"{"function": {"name": "f", "arguments": "{\"x\": 1}"}}"#))?.output == expected)
        #expect(reader.read(chatAnswer(#"{"x": 1}"#)) == nil)
        var made = chatAnswer("", finish: "tool_calls")
        made.toolCalls = [.init(name: "f", arguments: #"{"x": 1}"#)]
        #expect(reader.read(made)?.output == expected)
        made.toolCalls.append(made.toolCalls[0])
        #expect(reader.read(made) == nil)
        #expect(EndpointAnswerReader(kind: .json, labels: []).read(made) == nil)
    }

    @Test func setsVoteAsAWhole() {
        let opinions = [#"["a","b"]"#, #"["a"]"#, #"["a","b"]"#].map { TeacherOpinion(output: $0, confidence: 0.6) }
        let vote = TeacherOpinion.vote(opinions, kind: .labels, labels: ["a", "b"])
        #expect(vote.output == #"["a","b"]"# && abs(vote.confidence - 2.0 / 3) < 1e-9)
    }

    @Test func decisionsAreCheckedAndWritten() throws {
        let (_, read) = try task("{kind: labels, labels: [b, a]}", gold: [#"["a"]"#, "[]"], test: ["[]"])
        let file = try GoldFile(read(), labels: ["b", "a"])
        #expect(throws: TaskError.self) { try file.append(Example(input: "new", output: #"["c"]"#)) }
        try file.append(Example(input: "new", output: #"["a", "b"]"#))
        #expect(
            try String(contentsOf: file.url, encoding: .utf8).hasSuffix(
                #"{"input":"new","output":["b","a"],"reviewed":true}"# + "\n"))
        let line = TaskAnswer(
            output: #"["b","a"]"#, confidence: 0.5, inputTokens: 1, outputTokens: 1, tokens: [], alternatives: [])
        #expect(PredictionInput.line(line, kind: .labels).hasPrefix(#"{"output":["b","a"],"#))
    }

    @Test func madeUpRowsAreRead() {
        let request = SynthesisRequest(
            method: .instruct, variant: "", system: "", user: "", seed: 1, parents: [], expected: nil, count: 4)
        let sets = SynthesisReader(kind: .labels, labels: ["a", "b"]).candidates(
            #"{"rows":[{"input":"x","output":["b","a"]},{"input":"y","output":[]},{"input":"z","output":["q9"]}]}"#,
            for: request)
        #expect(sets.map(\.expected) == [#"["a","b"]"#, "[]", nil])
        let calls = SynthesisReader(kind: .tool, labels: []).candidates(
            #"[{"input":"x","output":{"name":"f","arguments":{}}},{"input":"y","output":{"f":1}}]"#, for: request)
        #expect(calls.map(\.expected) == [#"{"name":"f","arguments":{}}"#, nil])
    }

    @Test func aToolsNameIsNoSlot() throws {
        let things =
            "lamp fan radio heater door window blind oven clock robot bed desk sink tap car gate bell pump drill saw"
        let rows = things.split(separator: " ").flatMap { thing in
            ["now", "later"].map {
                Example(
                    input: "start the \(thing) \($0)",
                    output: "{\"name\":\"start\",\"arguments\":{\"thing\":\"\(thing)\",\"when\":\"\($0)\"}}")
            }
        }
        let substitution = try #require(
            SlotSubstitution(rows, kind: .tool, lowercases: false, words: ["kevlar", "rocket"]))
        var random = RandomNumbers(seed: 4)
        var changed = 0
        for example in rows {
            guard let row = substitution.vary(example, random: &random) else { continue }
            changed += 1
            #expect(row.output.hasPrefix(#"{"name":"start","arguments":"#), "\(row.output)")
        }
        #expect(changed > 20)
    }
}
