import Distillation
import Foundation
import OpenAI
import Service
import TestSupport
import Testing

/// Asking in batches: everything is answered once, whatever goes wrong on the way.
@Suite(.serialized) struct BatchTests {
    private static func write(_ task: TaughtTask, _ url: URL, budget: String = "") throws {
        try task.write(
            "{endpoint: {url: '\(url.absoluteString)', model: simulated, batch: true}\(budget)}",
            more: "economics: {teacher: {usdPerMillionInput: 2, usdPerMillionOutput: 4}}")
    }

    @Test func whatFailsOrExpiresIsAskedAgainAndTheRestIsPaidOnceForHalf() async throws {
        let task = try TaughtTask(inputs: 200, validation: 20)
        try await withSimulator {
            task.simulator(&$0, wrong: 0, seed: 1)
            $0.script.faults.server = 0.2
            $0.batchSeconds = 0.2
            $0.expiringBatches = 1
        } _: { simulator, url in
            try Self.write(task, url)
            let outcome = try await task.label()
            let statistics = simulator.statistics
            #expect(outcome.answers == 200 && outcome.calls == 200 && outcome.lostCalls == 1)
            // The probe is no part of a batch.
            #expect(statistics.answered == 201 && statistics.answeredAgain == 0 && statistics.batches >= 3)
            let (panel, inputs, workspace) = try task.read()
            #expect(task.accuracy(inputs, try panel.opinions(inputs, workspace: workspace)) == 1)
            #expect(try workspace.batches(of: "simulated \(url.absoluteString)").isEmpty)
            let half = (Double(statistics.promptTokens) + 2 * Double(statistics.completionTokens)) / 1e6
            #expect(abs(outcome.usd - half) < half * 0.01, "\(outcome.usd) \(half)")
        }
    }

    @Test func theBudgetIsKept() async throws {
        let task = try TaughtTask(inputs: 200, validation: 20)
        try await withSimulator {
            task.simulator(&$0, wrong: 0, seed: 1)
            $0.batchSeconds = 0.1
        } _: { simulator, url in
            try Self.write(task, url, budget: ", budget: {requests: 50}")
            let outcome = try await task.label()
            #expect(outcome.calls == 49 && simulator.statistics.answered == 50)
        }
        let poor = try TaughtTask(inputs: 200, validation: 20)
        try await withSimulator {
            poor.simulator(&$0, wrong: 0, seed: 1)
            $0.batchSeconds = 0.1
        } _: { simulator, url in
            try Self.write(poor, url, budget: ", budget: {usd: 0.02}")
            let outcome = try await poor.label()
            #expect(outcome.usd <= 0.02 && outcome.calls > 10 && outcome.calls < 200, "\(outcome)")
            // A last batch that would be much smaller than the first is not made.
            #expect(outcome.usd > 0.015 && simulator.statistics.batches < 8)
        }
    }

    static func teacher(_ path: String) throws -> (EndpointTeacher, Workspace) {
        let task = try TaskDefinition(folder: URL(fileURLWithPath: path))
        let data = try Dataset(task)
        let workspace = try Workspace(folder: task.folder)
        let teacher = try EndpointTeacher(
            task, endpoint: task.endpoint!, labels: data.labels, examples: data.train,
            prices: .init(usdPerMillionInput: 2, usdPerMillionOutput: 4), workspace: workspace)
        return (teacher, workspace)
    }

    /// Killed at moments of its beginning, and twice while it waits for a batch it has stored the name of: there is
    /// one batch, and it is waited for.
    @Test func aKilledClientGoesOnWithTheSameBatch() async throws {
        let task = try TaughtTask(inputs: 150, validation: 20)
        try await withSimulator {
            task.simulator(&$0, wrong: 0, seed: 1)
            $0.batchSeconds = 3
        } _: { simulator, url in
            try Self.write(task, url)
            var seen: Set<Int> = []
            for milliseconds in [60, 120, 300, nil, nil] {
                await #expect(processExitsWith: .signal(SIGKILL)) {
                    [path = task.folder.url.path as String, milliseconds = milliseconds as Int?, url = url as URL] in
                    let (teacher, workspace) = try BatchTests.teacher(path)
                    let inputs = try Dataset(TaskDefinition(folder: URL(fileURLWithPath: path))).inputs
                    Thread.detachNewThread {
                        if let milliseconds {
                            usleep(UInt32(milliseconds) * 1000)
                        } else {
                            let name = "simulated \(url.absoluteString)"
                            while (try? workspace.batches(of: name).contains { $0.remote != nil }) != true {
                                usleep(5000)
                            }
                        }
                        kill(getpid(), SIGKILL)
                    }
                    _ = try await teacher.ask(inputs) { _ in }
                    try await Task.sleep(for: .seconds(60))
                }
                seen.insert(simulator.statistics.batches)
            }
            #expect(seen.subtracting([0]) == [1], "\(seen)")
            let outcome = try await task.label()
            #expect(outcome.answers == 150 && outcome.calls == 150)
            #expect(simulator.statistics.batches == 1 && simulator.statistics.answeredAgain <= outcome.cutOffCalls)
            #expect(simulator.statistics.answered <= 151 + outcome.cutOffCalls)
        }
    }

    /// Killed between the making of a batch and the storing of its name: it is found by the mark it carries.
    @Test func aBatchWhoseNameWasLostIsFound() async throws {
        let task = try TaughtTask(inputs: 40, validation: 20)
        try await withSimulator {
            task.simulator(&$0, wrong: 0, seed: 1)
            $0.batchSeconds = 0.1
        } _: { simulator, url in
            try Self.write(task, url)
            let (teacher, workspace) = try Self.teacher(task.folder.url.path)
            let data = try Dataset(TaskDefinition(folder: task.folder.url))
            let prompt = EndpointPrompt(
                try TaskDefinition(folder: task.folder.url),
                endpoint: try TaskDefinition(folder: task.folder.url).endpoint!, labels: data.labels,
                examples: data.train)
            let client = try EndpointClient(.init(url: url, model: "simulated"))
            let keys = data.inputs.map { prompt.key($0) }
            let lines = zip(keys, data.inputs).map { client.batchLine($0.hexadecimal, prompt.call($1)) }
            try workspace.open(
                BatchRecord(id: "lost", remote: nil), teacher: "simulated \(url.absoluteString)",
                calls: keys.enumerated().map {
                    TeacherCall(
                        id: Int64($0 + 1), request: $1, inputTokens: 500, outputTokens: 50, usd: 0.01,
                        teacher: "simulated \(url.absoluteString)", batch: "lost")
                })
            _ = try await client.makeBatch(lines, mark: "lost")
            let again = try await client.findBatch(mark: "lost")
            #expect(again != nil)
            await client.shutDown()
            let outcome = try await teacher.ask(data.inputs) { _ in }
            await teacher.shutDown()
            #expect(outcome.answered == 40 && simulator.statistics.batches == 1 && simulator.statistics.answered == 40)
            #expect(
                try workspace.callTotals().open == 0 && workspace.batches(of: "simulated \(url.absoluteString)").isEmpty
            )
        }
    }
}
