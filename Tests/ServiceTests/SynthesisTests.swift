import Distillation
import Foundation
import Service
import TestSupport
import Testing

/// Rows made up by a simulated teacher on a bad day.
@Suite(.serialized) struct EndpointSynthesisTests {
    private final class Quiet: RunObserver {
        func stageBegan(_ stage: String, number: Int, of count: Int) {}
        func stageAdvanced(_ fraction: Double, detail: String) {}
        func stageEnded(_ summary: String, reused: Bool) {}
        func note(_ text: String) {}
    }

    private func write(_ folder: TemporaryFolder, url: URL, budget: String) throws {
        let colours = ["red", "blue", "green", "brown", "white", "black", "pink", "grey", "gold", "teal"]
        let rows = colours.flatMap { colour in
            ["is the \(colour) box heavy", "where is the \(colour) box now"].enumerated().map {
                "{\"input\":\"\($0.element)\",\"output\":\"\($0.offset == 0 ? "weight" : "place")\"}"
            }
        }
        try folder.write(rows.prefix(16).joined(separator: "\n"), "gold.jsonl")
        try folder.write(rows.suffix(4).joined(separator: "\n"), "test.jsonl")
        try folder.write(
            """
            name: t
            instruction: Name what is asked for.
            output: {kind: label, labels: [weight, place]}
            data: {gold: {train: gold.jsonl, test: test.jsonl}}
            teacher: {endpoint: {url: '\(url.absoluteString)', model: simulated, concurrency: 8}\(budget)}
            economics: {teacher: {usdPerMillionInput: 1, usdPerMillionOutput: 1}}
            synthesis: {rows: 12, methods: [backward, noise]}
            """, "task.yaml")
    }

    /// What the simulated teacher makes up for every request that may come, and its answers to that.
    private func script(_ folder: TemporaryFolder) throws -> [String: String] {
        let task = try TaskDefinition(folder: folder.url)
        var plain = task
        plain.synthesis = nil
        let data = try Dataset(plain)
        let prompts = SynthesisPrompts(task, labels: data.labels, gold: data.train, inputs: data.inputs)
        let things = [
            "ladder", "barrel", "statue", "engine", "mirror", "carpet", "bottle", "anchor", "pillow", "kettle",
        ]
        var answers: [String: String] = [:]
        for round in 0..<4 {
            for rows in 1...20 {
                for (number, request) in prompts.requests(.backward, rows: rows, round: round).enumerated() {
                    let label = request.expected ?? ""
                    let inputs = (0..<4).map { place in
                        let thing = things[(number * 4 + place + round) % 10]
                        return label == "weight" ? "how many kilograms has our \(thing)" : "who put that \(thing) away"
                    }
                    answers[request.user] =
                        "{\"rows\":[\(inputs.map { "{\"input\":\"\($0)\"}" }.joined(separator: ","))]}"
                    for input in inputs { answers[input] = label }
                }
            }
        }
        return answers
    }

    @Test func everythingIsPaidOnceThroughFaultsAndBudgets() async throws {
        let folder = try TemporaryFolder()
        try write(folder, url: URL(string: "http://127.0.0.1:1/v1")!, budget: "")
        let answers = try script(folder)
        try await withSimulator {
            $0.script.answers = answers
            $0.script.faults.rateLimited = 0.15
            $0.script.faults.server = 0.1
        } _: { simulator, url in
            try write(folder, url: url, budget: ", budget: {requests: 6}")
            let notes = Notes()
            let first = try await TaskRun(folder: folder.url, observer: notes).synthesize()
            #expect(
                notes.all.contains { $0.contains("will be asked for") && $0.contains("were all rows kept at once") })
            #expect(first.notes.contains { $0.contains("budget (6 requests) is spent") })
            #expect(first.rows < 12 && simulator.statistics.answered <= 8)

            try write(folder, url: url, budget: "")
            let second = try await TaskRun(folder: folder.url, observer: Quiet()).synthesize()
            #expect(second.rows == 12 && (second.kept["backward"] ?? 0) >= 6 && second.usd > 0)
            #expect(simulator.statistics.answeredAgain == 0)
            let paid = simulator.statistics.answered

            let third = try await TaskRun(folder: folder.url, observer: Quiet()).synthesize()
            #expect(third.rows == 12 && third.usd == second.usd && simulator.statistics.answered == paid)
            let form = AnswerForm(kind: .label, labels: ["weight", "place"])
            let rows = try SyntheticFile(folder: folder.url).read(form)
            #expect(
                rows.filter { $0.provenance.method == .backward }.allSatisfy { $0.provenance.teacher == "simulated" })

            // Labelling asks for no row again, and for none whose answer is the gold's.
            let labelled = try await TaskRun(folder: folder.url, observer: Quiet()).label()
            #expect(labelled.answers == second.kept["backward"] && simulator.statistics.answered == paid)
        }
    }
}
