import Distillation
import Foundation
import OpenAI
import Service
import Synchronization
import TestSupport
import Testing

/// Keeps what a run says.
final class Notes: RunObserver, Sendable {
    private let texts = Mutex<[String]>([])
    var all: [String] { texts.withLock { $0 } }

    func stageBegan(_ stage: String, number: Int, of count: Int) {}
    func stageAdvanced(_ fraction: Double, detail: String) {}
    func stageEnded(_ summary: String, reused: Bool) {}
    func note(_ text: String) { texts.withLock { $0.append(text) } }
}

/// A task whose right answers are known, and teachers that err as often as they are told.
struct TaughtTask {
    let folder: TemporaryFolder
    let truth: [String: String]
    static let labels = ["arrival", "balance", "closing", "dispute", "exchange"]

    /// - Parameter inputs: how many; each has words that tell its label.
    init(inputs: Int, validation: Int) throws {
        folder = try TemporaryFolder()
        var rows: [(String, String)] = []
        for number in 0..<(20 + validation + inputs + 10) {
            let label = Self.labels[(number &* 7 + number / 5) % Self.labels.count]
            rows.append(("message \(number) about my \(label) of today", label))
        }
        truth = Dictionary(uniqueKeysWithValues: rows)
        func write(_ rows: some Sequence<(String, String)>, _ name: String) throws {
            try folder.write(
                rows.map { "{\"input\":\"\($0.0)\",\"output\":\"\($0.1)\"}" }.joined(separator: "\n"), name)
        }
        try write(rows.prefix(20), "gold.jsonl")
        try write(rows.dropFirst(20).prefix(validation), "validation.jsonl")
        try write(rows.suffix(10), "test.jsonl")
        try folder.write(
            rows.dropFirst(20 + validation).prefix(inputs).map { "{\"input\":\"\($0.0)\"}" }.joined(separator: "\n"),
            "inputs.jsonl")
    }

    func write(_ teacher: String, more: String = "") throws {
        try folder.write(
            """
            name: t
            instruction: Name what the message is about.
            output: {kind: label, labels: [\(Self.labels.joined(separator: ", "))]}
            data: {inputs: inputs.jsonl, gold: {train: gold.jsonl, validation: validation.jsonl, test: test.jsonl}}
            teacher: \(teacher)
            \(more)
            """, "task.yaml")
    }

    func label(_ notes: Notes = Notes()) async throws -> TaskRun.LabelOutcome {
        try await TaskRun(folder: folder.url, observer: notes).label()
    }

    /// What is stored, read as a run reads it.
    func read() throws -> (panel: TeacherPanel, inputs: [String], workspace: Workspace) {
        let task = try TaskDefinition(folder: folder.url)
        let data = try Dataset(task)
        let workspace = try Workspace(folder: folder.url, access: .reading)
        var panel = TeacherPanel(task, data: data)
        try panel.calibrate(workspace)
        return (panel, data.inputs, workspace)
    }

    func accuracy(_ inputs: [String], _ opinions: [TeacherOpinion?]) -> Double {
        Double(zip(inputs, opinions).count { truth[$0] == $1?.output }) / Double(inputs.count)
    }

    func brier(_ inputs: [String], _ opinions: [TeacherOpinion?]) -> Double {
        zip(inputs, opinions).reduce(0) { sum, row in
            let distance = (row.1?.confidence ?? 0) - (truth[row.0] == row.1?.output ? 1 : 0)
            return sum + distance * distance
        } / Double(inputs.count)
    }

    func simulator(_ configuration: inout TeacherSimulator.Configuration, wrong: Double, seed: UInt64) {
        configuration.script.rule = .choice(Self.labels)
        configuration.script.answers = truth
        configuration.script.wrong = wrong
        configuration.script.seed = seed
    }
}

@Suite(.serialized) struct TeacherPanelTests {
    @Test func aVoteIsBetterThanEachVoter() async throws {
        let task = try TaughtTask(inputs: 300, validation: 120)
        try await withSimulator {
            task.simulator(&$0, wrong: 0.25, seed: 1)
        } _: { _, first in
            try await withSimulator {
                task.simulator(&$0, wrong: 0.3, seed: 2)
            } _: { _, second in
                try await withSimulator {
                    task.simulator(&$0, wrong: 0.3, seed: 3)
                } _: { simulator, third in
                    let list = [first, second, third].map { "{url: '\($0.absoluteString)', model: simulated}" }
                    try task.write("{endpoints: [\(list.joined(separator: ", "))], combine: vote}")
                    let notes = Notes()
                    let outcome = try await task.label(notes)
                    #expect(outcome.answers == 300 && outcome.calls == 3 * 420)
                    #expect(outcome.teachers.map(\.calls) == [420, 420, 420])
                    #expect(notes.all.count { $0.contains("will be asked for 420 answers") } == 3)
                    let (panel, inputs, workspace) = try task.read()
                    let together = task.accuracy(inputs, try panel.opinions(inputs, workspace: workspace))
                    for member in 0..<3 {
                        let own = task.accuracy(inputs, try panel.own(member, inputs, workspace: workspace))
                        #expect(own > 0.6 && together > own + 0.05, "\(member): \(own), together \(together)")
                    }
                    // The simulated teachers are less sure of what is wrong, and never quite sure of what is right.
                    let plain = TeacherPanel(panel.task, data: try Dataset(panel.task))
                    let before = task.brier(inputs, try plain.own(0, inputs, workspace: workspace))
                    let after = task.brier(inputs, try panel.own(0, inputs, workspace: workspace))
                    #expect(after < before - 0.02, "\(before) \(after)")

                    let paid = simulator.statistics.answered
                    #expect(try await task.label().usd == outcome.usd && simulator.statistics.answered == paid)
                }
            }
        }
    }

    @Test func aCascadeAsksTheDearTeacherOnlyWhatIsDoubtful() async throws {
        let task = try TaughtTask(inputs: 240, validation: 60)
        try await withSimulator {
            task.simulator(&$0, wrong: 0.3, seed: 4)
        } _: { _, cheap in
            try await withSimulator {
                task.simulator(&$0, wrong: 0.02, seed: 5)
                $0.model = "dear"
            } _: { simulator, dear in
                try task.write(
                    """
                    {endpoints: [{url: '\(cheap.absoluteString)', model: simulated, usdPerMillionInput: 1, usdPerMillionOutput: 2}, \
                    {url: '\(dear.absoluteString)', model: dear, usdPerMillionInput: 50, usdPerMillionOutput: 100}], \
                    combine: cascade, threshold: 0.75}
                    """)
                let notes = Notes()
                let outcome = try await task.label(notes)
                let (panel, inputs, workspace) = try task.read()
                let first = try panel.own(0, inputs, workspace: workspace)
                let doubtful = first.count { ($0?.confidence ?? 0) < 0.75 }
                #expect(doubtful > 20 && doubtful < 180, "\(doubtful)")
                #expect(outcome.teachers.map(\.calls) == [300, doubtful])
                #expect(simulator.statistics.distinct == doubtful + 1 && simulator.statistics.answeredAgain == 0)
                #expect(notes.all.contains { $0.contains("dear will be asked for at most 240 answers") })
                let dearer = outcome.teachers[1].usd / Double(doubtful)
                #expect(dearer > 30 * outcome.teachers[0].usd / 300)
                #expect(abs(outcome.teachers[0].usd + outcome.teachers[1].usd - outcome.usd) < 1e-12)
                let own = task.accuracy(inputs, first)
                let together = task.accuracy(inputs, try panel.opinions(inputs, workspace: workspace))
                #expect(own < 0.8 && together > own + 0.15, "\(own), together \(together)")
            }
        }
    }

    /// A budget that is not enough for all: the first inputs are asked of every teacher, the last of none.
    @Test func aBudgetIsSpentOnAllVotersAlike() async throws {
        let task = try TaughtTask(inputs: 600, validation: 20)
        try await withSimulator {
            task.simulator(&$0, wrong: 0.2, seed: 1)
        } _: { _, first in
            try await withSimulator {
                task.simulator(&$0, wrong: 0.2, seed: 2)
            } _: { _, second in
                let list = [first, second].map { "{url: '\($0.absoluteString)', model: simulated}" }
                try task.write("{endpoints: [\(list.joined(separator: ", "))], budget: {requests: 600}}")
                let outcome = try await task.label()
                #expect(outcome.calls <= 598 && outcome.calls > 550, "\(outcome)")
                let calls = outcome.teachers.map(\.calls)
                // The gold, and the first 256 inputs, of both; what is left of the next ones of the first alone.
                #expect(calls[1] == 276 && calls[0] >= 276, "\(calls)")
                #expect(outcome.answers == calls[0] - 20)
            }
        }
    }

    /// Without log-probabilities the share of the votes tells how sure a teacher is.
    @Test func aTeacherVotesWithItself() async throws {
        let task = try TaughtTask(inputs: 150, validation: 40)
        try await withSimulator {
            task.simulator(&$0, wrong: 0.2, seed: 6)
            $0.refusedFields = ["logprobs"]
        } _: { simulator, url in
            try task.write("{endpoint: {url: '\(url.absoluteString)', model: simulated, samples: 5, temperature: 1}}")
            let outcome = try await task.label()
            #expect(outcome.calls == 750 && simulator.statistics.answeredAgain == 0)
            let (panel, inputs, workspace) = try task.read()
            let rows = zip(inputs, try panel.opinions(inputs, workspace: workspace))
            let sure = rows.filter { ($1?.confidence ?? 0) >= 0.8 }
            let unsure = rows.filter { ($1?.confidence ?? 0) < 0.8 }
            func right(_ rows: [(String, TeacherOpinion?)]) -> Double {
                Double(rows.count { task.truth[$0] == $1?.output }) / Double(max(1, rows.count))
            }
            #expect(sure.count > 30 && unsure.count > 30)
            #expect(right(sure) > right(unsure) + 0.15, "\(right(sure)) \(right(unsure))")
        }
    }

    @Test func whatIsUnsureIsAskedAgainDroppedOrReviewed() async throws {
        let task = try TaughtTask(inputs: 200, validation: 100)
        try await withSimulator {
            task.simulator(&$0, wrong: 0.25, seed: 7)
        } _: { simulator, url in
            let endpoint = "{endpoint: {url: '\(url.absoluteString)', model: simulated}"
            try task.write(
                endpoint + ", confidence: {ask_again_below: 0.6, samples: 3, review_below: 0.5, drop_below: 0.2}}")
            let outcome = try await task.label()
            let (panel, inputs, workspace) = try task.read()
            let first = try panel.own(0, inputs, workspace: workspace, withVotes: false)
            let doubtful = first.count { ($0?.confidence ?? 0) < 0.6 }
            #expect(doubtful > 20 && outcome.calls == 300 + 3 * doubtful, "\(doubtful) \(outcome.calls)")
            let opinions = try panel.opinions(inputs, workspace: workspace)
            let learnt = opinions.count { ($0?.confidence ?? 0) >= 0.5 }
            #expect(outcome.answers == learnt && learnt < 200)
            let waiting = Set(
                zip(inputs, opinions).filter { ($1?.confidence ?? 1) < 0.5 }.map(\.0))
            let queue = try ReviewQueue(folder: task.folder.url, limit: 1000)
            #expect(!waiting.isEmpty && waiting.isSubset(of: Set(queue.items.map(\.input))))
            #expect(simulator.statistics.answeredAgain == 0)
            #expect(try await task.label().calls == outcome.calls)
        }
    }

    @Test(arguments: [
        ("{endpoints: []}", "must be a list of endpoints"),
        ("{endpoints: [{url: 'http://a/v1'}]}", "'teacher.endpoints[1].model' is missing"),
        ("{endpoints: [{url: 'http://a/v1', model: m}, {url: 'http://a/v1', model: m}]}", "of this address twice"),
        ("{endpoint: {url: 'http://a/v1', model: m}, combine: vote}", "'teacher.combine' is for several"),
        (
            "{endpoints: [{url: 'http://a/v1', model: m}, {url: 'http://a/v1', model: n}], combine: both}",
            "expected one of: vote, cascade"
        ),
        (
            "{endpoints: [{url: 'http://a/v1', model: m}, {url: 'http://a/v1', model: n}], threshold: 0.5}",
            "'teacher.threshold' is for 'teacher.combine: cascade'"
        ),
        ("{endpoint: {url: 'http://a/v1', model: m, usdPerMillionInput: 1}}", "needs both usdPerMillionInput"),
        ("{endpoint: {url: 'http://a/v1', model: m, batch: true, stream: true}}", "stream' is not for batches"),
        ("{endpoint: {url: 'http://a/v1', model: m}, confidence: {drop: 1}}", "unknown key 'teacher.confidence.drop'"),
        ("{model: m, confidence: {drop_below: 0.5}}", "'teacher.confidence' is for a teacher behind an endpoint"),
    ])
    func mistakesAreNamed(teacher: String, message: String) throws {
        let task = try TaughtTask(inputs: 1, validation: 20)
        try task.write(teacher)
        let error = #expect(throws: TaskError.self) { try TaskDefinition(folder: task.folder.url) }
        #expect(error?.message.contains(message) == true && error?.line == 5, "\(error?.description ?? "")")
    }

    @Test func theFurtherProbeFindsToolsPromptsAndBatches() async throws {
        let task = try TaughtTask(inputs: 1, validation: 20)
        for isAble in [true, false] {
            try await withSimulator {
                task.simulator(&$0, wrong: 0, seed: 1)
                $0.callsTools = isAble
                $0.echoesPrompts = isAble
            } _: { _, url in
                try task.write("{endpoint: {url: '\(url.absoluteString)', model: simulated}}")
                let run = try TaskRun(folder: task.folder.url, observer: Notes())
                let found = try #require(try await run.probe()["simulated"])
                #expect(found.tools == isAble && found.promptLogProbabilities == isAble && found.batches == true)
                #expect(found.topLogProbabilities == 20 && found.calls == (isAble ? 2 : 0))
            }
        }
    }

    /// A budget for a third of the inputs: the choice is the same after a kill, and what it is worth is said.
    @Test func theMostUsefulInputsComeFirst() async throws {
        let task = try TaughtTask(inputs: 300, validation: 60)
        try await withSimulator {
            task.simulator(&$0, wrong: 0.05, seed: 8)
        } _: { simulator, url in
            let endpoint = "{endpoint: {url: '\(url.absoluteString)', model: simulated}"
            try task.write(endpoint + "}", more: "label: {count: 100}")
            let notes = Notes()
            let outcome = try await task.label(notes)
            #expect(outcome.inputs == 100 && outcome.calls == 100)
            #expect(notes.all.contains { $0.contains("100 of 300 inputs are asked for first") })
            let curve = try #require(outcome.curve)
            #expect(curve.points.last?.labels == 100 && curve.points.first?.labels == 0 && curve.validationRows == 60)
            #expect(try await task.label().calls == 100 && simulator.statistics.distinct == 101)

            try task.write(endpoint + ", budget: {requests: 150}}", more: "label: auto")
            let more = try await task.label()
            #expect(more.calls <= 150 && more.answers > 100)
        }
    }
}
