internal import Foundation
package import OpenAI
internal import Synchronization

/// A teacher behind OpenAI's API. Every answer is on the disk before it is used, and is asked for once; what a call can
/// cost is on the disk before the call is made, so that the budget holds across kills.
///
/// ``shutDown()`` must be called before it goes away.
package final class EndpointTeacher: Teacher, Sendable {
    /// What asking came to.
    package struct Outcome: Sendable, Hashable {
        /// Inputs that have an answer now.
        package var answered = 0
        /// Of these, those that were asked for just now.
        package var asked = 0
        /// Inputs the endpoint gives no answer to, and what it said to the first of them.
        package var refused = 0
        package var refusal: String?
        /// What of the budget ran out, when it did.
        package var spent: String?
    }

    /// What asking would come to, about.
    package struct Estimate: Sendable, Hashable {
        package var known = 0
        package var missing = 0
        package var inputTokens = 0
        package var outputTokens = 0
        package var usd = 0.0
    }

    let endpoint: TaskDefinition.Endpoint
    let client: EndpointClient
    let prompt: EndpointPrompt
    private let reader: EndpointAnswerReader
    /// Half the list's where inputs are asked for in batches.
    let prices: TokenPrices
    private let listPrices: TokenPrices
    let workspace: Workspace
    let account: TeacherAccount
    private let capabilities = Mutex<EndpointCapabilities?>(nil)

    /// - Parameter account: shared by all teachers of a workspace; nil: it is the only one.
    /// - Throws: ``TaskError`` where the key is missing, ``WorkspaceError``.
    package init(
        _ task: TaskDefinition, endpoint: TaskDefinition.Endpoint, labels: [String], examples: [Example],
        prices: TokenPrices, workspace: Workspace, account: TeacherAccount? = nil
    ) throws {
        self.endpoint = endpoint
        listPrices = prices
        self.prices = endpoint.batches == true ? prices.halved : prices
        self.workspace = workspace
        prompt = EndpointPrompt(task, endpoint: endpoint, labels: labels, examples: examples)
        reader = EndpointAnswerReader(kind: task.kind, labels: labels, schema: task.schema)
        self.account = try account ?? TeacherAccount(task.budget, workspace: workspace)
        do {
            guard let url = URL(string: endpoint.url) else { throw EndpointError(.address, "no address") }
            var configuration = EndpointClient.Configuration(url: url, model: endpoint.model)
            configuration.key = try endpoint.key?.read(in: task.folder)
            configuration.secondsPerCall = endpoint.seconds
            configuration.maximumConcurrency = endpoint.concurrency
            client = try EndpointClient(configuration)
        } catch let error as EndpointError {
            throw TaskError("the teacher cannot be asked: \(error.message)")
        }
    }

    var name: String { "\(endpoint.model) as it came" }

    package func shutDown() async { await client.shutDown() }

    /// Finds out what the endpoint can do, once for each workspace; whether it takes the task's schema, once for each.
    ///
    /// - Throws: ``TaskError``, ``WorkspaceError``.
    package func probe() async throws -> EndpointCapabilities {
        if let known = capabilities.withLock({ $0 }) { return known }
        let client = client
        var found = try await probed("probe", input: 700, output: 112) { try await client.probe() }
        if let schema = prompt.schema {
            let known = found
            let size = schema.rawValue.utf8.count + 50
            found = try await probed("probe schema", input: size, output: 16, schema: schema) {
                try await client.probe(schema.value, known)
            }
        }
        capabilities.withLock { $0 = found }
        return found
    }

    /// The same, and what labelling does not need: tools, probabilities of prompts, batches.
    ///
    /// - Throws: ``TaskError``, ``WorkspaceError``.
    package func probeFurther() async throws -> EndpointCapabilities {
        let known = try await probe()
        let client = client
        return try await probed("probe further", input: 400, output: 100) { try await client.probeFurther(known) }
    }

    /// - Parameters:
    ///   - input: tokens at most, all calls together.
    ///   - output: as well.
    private func probed(
        _ stage: String, input: Int, output: Int, schema: AnswerSchema? = nil,
        _ ask: @Sendable () async throws -> EndpointCapabilities
    ) async throws -> EndpointCapabilities {
        let key = ContentKey.of {
            $0.add("url", endpoint.url)
            $0.add("model", endpoint.model)
            if let schema { $0.add("schema", schema.rawValue) }
        }
        return try await workspace.stage(stage, key: key) {
            let most = BudgetAccount.Amount(
                usd: listPrices.usd(input: input, output: output), tokens: input + output, requests: 1)
            try reserveNow(most)
            func open(_ input: Int, _ output: Int) async throws -> Int64 {
                let call = TeacherCall(
                    id: account.newCall(), request: key, inputTokens: input, outputTokens: output,
                    usd: listPrices.usd(input: input, output: output), teacher: endpoint.identity)
                try await account.writer.write(.open(call))
                return call.id
            }
            let id = try await open(input, output)
            do {
                let found = try await ask()
                // What it really cost stands in its place.
                try await account.writer.write(.lost(id: try await open(found.promptTokens, found.completionTokens)))
                try await account.writer.write(.free(id: id))
                let usd = listPrices.usd(input: found.promptTokens, output: found.completionTokens)
                account.settle(
                    most, actual: .init(usd: usd, tokens: found.promptTokens + found.completionTokens, requests: 1))
                return found
            } catch let error as EndpointError {
                try await account.writer.write(.free(id: id))
                account.settle(most, actual: .init())
                throw TaskError("the teacher cannot be asked: \(error.message)")
            }
        }
    }

    /// What asking these calls would come to. Asks nothing.
    ///
    /// - Parameter tokens: of a call and of its usual answer, about.
    /// - Throws: ``WorkspaceError``.
    package func estimate(
        count: Int, call: (Int) -> ChatCall, tokens: (ChatCall) -> (input: Int, output: Int)
    ) throws -> Estimate {
        var estimate = Estimate()
        for start in stride(from: 0, to: count, by: 512) {
            let calls = (start..<min(start + 512, count)).map(call)
            let keys = calls.map { prompt.key(of: $0) }
            let known = try workspace.answered(keys)
            for (call, key) in zip(calls, keys) where !known.contains(key) {
                let tokens = tokens(call)
                estimate.missing += 1
                estimate.inputTokens += tokens.input
                estimate.outputTokens += tokens.output
            }
        }
        estimate.known = count - estimate.missing
        estimate.usd = prices.usd(input: estimate.inputTokens, output: estimate.outputTokens)
        return estimate
    }

    /// What asking these inputs would come to. Asks nothing.
    ///
    /// - Throws: ``WorkspaceError``.
    package func estimate(_ inputs: [String]) throws -> Estimate {
        try estimate(count: inputs.count, call: { prompt.call(inputs[$0]) }, tokens: prompt.expectedTokens)
    }

    // MARK: Asking

    private enum Ended: Sendable {
        case answered
        case refused(String)
        case spent(String)
    }

    /// How many inputs may be on their way for each call that may be in flight: some of them wait to be asked again.
    private static let windowFactor = 4

    /// Asks for the answers that are missing, and stores each before the next step knows of it. What it holds in memory
    /// does not grow with the number of inputs.
    ///
    /// - Parameter progress: called with the number of inputs that are done.
    /// - Throws: ``TaskError`` when the endpoint does not let us in or gives up; ``WorkspaceError``; `CancellationError`.
    package func ask(_ inputs: [String], progress: (Int) throws -> Void) async throws -> Outcome {
        try await ask(count: inputs.count, call: { prompt.call(inputs[$0]) }, progress: progress)
    }

    /// The same for calls that are no inputs of the task, such as those that make inputs up.
    ///
    /// - Throws: the same.
    package func ask(_ calls: [ChatCall], progress: (Int) throws -> Void) async throws -> Outcome {
        try await ask(count: calls.count, call: { calls[$0] }, progress: progress)
    }

    /// The same for as many calls, which are made as they are needed.
    ///
    /// - Throws: the same.
    package func ask(count: Int, call: (Int) -> ChatCall, progress: (Int) throws -> Void) async throws -> Outcome {
        var outcome = Outcome()
        guard count > 0 else { return outcome }
        if endpoint.batches == true { return try await askInBatches(count: count, call: call, progress: progress) }
        let window = min(1024, endpoint.concurrency * Self.windowFactor)
        var isProbed = false
        try await withThrowingTaskGroup(of: (ContentKey, Ended).self) { group in
            var running: Set<ContentKey> = []
            // Those that were answered since the workspace was last looked at.
            var recent: Set<ContentKey> = []
            /// Takes in what one of the running calls came to.
            func next() async throws {
                guard let (key, ended) = try await group.next() else { return }
                running.remove(key)
                recent.insert(key)
                switch ended {
                case .answered:
                    outcome.answered += 1
                    outcome.asked += 1
                case .refused(let reason):
                    outcome.refused += 1
                    outcome.refusal = outcome.refusal ?? reason
                    // An endpoint that refuses a few answers has its reasons; one that refuses most is not usable.
                    guard outcome.refused < 20 || outcome.refused * 5 < outcome.asked else {
                        throw TaskError("\(reason); \(outcome.refused) inputs in all have no answer")
                    }
                case .spent(let what): outcome.spent = what
                }
                try progress(outcome.answered + outcome.refused)
            }
            asking: for start in stride(from: 0, to: count, by: 512) {
                let part = (start..<min(start + 512, count)).map(call)
                let keys = part.map { prompt.key(of: $0) }
                recent = []
                let known = try workspace.answered(keys)
                for (call, key) in zip(part, keys) {
                    if known.contains(key) || running.contains(key) || recent.contains(key) {
                        outcome.answered += 1
                        continue
                    }
                    if !isProbed {
                        _ = try await probe()
                        isProbed = true
                    }
                    while running.count >= window { try await next() }
                    let most = mostCost(call)
                    reserving: while true {
                        switch account.reserve(most) {
                        case .granted: break reserving
                        case .spent(let what): outcome.spent = what
                        case .wait where running.isEmpty: outcome.spent = "the budget"
                        case .wait: try await next()
                        }
                        if outcome.spent != nil { break asking }
                    }
                    if outcome.spent != nil { break asking }
                    running.insert(key)
                    group.addTask { (key, try await self.ask(call, key: key, most: most)) }
                }
                try progress(outcome.answered + outcome.refused)
            }
            while !running.isEmpty { try await next() }
        }
        return outcome
    }

    func mostCost(_ call: ChatCall) -> BudgetAccount.Amount {
        let most = EndpointPrompt.mostTokens(call)
        return .init(
            usd: prices.usd(input: most.input, output: most.output), tokens: most.input + most.output, requests: 1)
    }

    private func reserveNow(_ amount: BudgetAccount.Amount) throws {
        if case .granted = account.reserve(amount) { return }
        throw TaskError("the teacher's budget is too small to ask anything")
    }

    private struct BudgetSpent: Error { var what: String }

    /// One call until it has an answer, on the disk.
    private func ask(_ call: ChatCall, key: ContentKey, most: BudgetAccount.Amount) async throws -> Ended {
        let tokens = EndpointPrompt.mostTokens(call)
        let adapted = adapted(call)
        // The attempt in flight, as the account knows it.
        var flying: Int64?
        func end(_ change: (Int64) -> CallChange) async throws {
            guard let id = flying else { return }
            flying = nil
            try await account.writer.write(change(id))
        }
        do {
            let (answer, seconds) = try await client.answer(adapted) {
                let own = TeacherCall(
                    id: account.newCall(), request: key, inputTokens: tokens.input, outputTokens: tokens.output,
                    usd: most.usd, teacher: endpoint.identity)
                flying = own.id
                try await account.writer.write(.open(own))
            } failed: { failure in
                guard failure.mayBeBilled else { return try await end { .free(id: $0) } }
                // It may have cost the most it can; the next attempt costs something of its own.
                try await end { .lost(id: $0) }
                account.settle(most, actual: most)
                while true {
                    switch account.reserve(most) {
                    case .granted: return
                    // Whatever is reserved is in flight and ends.
                    case .wait: try await Task.sleep(for: .milliseconds(50))
                    case .spent(let what): throw BudgetSpent(what: what)
                    }
                }
            }
            let stored = try stored(answer, key: key, mostInput: tokens.input, seconds: seconds)
            try await end { .answered(id: $0, stored) }
            account.settle(
                most,
                actual: .init(usd: stored.usd, tokens: stored.inputTokens + stored.outputTokens, requests: 1))
            return .answered
        } catch let spent as BudgetSpent {
            return .spent(spent.what)
        } catch let error as EndpointError {
            // What the last attempt may have cost is booked; what is reserved for another one is not needed.
            account.settle(most, actual: .init())
            guard error.code == .refused || error.code == .noAnswer else {
                throw TaskError("the teacher cannot be asked: \(error.message)")
            }
            return .refused(error.message)
        }
    }

    /// A call as this endpoint takes it.
    func adapted(_ call: ChatCall) -> ChatCall { capabilities.withLock { $0 }?.adapting(call) ?? call }

    /// An answer with what it cost. Where the endpoint does not say what it counted, it is guessed upwards.
    func stored(_ answer: ChatAnswer, key: ContentKey, mostInput: Int, seconds: Double) throws -> StoredAnswer {
        let input = answer.promptTokens > 0 ? answer.promptTokens : mostInput
        let output = answer.completionTokens > 0 ? answer.completionTokens : (answer.text.utf8.count + 1) / 2 + 1
        return StoredAnswer(
            request: key, body: try StableJSON.encode(answer), inputTokens: input, outputTokens: output,
            usd: prices.usd(input: input, output: output), seconds: seconds)
    }

    // MARK: Answers

    /// What the workspace has for an input; nil for none.
    package struct Answered: Sendable {
        package var reading: EndpointAnswerReader.Reading?
        package var stored: StoredAnswer
    }

    /// - Throws: ``WorkspaceError``.
    package func stored(_ inputs: [String]) throws -> [Answered?] {
        try Self.stored(inputs, prompt: prompt, reader: reader, workspace: workspace)
    }

    /// - Throws: ``WorkspaceError``.
    package static func stored(
        _ inputs: [String], prompt: EndpointPrompt, reader: EndpointAnswerReader, workspace: Workspace
    ) throws -> [Answered?] {
        var result: [Answered?] = []
        for start in stride(from: 0, to: inputs.count, by: 512) {
            let keys = inputs[start..<min(start + 512, inputs.count)].map { prompt.key($0) }
            let known = try workspace.answers(to: keys)
            result += try keys.map { key in
                guard let stored = known[key] else { return nil }
                guard let answer = try? StableJSON.decode(ChatAnswer.self, from: stored.body) else {
                    throw WorkspaceError(.damaged, "an answer of the teacher in the workspace cannot be read")
                }
                return Answered(reading: reader.read(answer), stored: stored)
            }
        }
        return result
    }

    /// What the workspace has for calls that are no inputs of the task; nil for none.
    ///
    /// - Throws: ``WorkspaceError``.
    package func stored(_ calls: [ChatCall]) throws -> [ChatAnswer?] {
        var result: [ChatAnswer?] = []
        for start in stride(from: 0, to: calls.count, by: 512) {
            let keys = calls[start..<min(start + 512, calls.count)].map { prompt.key(of: $0) }
            let known = try workspace.answers(to: keys)
            result += try keys.map { key in
                guard let stored = known[key] else { return nil }
                guard let answer = try? StableJSON.decode(ChatAnswer.self, from: stored.body) else {
                    throw WorkspaceError(.damaged, "an answer of the teacher in the workspace cannot be read")
                }
                return answer
            }
        }
        return result
    }

    func answers(to inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?] {
        _ = try await ask(inputs, progress: progress)
        return try stored(inputs).map { $0.flatMap { Self.taskAnswer($0) } }
    }

    static func taskAnswer(_ answered: Answered) -> TaskAnswer? {
        answered.reading.map {
            TaskAnswer(
                output: $0.output, confidence: $0.confidence, inputTokens: answered.stored.inputTokens,
                outputTokens: answered.stored.outputTokens, tokens: [], alternatives: [])
        }
    }

    /// Answers the test set; times are those of the calls, one after another. Nothing is asked twice for them.
    func measured(on inputs: [String], progress: (Double) throws -> Void) async throws -> SystemRun {
        let outcome = try await ask(inputs) { try progress(Double($0) / Double(max(1, inputs.count))) }
        if let spent = outcome.spent {
            throw TaskError(
                "the teacher's budget (\(spent)) does not suffice for the \(inputs.count) inputs of the test set; \(outcome.answered) have an answer"
            )
        }
        let all = try stored(inputs)
        return SystemRun(
            name: name, answers: all.map { $0?.reading?.output ?? "" },
            confidences: all.map { $0?.reading?.confidence ?? 0 },
            latencies: all.compactMap { $0.map { $0.stored.seconds * 1000 } },
            seconds: all.reduce(0) { $0 + ($1?.stored.seconds ?? 0) },
            inputTokens: all.reduce(0) { $0 + ($1?.stored.inputTokens ?? 0) },
            outputTokens: all.reduce(0) { $0 + ($1?.stored.outputTokens ?? 0) }, parameters: 0, activeParameters: 0,
            bytes: 0)
    }
}
