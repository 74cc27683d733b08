import Distillation
import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct ReviewTests {
    /// The confident joint worked out by hand.
    @Test func rowsOffTheDiagonalAreFound() {
        // Mean of label 0 over its rows: 0.6; of label 1 over its rows: 1.6 / 3. No row has label 2.
        let probabilities = [
            [0.9, 0.1, 0], [0.6, 0.3, 0.1], [0.3, 0.7, 0], [0.1, 0.9, 0], [0.6, 0.4, 0], [0, 0.3, 0.7],
        ]
        let issues = ConfidentLearning.issues(probabilities, given: [0, 0, 0, 1, 1, 1])
        // Row 2 is confident of 1 (0.7 ≥ 0.533), row 4 of 0 (0.6 ≥ 0.6); nothing is confident of 2.
        #expect(issues.map(\.row) == [2, 4])
        #expect(issues[0].suggested == 1 && issues[0].own == 0.3 && abs(issues[0].margin + 0.4) < 1e-12)
        #expect(issues[1].suggested == 0 && abs(issues[1].margin + 0.2) < 1e-12)
        #expect(ConfidentLearning.issues([], given: []).isEmpty)
    }

    private static func sentence(_ number: Int) -> (String, String) {
        var random = RandomNumbers(seed: UInt64(number))
        let words = ["cards": ["card", "plastic", "chip", "pin"], "money": ["transfer", "send", "payment", "wire"]]
        let label = number % 2 == 0 ? "cards" : "money"
        let own = (0..<2).map { _ in words[label]![random.below(4)] }
        return ("please \(own[0]) my \(own[1]) number \(random.below(1000))", label)
    }

    @Test func wrongLabelsInTheGoldAreFound() {
        var gold = (0..<200).map { Example(input: Self.sentence($0).0, output: Self.sentence($0).1) }
        let flipped = [7, 40, 41, 90, 133, 150, 180, 199]
        for row in flipped { gold[row].output = gold[row].output == "cards" ? "money" : "cards" }
        let issues = ConfidentLearning.issues(in: gold, labels: ["cards", "money"], seed: 1)
        #expect(Set(issues.prefix(flipped.count).map(\.row)) == Set(flipped))
        #expect(issues.count <= flipped.count + 6)
        #expect(issues.prefix(flipped.count).allSatisfy { $0.margin < 0 && $0.own < 0.5 })
        #expect(ConfidentLearning.issues(in: Array(gold.prefix(10)), labels: ["cards", "money"], seed: 1).isEmpty)
    }

    private func folder(kind: String = "label", rows: [(String, String)]) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        // No line break at the end.
        try folder.write(
            rows.map { "{\"input\":\"\($0.0)\",\"output\":\($0.1)}" }.joined(separator: "\n"), "gold.jsonl")
        try folder.write(
            rows.prefix(2).map { "{\"input\":\"test \($0.0)\",\"output\":\($0.1)}" }.joined(separator: "\n"),
            "test.jsonl")
        try folder.write(
            "name: t\noutput: {kind: \(kind)}\ndata: {gold: {train: gold.jsonl, test: test.jsonl}}", "task.yaml")
        return folder
    }

    @Test func decisionsCountInsteadOfWhatStoodThere() throws {
        let folder = try folder(rows: [("a one", "\"x\""), ("b two", "\"y\""), ("c three", "\"y\"")])
        let task = try TaskDefinition(folder: folder.url)
        let file = try GoldFile(task, labels: ["x", "y"])
        let before = try Data(contentsOf: file.url)
        try file.append(Example(input: "b two", output: "x"))
        try file.append(Example(input: "B  Two", output: "x"))
        try file.append(Example(input: "new \"quoted\"\nrow", output: "y"))
        let text = try Data(contentsOf: file.url)
        // What stood there stands there still.
        #expect(text.starts(with: before) && text.last == 0x0A)
        #expect(text.split(separator: 0x0A).count == 6)
        let data = try Dataset(task)
        #expect(
            data.train == [
                Example(input: "a one", output: "x"), Example(input: "c three", output: "y"),
                Example(input: "B  Two", output: "x"), Example(input: "new \"quoted\"\nrow", output: "y"),
            ])
        // Nothing is left beside it.
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.url.path).sorted() == [
                "gold.jsonl", "task.yaml", "test.jsonl",
            ])
    }

    @Test func badDecisionsChangeNothing() throws {
        let folder = try folder(rows: [("a one", "\"card_lost\""), ("b two", "\"y\"")])
        let file = try GoldFile(TaskDefinition(folder: folder.url), labels: ["card_lost", "y"])
        let before = try Data(contentsOf: file.url)
        let error = #expect(throws: TaskError.self) { try file.append(Example(input: "a", output: "card_lst")) }
        #expect(error?.message.contains("did you mean 'card_lost'?") == true)
        #expect(try Data(contentsOf: file.url) == before)
        let json = try self.folder(kind: "json", rows: [("a one", "{\"k\":1}"), ("b two", "{\"k\":2}")])
        let values = try GoldFile(TaskDefinition(folder: json.url), labels: [])
        #expect(throws: TaskError.self) { try values.append(Example(input: "a", output: "{\"k\":")) }
        try values.append(Example(input: "a one", output: "{ \"k\": 3 }"))
        #expect(
            try Dataset(TaskDefinition(folder: json.url)).train.last == Example(input: "a one", output: "{\"k\":3}"))
        try json.write("name: t\noutput: {kind: json}\ndata: {recorded: gold.jsonl}", "task.yaml")
        #expect(throws: TaskError.self) { try GoldFile(TaskDefinition(folder: json.url), labels: []) }
    }

    @Test func theQueueHasWhatIsInDoubtAndNothingThatIsHeld() throws {
        var rows = (0..<90).map { (Self.sentence($0).0, "\"\(Self.sentence($0).1)\"") }
        rows[31].1 = "\"cards\""
        rows[32].1 = "\"money\""
        let folder = try folder(rows: rows)
        let queue = try ReviewQueue(folder: folder.url, limit: 50)
        #expect(Set(queue.items.prefix(2).map(\.input)).isSubset(of: [rows[31].0, rows[32].0]))
        #expect(queue.items.allSatisfy { $0.reason == .gold && !$0.input.hasPrefix("test") && $0.others.count == 1 })
        #expect(queue.items.map(\.id) == Array(queue.items.indices))
        // What was decided does not come again.
        let first = try #require(queue.items.first)
        try GoldFile(queue.task, labels: queue.labels).append(Example(input: first.input, output: first.others[0]))
        let rest = try ReviewQueue(folder: folder.url, limit: 50)
        #expect(!rest.items.contains { $0.input == first.input })
    }
}
