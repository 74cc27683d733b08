import Distillation
import Foundation
import TestSupport
import Testing

struct ProofTests {
    @Test func wilsonsIntervalIsTheTextbooks() {
        // 81 of 263 at 95 %: Newcombe (1998), table I, method 3.
        let interval = Statistics.wilson(hits: 81, of: 263, confidence: 0.95)
        #expect(abs(interval.low - 0.2553) < 5e-4)
        #expect(abs(interval.high - 0.3662) < 5e-4)
        #expect(Statistics.wilson(hits: 0, of: 0, confidence: 0.95).high == 1)
        #expect(abs(Statistics.normalQuantile(0.975) - 1.959964) < 1e-5)
    }

    @Test func quantilesInterpolate() {
        #expect(Statistics.quantile([1, 2, 3, 4], 0.5) == 2.5)
        #expect(Statistics.quantile([1, 2, 3, 4], 1) == 4)
        #expect(Statistics.quantile([], 0.5).isNaN)
    }

    private func task(_ text: String) throws -> TaskDefinition {
        let folder = try TemporaryFolder()
        try folder.write("{\"input\":\"a\",\"output\":\"b\"}", "gold.jsonl")
        try folder.write(text, "task.yaml")
        return try TaskDefinition(folder: folder.url)
    }

    @Test func answersAreComparedAsValues() throws {
        let json = Scoring(try task("name: t\noutput: {kind: json}\ndata: {gold: gold.jsonl}"))
        #expect(json.isRight(#"{"b": 1.0, "a": "x"}"#, expected: #"{"a":"x","b":1}"#))
        #expect(!json.isRight(#"{"a":"x"}"#, expected: #"{"a":"x","b":1}"#))
        #expect(!json.isRight("not json", expected: #"{"a":"x"}"#))
        let text = Scoring(try task("name: t\noutput: {kind: text}\ndata: {gold: gold.jsonl}"))
        #expect(text.isRight(" same ", expected: "same"))
        #expect(!text.isRight("Same", expected: "same"))
    }

    @Test func macroF1AveragesOverLabels() throws {
        let scoring = Scoring(
            try task("name: t\noutput: {kind: label}\nquality: {metric: macro_f1}\ndata: {gold: gold.jsonl}"))
        // a: precision 1, recall ½; b: precision ½, recall 1.
        let score = scoring.score(["a", "b", "b"], ["a", "a", "b"], confidence: 0.95)
        #expect(abs(score.value - 2.0 / 3) < 1e-12)
        #expect(score.low <= score.value && score.value <= score.high)
    }

    @Test func aMarginNeedsMoreThanLuck() throws {
        let scoring = Scoring(try task("name: t\noutput: {kind: label}\ndata: {gold: gold.jsonl}"))
        let gold = (0..<1000).map { _ in "a" }
        func answers(_ right: Int) -> [String] { (0..<1000).map { $0 < right ? "a" : "b" } }
        func margin(_ student: Int, _ teacher: Int) throws -> Double {
            scoring.retainedMargin(
                student: answers(student), reference: answers(teacher), expected: gold, retain: 0.98, confidence: 0.95)
        }
        #expect(try margin(950, 900) > 0)
        #expect(try margin(890, 900) < 0.02)
        #expect(try margin(700, 900) < 0)
    }

    @Test func baselinesLearn() throws {
        let topics = [("card", "lost my card"), ("money", "send money home"), ("rate", "what is the rate")]
        let rows = (0..<10).flatMap { n in topics.map { Example(input: "\($0.1) please \(n)", output: $0.0) } }
        let classifier = LinearClassifier(rows, seed: 1)
        #expect(classifier.answer("I lost the card") == "card")
        #expect(classifier.answer("rate today") == "rate")
        let nearest = NearestExample(rows)
        #expect(nearest.answer("money money") == "money")
        #expect(NearestExample([]).answer("x") == "")
        let words = WordDictionary([
            Example(input: "REPL PMP", output: "replace pump"),
            Example(input: "REPL 2 HOSES", output: "replace <num> hoses"),
            Example(input: "PMP U/S", output: "pump unserviceable"),
        ])
        #expect(words.answer("REPL PMP NOW") == "replace pump now")
        #expect(words.answer("") == "")
    }

    @Test func predictionsAreReadAndWritten() throws {
        let json = try PredictionInput.read(Data("{\"input\":\"a\"}\n\n{\"input\":\"b\"}\n".utf8), file: "f")
        #expect(json == ["a", "b"])
        #expect(try PredictionInput.read(Data("one\r\ntwo\n".utf8), file: "f") == ["one", "two"])
        #expect(throws: TaskError.self) {
            try PredictionInput.read(Data("{\"input\":\"a\"}\n{\"inp\n".utf8), file: "f")
        }
        let answer = TaskAnswer(
            output: #"{"a":1}"#, confidence: 0.5, inputTokens: 1, outputTokens: 1, tokens: [], alternatives: [])
        #expect(
            PredictionInput.line(answer, kind: .json) == #"{"output":{"a":1},"confidence":0.500000,"by":"student"}"#)
        #expect(PredictionInput.line(answer, kind: .text).contains(#""output":"{\"a\":1}""#))
    }

    @Test func mistakesInATaskNameLineAndKey() throws {
        for (text, words) in [
            ("output: {kind: label}\ndata: {gold: gold.jsonl}", ["'name'"]),
            ("name: t\noutput: {kind: labell}\ndata: {gold: gold.jsonl}", [":2", "label"]),
            ("name: t\noutput: {kind: label}\ndta: {gold: gold.jsonl}", [":3", "did you mean 'data'"]),
            ("name: t\noutput: {kind: label}\ndata: {gold: none.jsonl}", ["none.jsonl"]),
            ("name: t\noutput: {kind: label}\ndata: {gold: gold.jsonl}\nstudent: {layers: six}", [":4", "layers"]),
            ("name: t\noutput: {kind: text, abstain: x}\ndata: {gold: gold.jsonl}", [":2", "abstain"]),
            ("name: t\noutput: {kind: label, labels: [a], abstain: x}\ndata: {gold: gold.jsonl}", [":2", "'x'"]),
            ("name: [t\noutput", ["task.yaml"]),
        ] {
            do {
                _ = try task(text)
                Issue.record("accepted: \(text)")
            } catch let error as TaskError {
                for word in words { #expect(error.description.contains(word), "\(error.description)") }
            }
        }
    }

    @Test func brokenTasksAndRowsNeverCrash() throws {
        let seed = Array(
            "name: t\noutput: {kind: json}\ndata: {gold: {train: gold.jsonl}}\nstudent: {layers: 2, experts: {routed: 3}}\n"
                .utf8)
        let row = Array(
            #"{"input":[{"role":"user","content":"a\u00e9"}],"output":{"k":[1,-2.5e3,true,null,"\\"]}}"#.utf8)
        var random = SystemRandomNumberGenerator()
        let folder = try TemporaryFolder()
        try folder.write("{\"input\":\"a\",\"output\":\"b\"}", "gold.jsonl")
        func broken(_ seed: [UInt8]) -> Data {
            var bytes = seed
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: place)
                default: bytes.insert(contentsOf: Array(#"{}[]:"\,-&*!|"#.utf8).shuffled().prefix(1), at: place)
                }
            }
            return Data(bytes)
        }
        let rounds = max(10_000, Int(ProcessInfo.processInfo.environment["UNDERSTUDY_FUZZ"] ?? "") ?? 0)
        for _ in 0..<rounds {
            try broken(seed).write(to: folder.url.appendingPathComponent("task.yaml"))
            _ = try? TaskDefinition(folder: folder.url)
        }
        for _ in 0..<rounds { _ = try? PredictionInput.read(broken(row), file: "rows") }
    }
}
