import Distillation
import Foundation
import Tensors
import TestSupport
import Testing
import Tokenizers

@Suite struct SynthesisTests {
    /// Knows the gold's rule, and writes what it is told to for each request.
    private final class ScriptedTeacher: SynthesisTeacher {
        let name = "scripted"
        var spent: String?
        var asked: [SynthesisRequest] = []
        var answered: [String] = []
        /// Requests it writes to before the budget is spent.
        var budget = Int.max
        let writing: (SynthesisRequest, Int) -> String
        let rule: (String) -> String?

        init(rule: @escaping (String) -> String?, writing: @escaping (SynthesisRequest, Int) -> String) {
            self.rule = rule
            self.writing = writing
        }

        func write(_ requests: [SynthesisRequest], progress: (Int) throws -> Void) async throws -> [String?] {
            requests.map { request in
                guard asked.count < budget else {
                    spent = "\(budget) requests"
                    return nil
                }
                asked.append(request)
                return writing(request, asked.count)
            }
        }

        func answers(to inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?] {
            answered += inputs
            return inputs.map { input in
                rule(input).map {
                    TaskAnswer(
                        output: $0, confidence: 0.9, inputTokens: 1, outputTokens: 1, tokens: [], alternatives: [])
                }
            }
        }
    }

    private static func rule(_ input: String) -> String {
        input.contains("card") ? "card" : input.contains("money") ? "transfer" : "oos"
    }

    private func folder(_ synthesis: String, labels: String = "[card, transfer, oos], abstain: oos") throws
        -> TemporaryFolder
    {
        let folder = try TemporaryFolder()
        let places = ["Oslo", "Rome", "Bern", "Kyiv", "Riga", "Bonn", "Lyon", "Graz", "Cork", "Brno"]
        let rows = places.flatMap {
            [
                ("my bank card was lost in \($0) yesterday", "card"), ("please send money to \($0) for me", "transfer"),
                ("is the weather nice in \($0) today", "oos"),
            ]
        }
        func lines(_ rows: some Sequence<(String, String)>) -> String {
            rows.map { "{\"input\":\"\($0.0)\",\"output\":\"\($0.1)\"}" }.joined(separator: "\n")
        }
        try folder.write(lines(rows.prefix(24)), "gold.jsonl")
        try folder.write(lines(rows.suffix(6).prefix(3)), "validation.jsonl")
        try folder.write(lines(rows.suffix(3)), "test.jsonl")
        try folder.write(
            """
            name: t
            instruction: Name the intent.
            output: {kind: label, labels: \(labels)}
            data: {gold: {train: gold.jsonl, validation: validation.jsonl, test: test.jsonl}}
            \(synthesis)
            """, "task.yaml")
        return folder
    }

    private func run(
        _ synthesis: String, teacher: ScriptedTeacher?
    ) async throws -> Synthesis.Result {
        let folder = try folder(synthesis)
        let task = try TaskDefinition(folder: folder.url)
        var plain = task
        plain.synthesis = nil
        return try await Synthesis(task, data: Dataset(plain), teacher: teacher).run()
    }

    /// A new sentence for every number, of the label that is asked for, or of one of its own.
    private static func sentence(_ number: Int, label: String) -> String {
        var random = RandomNumbers(seed: UInt64(number))
        let words = [
            "amber", "bridge", "candle", "desert", "engine", "forest", "garden", "harbor", "island", "jungle",
            "kitchen",
            "lantern", "meadow", "needle", "orchard", "pepper", "quartz", "river", "saddle", "temple",
        ]
        let drawn = (0..<5).map { _ in words[random.below(words.count)] }.joined(separator: " ")
        return label == "card" ? "the card \(drawn)" : label == "transfer" ? "some money \(drawn)" : "what \(drawn)"
    }

    private static func json(_ rows: [(input: String, output: String?)]) -> String {
        let values = rows.map { row in
            var members: [(key: String, value: JSONValue)] = [(key: "input", value: .string(row.input))]
            if let output = row.output { members.append((key: "output", value: .string(output))) }
            return JSONValue.object(members)
        }
        return JSONValue.object([(key: "rows", value: .array(values))]).text
    }

    @Test func everyMethodGivesCheckedRowsWithTheirProvenance() async throws {
        let teacher = ScriptedTeacher(rule: Self.rule) { request, number in
            Self.json(
                (0..<request.count).map { place in
                    let label = request.expected ?? ["card", "transfer"][place % 2]
                    return (
                        Self.sentence(number * 10 + place, label: label), request.expected == nil ? label : nil
                    )
                })
        }
        let result = try await run("synthesis: {rows: 70}", teacher: teacher)
        #expect(result.rows.count == 70)
        #expect(Set(result.rows.map(\.provenance.method)) == Set(SynthesisMethod.allCases).subtracting([.dialogue]))
        #expect(result.report.notes.contains { $0.hasPrefix("dialogue needs gold whose inputs are conversations") })
        #expect(result.rows.allSatisfy { Self.rule($0.input) == $0.output || $0.provenance.method == .noise })
        #expect(Set(result.rows.map(\.input)).count == 70)
        for row in result.rows where row.provenance.method != .noise {
            #expect(row.provenance.teacher == "scripted" && row.provenance.scores.agreed == true)
            #expect(row.provenance.scores.confidence == 0.9 && row.provenance.prompt == SynthesisPrompts.version)
        }
        for row in result.rows where row.provenance.method == .noise {
            #expect(row.provenance.teacher == nil && row.provenance.parents.count == 1)
        }
        // Evolution goes through its four steps, and what is out of scope has its label.
        #expect(Set(teacher.asked.filter { $0.method == .evolve }.map(\.variant)).count == 4)
        #expect(result.rows.filter { $0.provenance.method == .outOfScope }.allSatisfy { $0.output == "oos" })
        // No prompt shows a row that is held out: Cork is validation, Brno test.
        #expect(!teacher.asked.contains { $0.user.contains("Cork") || $0.user.contains("Brno") })
        // The same again is the same.
        let again = ScriptedTeacher(rule: Self.rule, writing: teacher.writing)
        #expect(try await run("synthesis: {rows: 70}", teacher: again).rows == result.rows)
        #expect(again.asked == teacher.asked)
    }

    @Test func whatIsWrongIsDroppedWithItsReason() async throws {
        let teacher = ScriptedTeacher(rule: Self.rule) { request, number in
            guard number == 1 else { return "I would rather not." }
            return """
                Here you are:
                ```json
                {"rows": [
                  {"input": "my bank card was lost in Brno yesterday", "output": "card"},
                  {"input": "is the weather nice in Cork today", "output": "oos"},
                  {"input": "my bank card was lost in Oslo yesterday!", "output": "card"},
                  {"input": "the money went to the wrong person", "output": "card"},
                  {"input": "где моя карта сейчас", "output": "card"},
                  {"input": "money for my landlord please", "output": "transfer"},
                  {"input": "money with no answer at all"},
                  {"input": "money to somebody", "output": "no such label here"},
                ]}
                ```
                """
        }
        let result = try await run("synthesis: {rows: 4, methods: [instruct]}", teacher: teacher)
        #expect(result.rows.map(\.input) == ["money for my landlord please"])
        #expect(result.rows[0].provenance.parents.count == 8)
        let report = result.report
        #expect(report.dropped["held"] == 2 && report.dropped["duplicate"] == 1 && report.dropped["disagreement"] == 1)
        #expect(report.dropped["script"] == 1 && report.dropped["unanswered"] == 2)
        #expect(report.dropped["unreadable"] == teacher.asked.count - 1)
        // The report says which row, and shows it to nobody.
        let held = try #require(report.examples["held"])
        #expect(held.allSatisfy { $0.text.isEmpty })
        #expect(
            Set(held.compactMap(\.match)) == ["same as row 1 of the test set", "same as row 3 of the validation set"])
        // What was dropped before is not paid for: the teacher was asked for two answers.
        #expect(teacher.answered.sorted() == ["money for my landlord please", "the money went to the wrong person"])
        #expect(report.notes.contains("1 of 4 rows were found"))
    }

    @Test func withoutAgreementTheTeachersAnswerCounts() async throws {
        let teacher = ScriptedTeacher(rule: { $0.contains("nothing") ? nil : Self.rule($0) }) { _, number in
            number > 1 ? "" : #"[{"input": "the money went away", "output": "card"}, {"input": "money for nothing"}]"#
        }
        let result = try await run("synthesis: {rows: 2, methods: [instruct], agree: false}", teacher: teacher)
        #expect(result.rows.map(\.output) == ["transfer"] && result.rows[0].provenance.scores.agreed == false)
        #expect(result.report.dropped["unanswered"] == 1)
    }

    @Test func aSpentBudgetKeepsWhatThereIs() async throws {
        let teacher = ScriptedTeacher(rule: Self.rule) { request, number in
            Self.json((0..<request.count).map { (Self.sentence(number * 10 + $0, label: "card"), "card") })
        }
        teacher.budget = 2
        let result = try await run("synthesis: {rows: 40, methods: [instruct]}", teacher: teacher)
        #expect(result.rows.count == 8 && teacher.asked.count == 2)
        #expect(result.report.notes.contains("the teacher's budget (2 requests) is spent"))
    }

    @Test func whoGivesRowsFillsUpForWhoGivesNone() async throws {
        let teacher = ScriptedTeacher(rule: Self.rule) { _, _ in "no" }
        let result = try await run("synthesis: {rows: 30, methods: [instruct, evolve, noise]}", teacher: teacher)
        #expect(result.rows.count == 30 && result.rows.allSatisfy { $0.provenance.method == .noise })
        // Two rounds were enough to see that it gives nothing: ten rows by four and by two, a quarter more.
        #expect(teacher.asked.count == 2 * (4 + 7))
    }

    @Test func backwardsBeginsWithTheRarest() throws {
        let folder = try folder("synthesis: auto")
        let task = try TaskDefinition(folder: folder.url)
        let gold =
            (0..<9).map { Example(input: "my card \($0)", output: "card") } + [
                Example(input: "send money", output: "transfer")
            ]
        let prompts = SynthesisPrompts(task, labels: ["card", "transfer", "oos"], gold: gold, inputs: [])
        let requests = prompts.requests(.backward, rows: 12, round: 0)
        #expect(requests.map(\.expected) == ["transfer", "card", "transfer"])
        #expect(requests[0].user.contains("send money") && !requests[0].user.contains("my card"))
        #expect(prompts.requests(.backward, rows: 12, round: 0) == requests)
        #expect(prompts.requests(.backward, rows: 12, round: 1) != requests)
    }

    @Test func backwardsCoversShapesAndSlots() throws {
        let folder = try TemporaryFolder()
        let rows = [
            ("pay 20 euros to Ann", #"{"intent":"pay","amount":"20","payee":"Ann"}"#),
            ("pay 35 euros to Bob", #"{"intent":"pay","amount":"35","payee":"Bob"}"#),
            ("pay Eve", #"{"intent":"pay","payee":"Eve"}"#),
            ("block my card", #"{"intent":"block"}"#), ("stop the card", #"{"intent":"block"}"#),
        ]
        try folder.write(
            rows.map { "{\"input\":\"\($0.0)\",\"output\":\($0.1)}" }.joined(separator: "\n"), "gold.jsonl")
        try folder.write("name: t\noutput: {kind: json}\ndata: {gold: gold.jsonl}", "task.yaml")
        let task = try TaskDefinition(folder: folder.url)
        let gold = rows.map { Example(input: $0.0, output: $0.1) }
        let prompts = SynthesisPrompts(task, labels: [], gold: gold, inputs: [])
        var answers: Set<String> = []
        for round in 0..<30 {
            for request in prompts.requests(.backward, rows: 12, round: round) {
                answers.insert(request.expected ?? "")
            }
        }
        // The shape of one row comes with every payee; the intent is nothing that is copied and stays.
        for payee in ["Ann", "Bob", "Eve"] { #expect(answers.contains(#"{"intent":"pay","payee":"\#(payee)"}"#)) }
        #expect(answers.contains(#"{"intent":"pay","amount":"20","payee":"Eve"}"#))
        #expect(
            answers.contains(#"{"intent":"block"}"#)
                && !answers.contains { $0.contains("block") && $0.contains("payee") })
    }

    @Test func slipsLeaveWhatTheAnswerCopies() throws {
        let noise = KeyboardNoise()
        var random = RandomNumbers(seed: 2)
        var seen: Set<KeyboardNoise.Slip> = []
        var changed = 0
        for _ in 0..<500 {
            let text = "Please send 250 euros to Katarina today, it's urgent for everybody"
            guard let (new, slips) = noise.slipped(text, keeping: ["katarina", "euros"], random: &random) else {
                continue
            }
            changed += 1
            seen.formUnion(slips)
            #expect(new != text && new.contains("250") && new.contains("Katarina") && new.contains("euros"))
            #expect((1...3).contains(slips.count))
        }
        #expect(changed > 450 && seen.count == KeyboardNoise.Slip.allCases.count)
        #expect(noise.slipped("7 8", keeping: [], random: &random) == nil)
    }

    /// Conversations are asked for where the gold has some, for one answer after the other, with the roles it has.
    @Test func dialoguesHaveTheRolesOfTheGold() async throws {
        let folder = try folder("synthesis: {rows: 12, methods: [dialogue]}")
        func conversation(_ wish: String, _ number: Int) -> JSONValue {
            .array(
                [
                    ("user", "hello, number \(number) here"), ("assistant", "one moment please"),
                    ("tool", "{\"name\": \"Kim\(number)\"}"), ("user", wish),
                ].map { .object([("role", .string($0.0)), ("content", .string($0.1))]) })
        }
        let gold = (0..<20).map { number in
            JSONValue.object([
                ("input", conversation("about \(number % 2 == 0 ? "a card" : "money") please", number)),
                ("output", .string(number % 2 == 0 ? "card" : "transfer")),
            ]).text
        }
        try folder.write(gold.joined(separator: "\n"), "gold.jsonl")
        let teacher = ScriptedTeacher(rule: Self.rule) { request, number in
            let rows = (0..<request.count).map { place in
                let wish = Self.sentence(number * 10 + place, label: request.expected ?? "")
                return JSONValue.object([("input", conversation(wish, number * 100 + place))])
            }
            // A row that is no conversation is not taken, nor one that is answered.
            let others = ["a card of mine \(number)", "user: a card \(number)\nassistant: here is a card"].map {
                JSONValue.object([("input", .string($0))])
            }
            return JSONValue.object([("rows", .array(others + rows))]).text
        }
        let task = try TaskDefinition(folder: folder.url)
        var plain = task
        plain.synthesis = nil
        let result = try await Synthesis(task, data: Dataset(plain), teacher: teacher).run()
        #expect(result.rows.count == 12, "\(result.report)")
        #expect(Set(result.rows.map(\.output)) == ["card", "transfer"])
        for row in result.rows {
            #expect(
                row.input.split(separator: "\n").map { $0.prefix { $0 != ":" } } == [
                    "user", "assistant", "tool", "user",
                ])
        }
        #expect(teacher.asked.allSatisfy { $0.user.contains("4 messages (roles: user, assistant, tool)") })
        #expect(teacher.asked.allSatisfy { $0.user.contains("what a tool gave back") })
        #expect(teacher.asked.contains { $0.user.contains(#"{"role":"tool","content":"#) })
    }

    @Test func writingIsReadInManyForms() {
        let reader = SynthesisReader(kind: .label, labels: ["card", "transfer"])
        func request(_ expected: String?) -> SynthesisRequest {
            SynthesisRequest(
                method: .instruct, variant: "", system: "", user: "", seed: 1, parents: [], expected: expected, count: 2
            )
        }
        func read(_ text: String, _ expected: String? = nil) -> [[String?]] {
            reader.candidates(text, for: request(expected)).map { [$0.input, $0.expected] }
        }
        #expect(read(#"{"rows": [{"input": " a b ", "output": "Card."}]}"#) == [["a b", "card"]])
        #expect(read("{\"input\": \"a\", \"output\": \"card\"}\n{\"input\": \"b\"}") == [["a", "card"], ["b", nil]])
        #expect(read(#"Sure: ["x y", "z"] bye"#, "card") == [["x y", "card"], ["z", "card"]])
        #expect(read("1. first\n2) \"second\"\n- third\nEnd:", "card").map { $0[0] } == ["first", "second", "third"])
        #expect(read("1. first") == [] && read("") == [] && read("[[[[") == [])
        // No more than twice what was asked for.
        #expect(read("[\(Array(repeating: "\"x\"", count: 50).joined(separator: ","))]", "card").count == 4)
    }

    @Test(arguments: [
        ("synthesis: {rows: 0}", "'synthesis.rows' must be a whole number"),
        ("synthesis: {row: 5}", "unknown key 'synthesis.row'; did you mean 'rows'?"),
        ("synthesis: {methods: [evlove]}", "'synthesis.methods' has 'evlove'"),
        ("synthesis: {methods: evolve}", "'synthesis.methods' must be a list"),
        ("synthesis: {similarity: 0.2}", "'synthesis.similarity' must be a number from 0.5 to 1"),
        ("synthesis: {agree: perhaps}", "'synthesis.agree' must be true or false"),
        ("synthesis: 5", "'synthesis' must be keys and values"),
    ])
    func mistakesAreNamed(synthesis: String, message: String) throws {
        let folder = try folder(synthesis)
        let error = #expect(throws: TaskError.self) { try TaskDefinition(folder: folder.url) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(error?.line == 5)
    }

    @Test func theLabelForOutOfScopeIsChecked() throws {
        let wrong = try folder("", labels: "[card, transfer], abstain: oos")
        let error = #expect(throws: TaskError.self) { try TaskDefinition(folder: wrong.url) }
        #expect(error?.message.contains("'output.abstain' names 'oos'") == true && error?.line == 3)
        let right = try folder("synthesis: auto")
        let task = try TaskDefinition(folder: right.url)
        #expect(task.abstain == "oos" && task.synthesis == .init())
    }

    /// What is made up without a teacher is kept with its provenance, and taken in by the data set.
    @Test func rowsAreKeptAndTakenIn() async throws {
        let folder = try folder("synthesis: {rows: 12, methods: [noise]}")
        let run = { try TaskRun(folder: folder.url, options: RunOptions(threads: 1), observer: Silent()) }
        #expect(try Dataset(TaskDefinition(folder: folder.url)).notes.contains { $0.contains("understudy synthesize") })
        let report = try await run().synthesize()
        #expect(report.rows == 12 && report.answers.values.reduce(0, +) == 12)
        let task = try TaskDefinition(folder: folder.url)
        let file = SyntheticFile(folder: folder.url)
        let rows = try file.read(AnswerForm(kind: .label, labels: task.labels))
        #expect(rows.count == 12 && rows.allSatisfy { $0.provenance.method == .noise })
        let data = try Dataset(task)
        #expect(data.synthetic == rows && data.inputs == rows.map(\.input) && data.train.count == 24)
        // A test set that has one of them since keeps it out.
        let test = try String(contentsOf: folder.url.appendingPathComponent("test.jsonl"), encoding: .utf8)
        try folder.write(test + "\n{\"input\":\"\(rows[0].input.uppercased())\",\"output\":\"card\"}", "test.jsonl")
        let other = try Dataset(task)
        #expect(!other.synthetic.contains(rows[0]) && other.synthetic.count < 12)
        // Made again, it is the same but for that row.
        try folder.write(test, "test.jsonl")
        _ = try await run().synthesize()
        #expect(try file.read(AnswerForm(kind: .label, labels: task.labels)) == rows)
        // Damage is named.
        var text = try String(contentsOf: file.url, encoding: .utf8)
        text = text.replacing("\"method\":\"noise\"", with: "\"method\":\"magic\"", maxReplacements: 1)
        try Data(text.utf8).write(to: file.url)
        let error = #expect(throws: TaskError.self) { try file.read(AnswerForm(kind: .label, labels: task.labels)) }
        #expect(error?.line == 1 && error?.message.contains("provenance") == true)
    }

    @Test func aTaskWithoutATeacherSaysWhatIsMissing() async throws {
        let folder = try folder("synthesis: {methods: [evolve]}")
        await #expect(throws: TaskError.self) {
            try await TaskRun(folder: folder.url, options: RunOptions(threads: 1), observer: Silent()).synthesize()
        }
    }
}

/// Says nothing, and keeps the notes.
final class Silent: RunObserver {
    private(set) var notes: [String] = []

    func stageBegan(_ stage: String, number: Int, of count: Int) {}
    func stageAdvanced(_ fraction: Double, detail: String) {}
    func stageEnded(_ summary: String, reused: Bool) {}
    func note(_ text: String) { notes.append(text) }
}
