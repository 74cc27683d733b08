import Distillation
import Foundation
import GRDB
import Tensors
import TestSupport
import Testing
import Tokenizers
import Training

/// The whole loop on a base with drawn weights: what a run does, not how good it is.
@Suite(.serialized)
struct TaskRunTests {
    private final class Quiet: RunObserver {
        var stages: [(summary: String, reused: Bool)] = []
        var advanced = 0
        /// Whether each stage was there already, by its title.
        var reused: [String: Bool] = [:]
        private var title = ""
        func stageBegan(_ stage: String, number: Int, of count: Int) { title = stage }
        func stageAdvanced(_ fraction: Double, detail: String) { advanced += 1 }
        func stageEnded(_ summary: String, reused: Bool) {
            stages.append((summary, reused))
            self.reused[title] = reused
        }
        func note(_ text: String) {}
    }

    private func folder(
        kind: String, teacher: Bool, pairs: Bool = false, answer: (String) -> String
    ) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        try TinyModel.write(to: folder.url.appendingPathComponent("tiny.gguf").path, pairs: pairs)
        let words = ["red", "blue", "tall", "small", "old", "new", "warm", "cold"]
        var rows: [String] = []
        for first in words { for second in words { rows.append("\(first) \(second) thing") } }
        let line = { (input: String) in "{\"input\":\"\(input)\",\"output\":\(answer(input))}" }
        try folder.write(rows.prefix(40).map(line).joined(separator: "\n"), "gold.jsonl")
        try folder.write(rows.dropFirst(40).prefix(12).map(line).joined(separator: "\n"), "test.jsonl")
        try folder.write(rows.dropFirst(52).map { "{\"input\":\"\($0)\"}" }.joined(separator: "\n"), "inputs.jsonl")
        let base = folder.url.appendingPathComponent("tiny.gguf").path
        try folder.write(
            """
            name: tiny
            output: {kind: \(kind)}
            data: {inputs: inputs.jsonl, gold: {train: gold.jsonl, test: test.jsonl}}
            \(teacher ? "teacher: {model: \(base), adapt: {method: lora, epochs: 1, rank: 4, members: 1}}" : "")
            student: {base: \(base), layers: 1, experts: {routed: 3, shared: 1, active: 2}}
            training: {epochs: 2, batch: 8, rate: 1e-3}
            """, "task.yaml")
        return folder
    }

    private func label(_ input: String) -> String { input.hasPrefix("red") ? "\"hot\"" : "\"other\"" }

    @Test func aLabelTaskRunsToItsCertificateAndThenDoesNothing() async throws {
        let folder = try folder(kind: "label", teacher: true, answer: label)
        let first = Quiet()
        let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: first).run()
        #expect(!outcome.didNothing)
        #expect(first.stages.count == 7)
        #expect(first.advanced > 0)
        let systems = outcome.certificate.systems
        #expect(systems.teacher != nil && systems.adaptedTeacher != nil)
        #expect(outcome.certificate.testRows == 12)
        #expect(systems.student.interval[0] <= systems.student.value)
        for name in [
            "config.json", "model.safetensors", "tokenizer.json", "student.gguf", "understudy.json", "task.yaml",
            "certificate.json", "report.html", "calibration.json",
        ] {
            #expect(
                FileManager.default.fileExists(atPath: outcome.package.appendingPathComponent(name).path), "\(name)")
        }
        let model = try StudentPackage(folder: outcome.package).model(pool: WorkerPool(threadCount: 2))
        let answers = try model.answer(["red cold thing", "new new thing"])
        #expect(answers.allSatisfy { ["hot", "other"].contains($0.output) && $0.confidence > 0.4 })

        // The confidences it was measured with are those that `predict` gives.
        let measured = try #require(systems.student.calibration)
        #expect(measured.after.bins.reduce(0) { $0 + $1.count } == 12 && measured.before.bins.count == 15)
        #expect(measured.source == "training" && measured.rows == 40)
        let teachers = try #require(systems.adaptedTeacher?.calibration)
        #expect(teachers.rows == 40 && teachers.after.bins.reduce(0) { $0 + $1.count } == 12)
        let calibration = try #require(try Calibration(package: outcome.package))
        #expect(calibration.method.rawValue == measured.method && calibration.temperature == measured.temperature)
        let page = try String(contentsOf: outcome.report, encoding: .utf8)
        #expect(page.contains("expected calibration error") && page.contains("The teacher’s confidence"))

        let second = Quiet()
        let again = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: second).run()
        #expect(again.didNothing)
        #expect(second.stages.allSatisfy { $0.reused })
        #expect(again.certificate.systems.student.value == systems.student.value)

        // A package that was damaged is made again, without training.
        try FileManager.default.removeItem(at: outcome.package.appendingPathComponent("student.gguf"))
        let third = Quiet()
        let mended = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: third).run()
        #expect(!mended.didNothing)
        #expect(third.stages.allSatisfy { $0.reused })
        #expect(FileManager.default.fileExists(atPath: outcome.package.appendingPathComponent("student.gguf").path))
    }

    @Test func teachersReadTheInputsAnswerTogetherAndAnswerWhatIsWritten() async throws {
        let folder = try folder(kind: "label", teacher: true, answer: label)
        let file = folder.url.appendingPathComponent("task.yaml")
        let yaml = try String(contentsOf: file, encoding: .utf8)
            .replacing("inputs: inputs.jsonl", with: "written: 5, varied: 7, inputs: inputs.jsonl")
        try folder.write(yaml.replacing("members: 1", with: "members: 2, domain: 1"), "task.yaml")
        let first = Quiet()
        let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: first).run()
        #expect(first.stages.count == 10)
        let two = try #require(outcome.certificate.systems.adaptedTeacher)
        #expect(two.name.hasSuffix("2 together"))
        let page = try String(contentsOf: outcome.report, encoding: .utf8)
        #expect(page.contains("7 more inputs the teacher answers are made of parts and words of others"))

        // A third one joins: what the others learnt is kept.
        try folder.write(yaml.replacing("members: 1", with: "members: auto, domain: 1"), "task.yaml")
        let second = Quiet()
        let more = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: second).run()
        #expect(second.stages.map(\.reused) == [true, true, true, true, true, false, false, true, false, false, false])
        let three = try #require(more.certificate.systems.adaptedTeacher)
        #expect(three.parameters * 2 == two.parameters * 3)
    }

    /// The teacher that answers for good may have learnt from what the ones before it said.
    @Test func aTeacherOfLittleGoldLearnsFromItsOwnLabels() async throws {
        let folder = try folder(kind: "label", teacher: true, answer: label)
        let gold = try String(contentsOf: folder.file("gold.jsonl"), encoding: .utf8).split(separator: "\n")
        let inputs = try String(contentsOf: folder.file("inputs.jsonl"), encoding: .utf8).split(separator: "\n")
        try folder.write(gold.prefix(10).joined(separator: "\n"), "gold.jsonl")
        let open = gold.dropFirst(10).map { $0.prefix { $0 != "," } + "}" }
        try folder.write((open + inputs).joined(separator: "\n"), "inputs.jsonl")
        let yaml = try String(contentsOf: folder.file("task.yaml"), encoding: .utf8)
        func run(_ adaptation: String, minutes: Double? = nil) async throws -> (Quiet, Certificate.SystemMeasurement) {
            try folder.write(yaml.replacing("members: 1", with: adaptation), "task.yaml")
            let observer = Quiet()
            let outcome = try await TaskRun(
                folder: folder.url, options: RunOptions(minutes: minutes, threads: 2), observer: observer
            ).run()
            return (observer, try #require(outcome.certificate.systems.adaptedTeacher))
        }
        let (plain, two) = try await run("members: 2")
        #expect(plain.stages.count == 9 && two.name.hasSuffix("2 together"))
        let (own, one) = try await run("members: 2, self_training: 2")
        #expect(own.stages.count == 11 && own.stages.prefix(5).allSatisfy(\.reused))
        #expect(one.parameters * 2 == two.parameters && !one.name.contains("together"))
        let (short, _) = try await run("members: 1, self_training: 0.5", minutes: 1)
        #expect(short.stages.count == 10)
    }

    /// Inputs that an adapted teacher is too unsure of teach nothing: the student is that of a task without them.
    @Test func whatAnAdaptedTeacherIsUnsureOfIsNotLearnt() async throws {
        let folder = try folder(kind: "label", teacher: true, answer: label)
        let yaml = try String(contentsOf: folder.file("task.yaml"), encoding: .utf8)
            .replacing("data: {", with: "data: {varied: 0, ")
        let inputs = try String(contentsOf: folder.file("inputs.jsonl"), encoding: .utf8).split(separator: "\n").count
        func student(_ yaml: String) async throws -> (Data, [String]) {
            try folder.write(yaml, "task.yaml")
            let observer = Silent()
            _ = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: observer).run()
            return (try Data(contentsOf: folder.file("student/model.safetensors")), observer.notes)
        }
        func trust(_ text: String) -> String {
            yaml.replacing("members: 1", with: "members: 1, domain: 0}, confidence: {\(text)")
        }
        let (all, _) = try await student(trust("drop_below: 0"))
        let (trusting, notes) = try await student(trust("drop_below: 1"))
        #expect(notes.contains("\(inputs) answers are left out: the teacher is too unsure of them"), "\(notes)")
        let (alone, _) = try await student(trust("drop_below: 0").replacing("inputs: inputs.jsonl, ", with: ""))
        #expect(trusting == alone && trusting != all)
        let (varied, _) = try await student(trust("drop_below: 1").replacing("varied: 0", with: "varied: 20"))
        #expect(varied == alone)
        for (text, message) in [
            ("rows: 50", "'teacher.confidence.rows' is for a teacher behind an endpoint"),
            ("review_below: 0.5", "'teacher.confidence.review_below' is for a teacher behind an endpoint"),
            ("drop: 1", "unknown key 'teacher.confidence.drop'"),
        ] {
            try folder.write(trust(text), "task.yaml")
            let error = #expect(throws: TaskError.self) { try TaskDefinition(folder: folder.url) }
            #expect(error?.message.contains(message) == true, "\(error?.description ?? "")")
        }
    }

    /// 40 rows of gold and 100 inputs: labels come with as many inputs made of others as make it four for each row of gold,
    /// unless somebody says otherwise or there is no time.
    @Test(
        arguments: [
            ("label", "", nil, 60), ("label", "varied: 0, ", nil, 0), ("label", "varied: 3, ", nil, 3),
            ("label", "", 1e-4, 0), ("labels", "", nil, 0), ("labels", "varied: 60, ", nil, 60),
            ("text", "written: 0, ", nil, 0),
        ] as [(String, String, Double?, Int)])
    func fewLabelsGetInputsMadeOfOthers(kind: String, varied: String, minutes: Double?, count: Int) async throws {
        let (made, tokens) = try await madeOfOthers(kind: kind, varied, minutes: minutes)
        #expect(made.map { $0.prefix { $0.isNumber } } == (count > 0 ? ["\(count)"] : []), "\(made)")
        guard kind == "labels", count > 0 else { return }
        let without = try await madeOfOthers(kind: kind, "varied: 0, ", minutes: nil).tokens
        #expect(Double(tokens) > 1.3 * Double(without))
    }

    private func madeOfOthers(
        kind: String, _ varied: String, minutes: Double?
    ) async throws -> (notes: [String], tokens: Int) {
        let folder = try folder(kind: kind, teacher: true) { kind == "labels" ? "[\(label($0))]" : label($0) }
        let inputs = (0..<100).map { "{\"input\":\"word \($0) of \($0 * 7) here\"}" }
        try folder.write(inputs.joined(separator: "\n"), "inputs.jsonl")
        let yaml = try String(contentsOf: folder.file("task.yaml"), encoding: .utf8)
        try folder.write(yaml.replacing("data: {", with: "data: {\(varied)"), "task.yaml")
        let observer = Silent()
        let options = RunOptions(minutes: minutes, threads: 2)
        let outcome = try await TaskRun(folder: folder.url, options: options, observer: observer).run()
        return (
            observer.notes.filter { $0.hasSuffix("are made of parts and words of others") },
            outcome.certificate.trainingTokens
        )
    }

    /// Where there are few texts, inputs are written for the teacher to answer, unless somebody says otherwise or there is
    /// little time.
    @Test(arguments: [("", nil, 8), ("written: 0, ", nil, 7), ("", 1, 7)] as [(String, Double?, Int)])
    func fewTextsGetMoreInputs(written: String, minutes: Double?, stages: Int) async throws {
        let folder = try folder(kind: "text", teacher: true) { "\"\($0.prefix(4))\"" }
        let file = folder.url.appendingPathComponent("task.yaml")
        let yaml = try String(contentsOf: file, encoding: .utf8)
        try folder.write(yaml.replacing("data: {inputs", with: "data: {\(written)inputs"), "task.yaml")
        let observer = Quiet()
        let options = RunOptions(minutes: minutes, threads: 2)
        _ = try await TaskRun(folder: folder.url, options: options, observer: observer).run()
        #expect(observer.stages.count == stages)
        #expect(observer.stages.contains { $0.summary.hasSuffix(" written") } == (stages == 8))
    }

    @Test(arguments: ["label", "text"])
    func moreLayersThanTheBaseHasIsAnError(kind: String) async throws {
        let folder = try folder(kind: kind, teacher: false, answer: label)
        let file = folder.url.appendingPathComponent("task.yaml")
        let yaml = try String(contentsOf: file, encoding: .utf8)
        try folder.write(yaml.replacing("layers: 1", with: "layers: 3"), "task.yaml")
        await #expect(throws: TaskError.self) {
            try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet()).run()
        }
    }

    @Test func whatLiesOutsideTheTaskIsWrittenOnceAndLearntFrom() async throws {
        let folder = try folder(kind: "label", teacher: false, answer: label)
        let file = folder.url.appendingPathComponent("task.yaml")
        let yaml = try String(contentsOf: file, encoding: .utf8)
        try folder.write(yaml.replacing("kind: label", with: "kind: label, abstain: other"), "task.yaml")
        let first = Quiet()
        _ = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: first).run()
        #expect(first.stages.count == 4 && first.stages[0].summary.hasSuffix("written"))
        let second = Quiet()
        let again = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: second).run()
        #expect(again.didNothing && second.stages.allSatisfy { $0.reused })

        try folder.write(yaml.replacing("kind: label", with: "kind: label, abstain: nowhere"), "task.yaml")
        #expect(throws: TaskError.self) { try TaskRun(folder: folder.url, observer: Quiet()) }
    }

    @Test func theSameSeedGivesTheSameStudent() async throws {
        var files: [Data] = []
        for _ in 0..<2 {
            let folder = try folder(kind: "text", teacher: false) { "\"\($0.replacing(" thing", with: ""))\"" }
            let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet())
                .run()
            files.append(try Data(contentsOf: outcome.package.appendingPathComponent("model.safetensors")))
        }
        #expect(files[0] == files[1])
    }

    /// Rows that were made up reach the student, whoever else teaches it; slips of the keyboard, with pieces of words that
    /// nobody else writes, are no reason to fit the teacher again.
    @Test(arguments: [("label", true), ("text", false)])
    func aRunLearnsFromWhatWasMadeUp(kind: String, teacher: Bool) async throws {
        let folder = try folder(kind: kind, teacher: teacher, pairs: true, answer: label)
        var observer = Quiet()
        func run() throws -> TaskRun {
            observer = Quiet()
            return try TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: observer)
        }
        let before = try await run().run().certificate
        #expect(!before.data.contains { $0.name == "synthetic" })
        let answers = try Workspace(folder: folder.url).answerTotals().count
        // Had they taken that long, the books would say so, though the next run finds them answered.
        let database = try DatabaseQueue(path: folder.url.path + "/.understudy/workspace.sqlite")
        try await database.write { try $0.execute(sql: "UPDATE answers SET seconds = 600") }
        try database.close()
        let file = folder.url.appendingPathComponent("task.yaml")
        let yaml = try String(contentsOf: file, encoding: .utf8)
        try folder.write(yaml + "\nsynthesis: {rows: 15, methods: [noise]}", "task.yaml")
        let report = try await run().synthesize()
        #expect(report.rows == 15)
        let after = try await run().run().certificate
        #expect(after.data.first { $0.name == "synthetic" }?.rows == 15)
        #expect(after.data.first { $0.name == "train" }?.rows == before.data.first { $0.name == "train" }?.rows)
        #expect(after.trainingTokens > before.trainingTokens)
        // At two cores' price, $0.04 an hour each; made-up rows take the place of some inputs.
        #expect(after.costs.teachingUSD >= Double(answers) / 2 / 6 * 2 * 0.04)
        #expect(after.trainingPrecision == Precision.fastest.rawValue)
        #expect(observer.reused["adapt the teacher"] == (teacher ? true : nil))
        #expect(try Workspace(folder: folder.url).answerTotals().count == answers + (teacher ? 15 : 0))
        #expect(observer.reused["train the student"] == false)
        #expect(try await run().run().didNothing)
    }

    /// A run that goes on after a kill has only its last run's seconds beside a stage; what was trained before counts, too.
    @Test func theBooksCountATrainingThatWentOn() async throws {
        let folder = try folder(kind: "text", teacher: false, answer: label)
        func run() async throws -> Certificate {
            try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet()).run().certificate
        }
        _ = try await run()
        let database = try DatabaseQueue(path: folder.url.path + "/.understudy/workspace.sqlite")
        try await database.write { try $0.execute(sql: "UPDATE stages SET seconds = 0") }
        try database.close()
        try FileManager.default.removeItem(at: folder.url.appendingPathComponent("student"))
        let certificate = try await run()
        #expect(certificate.trainingSeconds > 0)
        // At two cores' price, $0.04 an hour each.
        #expect(abs(certificate.costs.teachingUSD / (certificate.trainingSeconds / 3600 * 2 * 0.04) - 1) < 1e-6)
    }

    @Test func aJSONTaskRuns() async throws {
        let folder = try folder(kind: "json", teacher: true) {
            "{\"colour\":\"\($0.hasPrefix("red") ? "red" : "none")\",\"size\":2}"
        }
        let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet()).run()
        #expect(outcome.certificate.systems.student.metric == "exact")
        #expect(["ship", "do not ship"].contains(outcome.certificate.verdict))
    }

    /// The tiny task, taught for so long that its student knows it by heart.
    private func longFolder(kind: String, answer: (String) -> String) throws -> TemporaryFolder {
        let folder = try folder(kind: kind, teacher: true, answer: answer)
        let file = folder.url.appendingPathComponent("task.yaml")
        let yaml = try String(contentsOf: file, encoding: .utf8)
        try folder.write(yaml.replacing("epochs: 2, batch", with: "epochs: 40, batch"), "task.yaml")
        return folder
    }

    /// What a package answers to inputs of the task and to others.
    private func predicted(_ outcome: TaskRun.Outcome) throws -> [TaskAnswer] {
        let package = try StudentPackage(folder: outcome.package)
        let answers = try package.model(pool: WorkerPool(threadCount: 2)).answer([
            "red cold thing", "tall blue thing", "{\"a\":[", "éé", "", "new",
        ])
        for answer in answers where (try? JSONParser.parse(answer.output.utf8)) != nil {
            #expect(answer.confidence > 0 && answer.confidence <= 1)
            let line = PredictionInput.line(answer, kind: package.format.kind)
            #expect(line.hasPrefix("{\"output\":\(answer.output),"), "\(line)")
        }
        return answers
    }

    /// The answers to what it was taught that are right.
    private func known(_ outcome: TaskRun.Outcome, _ folder: TemporaryFolder) throws -> [String] {
        let data = try Dataset(TaskDefinition(folder: folder.url))
        let model = try StudentPackage(folder: outcome.package).model(pool: WorkerPool(threadCount: 2))
        let answers = try model.answer(data.train.map(\.input)).map(\.output)
        let right = zip(data.train, answers).filter { $0.output == $1 }.map(\.1)
        #expect(right.count * 4 >= data.train.count * 3, "\(right.count) of \(data.train.count)")
        return right
    }

    @Test func aTaskOfLabelSetsRuns() async throws {
        let folder = try longFolder(kind: "labels, labels: [tall, red, cold]") { input in
            let labels = ["red", "cold", "tall"].filter(input.contains)
            return "[\(labels.map { "\"\($0)\"" }.joined(separator: ", "))]"
        }
        let run = { try TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet()) }
        let outcome = try await run().run()
        let systems = outcome.certificate.systems
        #expect(systems.student.metric == "accuracy" && systems.adaptedTeacher != nil)
        #expect(systems.baseline.name.contains("label by label"))
        for answer in try predicted(outcome) {
            let labels = LabelSet.labels(answer.output)
            #expect(answer.output == LabelSet.text(labels, order: ["tall", "red", "cold"]))
            #expect(Set(labels).isSubset(of: ["tall", "red", "cold"]))
            #expect(answer.tokens.count == labels.count + 1)
        }
        let sizes = Set(try known(outcome, folder).map { LabelSet.labels($0).count })
        #expect(sizes.isSuperset(of: [0, 1, 2]))
        #expect(try await run().run().didNothing)
    }

    @Test func aTaskOfToolCallsRuns() async throws {
        let folder = try longFolder(kind: "tool") {
            let name = $0.hasPrefix("red") ? "heat" : "move"
            let arguments = JSONValue.string("{\"to\":\"\($0.prefix(3))\"}").text
            return "{\"function\":{\"name\":\"\(name)\",\"arguments\":\(arguments)}}"
        }
        let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet()).run()
        #expect(outcome.certificate.systems.student.metric == "exact")
        _ = try predicted(outcome)
        let calls = Set(try known(outcome, folder))
        #expect(
            calls.count > 2 && calls.allSatisfy { $0.hasPrefix(#"{"name":""#) && $0.contains("\"to\"") }, "\(calls)")
    }

    /// A schema of choices leaves a student that knows nothing no way to be wrong in form.
    @Test func answersAreHeldToTheSchema() async throws {
        let schema =
            #"{"type":"object","properties":{"size":{"type":"integer","minimum":0,"maximum":9},"colour":{"enum":["red","none",""]},"sure":{"type":"boolean"}},"required":["colour","size"],"additionalProperties":false}"#
        let folder = try folder(kind: "json, schema: schema.json", teacher: true) {
            "{\"colour\":\"\($0.hasPrefix("red") ? "red" : "none")\",\"size\":2}"
        }
        try folder.write(schema, "schema.json")
        let run = { try TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Quiet()) }
        let outcome = try await run().run()
        let check = SchemaCheck(try JSONParser.parse(schema.utf8))
        for answer in try predicted(outcome) {
            #expect(throws: Never.self, "\(answer.output)") {
                try check.fitted(JSONParser.parse(answer.output.utf8))
            }
        }
        // The package knows it; one that was made before there were schemas is read as well.
        let file = outcome.package.appendingPathComponent(StudentPackage.formatFile)
        let text = try String(contentsOf: file, encoding: .utf8)
        #expect(try StudentPackage(folder: outcome.package).format.schema?.value == JSONParser.parse(schema.utf8))
        let old = text.split(separator: "\n").filter { !$0.contains("\"schema\"") }.joined(separator: "\n")
        try Data(old.utf8).write(to: file)
        #expect(try StudentPackage(folder: outcome.package).format.schema == nil && old != text)
        // Another schema makes another student.
        try folder.write(schema.replacing("maximum\":9", with: "maximum\":8"), "schema.json")
        #expect(try await !run().run().didNothing)
    }
}
