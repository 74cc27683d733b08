internal import Foundation
internal import Inference
internal import LanguageModels
internal import OpenAI
internal import Tensors
internal import Tokenizers

/// Whoever makes inputs up and then answers them. What it says is stored before it is returned.
package protocol SynthesisTeacher: AnyObject {
    var name: String { get }

    /// What it writes to each request; nil where it wrote nothing, as when the budget is spent.
    ///
    /// - Parameter progress: called with the number of requests that are done.
    func write(_ requests: [SynthesisRequest], progress: (Int) throws -> Void) async throws -> [String?]

    /// Its answers to inputs, as it answers any input of the task; nil where it gives none.
    func answers(to inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?]

    /// What of the budget has run out; nil while nothing has.
    var spent: String? { get }
}

/// A teacher behind an endpoint, within its budget.
final class EndpointSynthesisTeacher: SynthesisTeacher {
    private let teacher: EndpointTeacher
    private let task: TaskDefinition
    private(set) var spent: String?

    init(_ teacher: EndpointTeacher, task: TaskDefinition) {
        self.teacher = teacher
        self.task = task
    }

    var name: String { task.endpoint?.model ?? teacher.name }

    func write(_ requests: [SynthesisRequest], progress: (Int) throws -> Void) async throws -> [String?] {
        let calls = requests.map(call)
        let outcome = try await teacher.ask(calls, progress: progress)
        spent = spent ?? outcome.spent
        return try teacher.stored(calls).map { $0?.text }
    }

    /// What writing to these requests, and answering what was written, would come to. Asks nothing.
    ///
    /// - Parameter gold: rows like those that will be written.
    /// - Throws: ``WorkspaceError``.
    func estimate(_ requests: [SynthesisRequest], gold: [Example]) throws -> EndpointTeacher.Estimate {
        let calls = requests.map(call)
        let rows = gold.prefix(200)
        func mean(_ bytes: (Example) -> Int) -> Int {
            rows.reduce(0) { $0 + bytes($1) } / max(1, rows.count * 4) + 1
        }
        let input = mean { $0.input.utf8.count }
        let output = mean { $0.output.utf8.count }
        let count = requests.reduce(0) { $0 + $1.count } / max(1, requests.count)
        var estimate = try teacher.estimate(count: calls.count, call: { calls[$0] }) { call in
            (EndpointPrompt.promptTokens(call), count * (input + output + 12) + 8)
        }
        let written = estimate.missing * count
        guard estimate.missing > 0, let sample = rows.first else { return estimate }
        // Every row that is written is answered once more.
        let each = teacher.prompt.expectedTokens(sample.input)
        estimate.missing += written
        estimate.inputTokens += written * each.input
        estimate.outputTokens += written * each.output
        estimate.usd = teacher.prices.usd(input: estimate.inputTokens, output: estimate.outputTokens)
        return estimate
    }

    private func call(_ request: SynthesisRequest) -> ChatCall {
        let temperature = task.synthesis?.temperature ?? TaskDefinition.Synthesis().temperature
        var call = ChatCall(
            messages: [
                ChatMessage(role: "system", content: request.system), ChatMessage(role: "user", content: request.user),
            ], maximumTokens: Self.maximumTokens(request), temperature: temperature)
        call.seed = request.seed
        call.format = .jsonObject
        call.streams = task.endpoint?.streams ?? false
        return call
    }

    func answers(to inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?] {
        let outcome = try await teacher.ask(inputs, progress: progress)
        spent = spent ?? outcome.spent
        return try teacher.stored(inputs).map { $0.flatMap { EndpointTeacher.taskAnswer($0) } }
    }

    /// Room for rows twice as long as those shown.
    static func maximumTokens(_ request: SynthesisRequest) -> Int {
        let longest = request.parents.map { $0.utf8.count }.max() ?? 200
        let answer = request.expected == nil ? 120 : 0
        return min(4096, max(256, request.count * (longest * 2 / 3 + answer + 24)))
    }
}

/// A model on this machine.
final class LocalSynthesisTeacher: SynthesisTeacher {
    private let teacher: PromptedTeacher
    private let engine: BatchEngine
    private let task: TaskDefinition
    private let labels: [String]
    /// Gold inputs by label.
    private let lists: [String: [String]]
    private let judge: LocalJudge?
    /// What JSON answers are; nil: any.
    private let answers: JSONValue?
    private let workspace: Workspace
    /// The model and how it answers.
    private let key: ContentKey
    let name: String
    let spent: String? = nil
    /// Who answers what was written, in a sentence; nil until that was decided.
    private(set) var note: String?

    /// Lines of a list before the one that is written.
    private static let shown = 6
    /// The sampling of list lines is part of what is stored.
    private static let listVersion = "list 1"

    init(
        _ teacher: PromptedTeacher, name: String, key: ContentKey, task: TaskDefinition, data: Dataset,
        workspace: Workspace, pool: WorkerPool
    ) {
        self.teacher = teacher
        self.name = name
        self.key = key
        self.task = task
        labels = data.labels
        lists =
            task.kind == .label
            ? Dictionary(grouping: data.train.filter { !$0.input.contains("\n") }, by: \.output)
                .mapValues { $0.map(\.input) } : [:]
        answers = (task.schema ?? data.inferredSchema(task))?.value.movingReferences(
            from: "#", to: "#/properties/rows/items/properties/output")
        judge = task.kind == .label ? LocalJudge(data, seed: UInt64(task.training.seed)) : nil
        self.workspace = workspace
        engine = BatchEngine(
            model: teacher.model, configuration: .init(maximumSequences: 16, maximumBatchTokens: 512), pool: pool)
    }

    func write(_ requests: [SynthesisRequest], progress: (Int) throws -> Void) async throws -> [String?] {
        let temperature = task.synthesis?.temperature ?? TaskDefinition.Synthesis().temperature
        let keys = requests.map { request in
            ContentKey.of {
                $0.add("teacher", key)
                if list(for: request) != nil { $0.add("form", Self.listVersion) }
                $0.add("messages", [request.system, request.user])
                $0.add("count", request.count)
                $0.add("seed", request.seed)
                $0.add("temperature", temperature)
            }
        }
        return try await stored(keys, batch: 8, progress: progress) { indices in
            // A list's lines are written one by one, all at a time.
            let asked = try indices.map { index in
                if let list = list(for: requests[index]) {
                    return lines(requests[index], list: list, temperature: temperature)
                }
                return [try generation(requests[index], temperature: temperature)]
            }
            var answers = try engine.answer(asked.flatMap { $0 })[...]
            return asked.map { own in
                let results = answers.prefix(own.count)
                answers = answers.dropFirst(own.count)
                guard own[0].stopStrings.isEmpty else {
                    let texts = results.filter { $0.finish == .stop }.map { "- " + $0.text.trimmed }
                    return (Data(texts.joined(separator: "\n").utf8), results.first)
                }
                let tokens = results.first?.tokens ?? []
                return (Data(teacher.model.tokenizer.decode(tokens, skippingSpecials: true).utf8), results.first)
            }
        }.map { $0.map { String(decoding: $0, as: UTF8.self) } }
    }

    /// The gold inputs that a model goes on with, where it is asked for inputs to one label: small models write little
    /// when they are told to, and well when they continue what is there.
    private func list(for request: SynthesisRequest) -> [String]? {
        guard request.method == .backward, task.kind == .label, let label = request.expected else { return nil }
        return lists[label].flatMap { $0.count < 2 ? nil : $0 }
    }

    private func lines(_ request: SynthesisRequest, list: [String], temperature: Double) -> [GenerationRequest] {
        var random = RandomNumbers(seed: UInt64(request.seed))
        let heading = InputWriter.heading(request.expected ?? "")
        let longest = list.map { $0.utf8.count }.max() ?? 100
        return (0..<request.count).map { number in
            InputWriter.request(
                heading, list.shuffled(using: &random).prefix(Self.shown), maximumTokens: min(256, longest / 2 + 16),
                temperature: Float(temperature), seed: UInt64(request.seed) &+ UInt64(number),
                model: teacher.model)
        }
    }

    private func generation(_ request: SynthesisRequest, temperature: Double) throws -> GenerationRequest {
        let model = teacher.model
        let prompt = try model.tokens(of: [
            ChatMessage(role: "system", content: request.system), ChatMessage(role: "user", content: request.user),
        ])
        let room = model.configuration.contextLength - prompt.count
        guard room >= 64 else {
            throw TaskError(
                "an example of the task is too long for \(name): \(prompt.count) tokens, its context is \(model.configuration.contextLength)"
            )
        }
        return GenerationRequest(
            prompt: prompt, maximumTokens: min(room, EndpointSynthesisTeacher.maximumTokens(request)),
            stopTokens: model.stopTokens,
            sampling: SamplingOptions(temperature: Float(temperature), topP: 0.95, seed: UInt64(request.seed)),
            constraint: try Constraint(jsonSchema: schema(request)))
    }

    /// So many rows with an input each, and an answer that the task allows.
    private func schema(_ request: SynthesisRequest) -> JSONValue {
        func object(_ members: [(key: String, value: JSONValue)]) -> JSONValue {
            .object([
                ("type", .string("object")), ("properties", .object(members)),
                ("required", .array(members.map { .string($0.key) })), ("additionalProperties", .bool(false)),
            ])
        }
        let text = JSONValue.object([("type", .string("string")), ("maxLength", .number("400"))])
        var members: [(key: String, value: JSONValue)] = [("input", text)]
        if request.expected == nil {
            switch task.kind {
            case .label: members.append(("output", .object([("enum", .array(labels.map { .string($0) }))])))
            case .labels: members.append(("output", LabelSet.schema(labels)))
            case .text: members.append(("output", text))
            case .json: members.append(("output", answers ?? .object([("type", .string("object"))])))
            case .tool: members.append(("output", answers ?? ToolCall.schema))
            }
        }
        let count = JSONValue.number(String(request.count))
        let rows = JSONValue.object([
            ("type", .string("array")), ("items", object(members)), ("minItems", count), ("maxItems", count),
        ])
        return object([("rows", rows)])
    }

    func answers(to inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?] {
        guard let judge else { return try await prompted(inputs, progress: progress) }
        // Whoever knows the gold better decides.
        let own = try await prompted(judge.rows.map(\.input)) { _ in }
        let right = zip(judge.rows, own).count { $1?.output == $0.output }
        guard right <= judge.right else {
            note =
                "\(name) answers what it wrote: \(right) of \(judge.rows.count) gold rows right, a linear model of the others \(judge.right)"
            return try await prompted(inputs, progress: progress)
        }
        note =
            "a linear model of the gold answers what \(name) wrote: \(judge.right) of \(judge.rows.count) gold rows right that it had not seen, \(name) \(right)"
        return inputs.map { judge.answer($0) }
    }

    private func prompted(_ inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?] {
        let keys = inputs.map { input in
            ContentKey.of {
                $0.add("teacher", key)
                $0.add("input", input)
            }
        }
        return try await stored(keys, batch: 64, progress: progress) { indices in
            let answers = try teacher.answer(indices.map { inputs[$0] })
            return try answers.map { (try JSONEncoder().encode($0), nil) }
        }.map { try $0.map { try JSONDecoder().decode(TaskAnswer.self, from: $0) } }
    }

    private func stored(
        _ keys: [ContentKey], batch: Int, progress: (Int) throws -> Void,
        ask: ([Int]) throws -> [(body: Data, result: GenerationResult?)]
    ) async throws -> [Data?] {
        try await withoutActuallyEscaping(progress) { progress in
            var failure: (any Error)?
            let answers = try await workspace.answers(
                to: keys, batch: batch,
                progress: { do { try progress($0) } catch { failure = failure ?? error } }
            ) { indices in
                if let failure { throw failure }
                let clock = ContinuousClock()
                var given: [(body: Data, result: GenerationResult?)] = []
                let time = try clock.measure { given = try ask(indices) }
                return zip(indices, given).map { index, own in
                    StoredAnswer(
                        request: keys[index], body: own.body, inputTokens: own.result?.promptTokens ?? 0,
                        outputTokens: own.result?.tokens.count ?? 0, seconds: time.seconds / Double(indices.count))
                }
            }
            return answers.map { $0?.body }
        }
    }
}

/// A linear model of the gold that answers for a small teacher.
private struct LocalJudge {
    /// Rows that both it and the teacher are tried on.
    let rows: [Example]
    /// How many of these it has right when it has not seen them.
    let right: Int
    private let model: LinearClassifier
    private let labels: [String]

    private static let mostRows = 40
    private static let sharpness: Float = 4

    init(_ data: Dataset, seed: UInt64) {
        let sorted = data.train.sorted { ContentKey(of: $0.input).hexadecimal < ContentKey(of: $1.input).hexadecimal }
        rows = Array(sorted.prefix(min(Self.mostRows, sorted.count / 4)))
        let tried = LinearClassifier(Array(sorted.dropFirst(rows.count)), seed: seed)
        right = rows.count { tried.answer($0.input) == $0.output }
        model = LinearClassifier(data.train, seed: seed)
        labels = data.labels
    }

    func answer(_ input: String) -> TaskAnswer {
        let margins = model.margins(input, labels: labels)
        let top = margins.max() ?? 0
        let sum = margins.reduce(0) { $0 + exp(($1 - top) * Self.sharpness) }
        return TaskAnswer(
            output: model.answer(input), confidence: Double(1 / sum), inputTokens: 0, outputTokens: 0, tokens: [],
            alternatives: [])
    }
}
