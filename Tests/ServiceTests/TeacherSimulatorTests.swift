import Distillation
import Foundation
import OpenAI
import Service
import TestSupport
import Testing
import Tokenizers

/// Runs a simulator for as long as `body` takes.
func withSimulator<Value: Sendable>(
    _ change: (inout TeacherSimulator.Configuration) -> Void,
    _ body: @Sendable @escaping (TeacherSimulator, URL) async throws -> Value
) async throws -> Value {
    var configuration = TeacherSimulator.Configuration()
    configuration.retryAfter = 0.01
    configuration.hangSeconds = 5
    change(&configuration)
    let simulator = TeacherSimulator(configuration)
    let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await simulator.run(port: 0, handlesSignals: false) { continuation.yield($0) } }
        defer { group.cancelAll() }
        var iterator = ports.makeAsyncIterator()
        let port = try #require(await iterator.next())
        return try await body(simulator, URL(string: "http://127.0.0.1:\(port)/v1")!)
    }
}

private func client(_ url: URL, key: APIKey? = nil, seconds: Double = 1) throws -> EndpointClient {
    var configuration = EndpointClient.Configuration(url: url, model: "simulated", key: key)
    configuration.secondsPerCall = seconds
    configuration.retry.base = 0.01
    return try EndpointClient(configuration)
}

private func question(_ text: String, streams: Bool) -> ChatCall {
    var call = ChatCall(messages: [.init(role: "user", content: text)], maximumTokens: 64)
    call.streams = streams
    return call
}

@Suite(.serialized) struct TeacherSimulatorTests {
    @Test func theSameSeedDoesTheSame() {
        func run(_ seed: UInt64) -> [String] {
            var script = TeacherScript()
            script.seed = seed
            script.faults.rateLimited = 0.2
            script.faults.hang = 0.2
            script.latency = .lognormal(0.1, 1)
            script.rule = .choice(["a", "b", "c"])
            return (0..<300).map { number in
                let reply = script.reply(
                    input: "input \(number / 3)", request: UInt64(number / 3) * 77, attempt: number % 3)
                return "\(reply.seconds) \(reply.fault?.rawValue ?? "-") \(reply.answer ?? "-")"
            }
        }
        #expect(run(1) == run(1))
        #expect(run(1) != run(2))
        let limited = run(1).count { $0.contains("rateLimited") }
        #expect((30...90).contains(limited))
    }

    @Test(arguments: [false, true])
    func everythingIsAnsweredOnceThroughAllFaults(streams: Bool) async throws {
        let answers = try await withSimulator {
            $0.script.faults.rateLimited = 0.1
            $0.script.faults.server = 0.05
            $0.script.faults.broken = 0.05
            $0.script.faults.malformed = 0.05
            $0.script.faults.hang = 0.02
            $0.script.rule = .echo
        } _: { simulator, url in
            // The server ends what hangs after five seconds; a slow machine must not end anything else.
            let own = try client(url, seconds: 120)
            let answers = try await withThrowingTaskGroup(of: String.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        try await own.answer(question("the number \(number) of many words", streams: streams)).answer
                            .text
                    }
                }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            await own.shutDown()
            let statistics = simulator.statistics
            #expect(statistics.answered == 200 && statistics.answeredAgain == 0 && statistics.distinct == 200)
            #expect(statistics.faults.values.reduce(0, +) == statistics.requests - 200)
            #expect(statistics.faults.count == 5, "\(statistics.faults)")
            return answers
        }
        #expect(answers == Set((0..<200).map { "the number \($0) of many words" }))
    }

    @Test func concurrencyFallsToWhatTheEndpointBears() async throws {
        try await withSimulator {
            $0.capacity = 3
            $0.retryAfter = 0.02
            $0.script.latency = .fixed(0.02)
            $0.script.rule = .echo
        } _: { simulator, url in
            let own = try client(url, seconds: 5)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask { _ = try await own.answer(question("\(number)", streams: false)) }
                }
                try await group.waitForAll()
            }
            let limit = await own.concurrencyLimit
            #expect(limit < 12, "\(limit)")
            await own.shutDown()
            #expect(simulator.statistics.answered == 200 && simulator.statistics.answeredAgain == 0)
        }
    }

    @Test func aKeyThatIsNotKnownEndsAtOnceAndIsNotRepeated() async throws {
        try await withSimulator {
            $0.key = "sk-the-right-one"
            $0.script.rule = .echo
        } _: { simulator, url in
            let wrong = "sk-wrong-0123456789-wrong"
            let own = try client(url, key: APIKey(wrong))
            let error = await #expect(throws: EndpointError.self) {
                try await own.answer(question("x", streams: false))
            }
            #expect(error?.code == .denied && error?.message.contains("Incorrect API key") == true)
            #expect(error?.message.contains("wrong-0123") == false)
            await own.shutDown()
            let right = try client(url, key: APIKey("sk-the-right-one"))
            #expect(try await right.answer(question("x", streams: true)).answer.text == "x")
            await right.shutDown()
            #expect(simulator.statistics.requests == 1)
        }
    }

    @Test func theProbeFindsWhatTheEndpointCannotDo() async throws {
        func probe(_ refused: Set<String>, answer: String = "{\"ok\": true}") async throws -> EndpointCapabilities {
            try await withSimulator {
                $0.refusedFields = refused
                $0.script.rule = .fixed(answer)
            } _: { _, url in
                let own = try client(url)
                let found = try await own.probe()
                await own.shutDown()
                return found
            }
        }
        let all = try await probe([])
        #expect(all.topLogProbabilities == 20 && all.jsonObject && all.seed && all.temperature && all.calls == 1)
        let few = try await probe(["logprobs", "seed", "max_tokens", "temperature"], answer: "ok")
        #expect(
            few.topLogProbabilities == nil && !few.jsonObject && !few.seed && !few.temperature && few.limitsCompletion)
    }

    @Test func whoDoesNotAnswerIsGivenUp() async throws {
        var configuration = EndpointClient.Configuration(url: URL(string: "http://127.0.0.1:9/v1")!, model: "m")
        configuration.retry.base = 0.001
        configuration.retry.maximumFailures = 3
        let own = try EndpointClient(configuration)
        let error = await #expect(throws: EndpointError.self) { try await own.answer(question("x", streams: false)) }
        #expect(error?.code == .noAnswer && error?.message.contains("cannot be reached") == true)
        await own.shutDown()
    }
}

/// A teacher behind an endpoint that has a bad day, and a client that is killed in the middle.
@Suite(.serialized) struct EndpointKillTests {
    private static let inputs = (0..<600).map { "message \($0) of a customer" }

    static func teacher(_ path: String, _ url: String, budget: String) throws -> (EndpointTeacher, Workspace) {
        let folder = URL(fileURLWithPath: path)
        try Data("{\"input\":\"one\",\"output\":\"a\"}\n{\"input\":\"two\",\"output\":\"b\"}\n".utf8)
            .write(to: folder.appendingPathComponent("gold.jsonl"))
        try Data(
            """
            name: t
            output: {kind: label, labels: [a, b, c]}
            data: {gold: gold.jsonl}
            teacher:
              endpoint: {url: '\(url)', model: simulated, stream: true, seconds: 3, concurrency: 16}
              budget: \(budget)
            """.utf8
        ).write(to: folder.appendingPathComponent("task.yaml"))
        let task = try TaskDefinition(folder: folder)
        let workspace = try Workspace(folder: folder)
        let teacher = try EndpointTeacher(
            task, endpoint: task.endpoint!, labels: ["a", "b", "c"],
            examples: [.init(input: "one", output: "a"), .init(input: "two", output: "b")],
            prices: .init(usdPerMillionInput: 1, usdPerMillionOutput: 2), workspace: workspace)
        return (teacher, workspace)
    }

    private func faults(_ configuration: inout TeacherSimulator.Configuration) {
        configuration.script.faults.rateLimited = 0.1
        configuration.script.faults.server = 0.05
        configuration.script.faults.broken = 0.02
        configuration.script.faults.malformed = 0.01
        configuration.script.faults.hang = 0.01
        configuration.script.latency = .uniform(0.001, 0.01)
        configuration.script.rule = .choice(["a", "b", "c"])
        configuration.script.chatty = 0.2
    }

    @Test func killedAgainAndAgainNothingIsPaidTwice() async throws {
        let folder = try TemporaryFolder()
        try await withSimulator(faults) { simulator, url in
            var cutOff = 0
            for milliseconds in [150, 250, 350, 450, 550] {
                await #expect(processExitsWith: .signal(SIGKILL)) {
                    [
                        path = folder.url.path as String, url = url.absoluteString as String,
                        milliseconds = milliseconds as Int
                    ] in
                    let (teacher, _) = try EndpointKillTests.teacher(path, url, budget: "{usd: 10}")
                    Thread.detachNewThread {
                        usleep(UInt32(milliseconds) * 1000)
                        kill(getpid(), SIGKILL)
                    }
                    _ = try await teacher.ask(EndpointKillTests.inputs) { _ in }
                    // Done before it was killed: wait for the end.
                    try await Task.sleep(for: .seconds(60))
                }
                cutOff = try Workspace(folder: folder.url, access: .reading).callTotals().open
            }
            let (teacher, workspace) = try Self.teacher(folder.url.path, url.absoluteString, budget: "{usd: 10}")
            let outcome = try await teacher.ask(Self.inputs) { _ in }
            await teacher.shutDown()
            #expect(outcome.answered == Self.inputs.count && outcome.refused == 0)
            let totals = try workspace.callTotals()
            let statistics = simulator.statistics
            // Each row once in the store, and nothing answered twice but what a kill or the time limit cut off in flight.
            #expect(totals.answered == Self.inputs.count)
            #expect(try workspace.answerTotals().count == Self.inputs.count)
            #expect(statistics.answeredAgain <= cutOff + totals.lost && totals.open == cutOff)
            // At most what may be in flight, a kill.
            #expect(cutOff <= 5 * 16)
            #expect(try teacher.stored(Self.inputs).allSatisfy { ["a", "b", "c"].contains($0?.reading?.output) })
            // The account has at least what the provider would bill.
            let billed = Double(statistics.promptTokens) + 2 * Double(statistics.completionTokens)
            #expect(totals.usd >= billed / 1e6 * 0.999)
        }
    }

    @Test func theBudgetIsKept() async throws {
        let folder = try TemporaryFolder()
        try await withSimulator(faults) { simulator, url in
            let (teacher, workspace) = try Self.teacher(
                folder.url.path, url.absoluteString, budget: "{requests: 100, usd: 10}")
            let outcome = try await teacher.ask(Self.inputs) { _ in }
            await teacher.shutDown()
            #expect(outcome.spent == "100 requests" && outcome.answered < 101 && outcome.answered > 60)
            let totals = try workspace.callTotals()
            #expect(totals.answered + totals.lost <= 100 && simulator.statistics.answered <= 100)
        }
        let poor = try TemporaryFolder()
        try await withSimulator(faults) { simulator, url in
            let (teacher, workspace) = try Self.teacher(poor.url.path, url.absoluteString, budget: "{usd: 0.01}")
            let outcome = try await teacher.ask(Self.inputs) { _ in }
            await teacher.shutDown()
            #expect(outcome.spent == "$0.01" && outcome.answered > 10)
            // A sum of many small numbers is not exact.
            let spent = try workspace.callTotals().usd
            #expect(spent <= 0.01 * (1 + 1e-9), "\(spent)")
            let statistics = simulator.statistics
            #expect((Double(statistics.promptTokens) + 2 * Double(statistics.completionTokens)) / 1e6 <= 0.01)
        }
    }
}
