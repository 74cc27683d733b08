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
        let temperature = task.synthesis?.temperature ?? TaskDefinition.Synthesis().temperature
        let calls = requests.map { request in
            var call = ChatCall(
                messages: [
                    ChatMessage(role: "system", content: request.system),
                    ChatMessage(role: "user", content: request.user),
                ], maximumTokens: Self.maximumTokens(request), temperature: temperature)
            call.seed = request.seed
            call.format = .jsonObject
            call.streams = task.endpoint?.streams ?? false
            return call
        }
        let outcome = try await teacher.ask(calls, progress: progress)
        spent = spent ?? outcome.spent
        return try teacher.stored(calls).map { $0?.text }
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
    private let workspace: Workspace
    /// The model and how it answers.
    private let key: ContentKey
    let name: String
    let spent: String? = nil

    init(
        _ teacher: PromptedTeacher, name: String, key: ContentKey, task: TaskDefinition, labels: [String],
        workspace: Workspace, pool: WorkerPool
    ) {
        self.teacher = teacher
        self.name = name
        self.key = key
        self.task = task
        self.labels = labels
        self.workspace = workspace
        engine = BatchEngine(
            model: teacher.model, configuration: .init(maximumSequences: 8, maximumBatchTokens: 512), pool: pool)
    }

    func write(_ requests: [SynthesisRequest], progress: (Int) throws -> Void) async throws -> [String?] {
        let temperature = task.synthesis?.temperature ?? TaskDefinition.Synthesis().temperature
        let keys = requests.map { request in
            ContentKey.of {
                $0.add("teacher", key)
                $0.add("messages", [request.system, request.user])
                $0.add("count", request.count)
                $0.add("seed", request.seed)
                $0.add("temperature", temperature)
            }
        }
        return try await stored(keys, batch: 8, progress: progress) { indices in
            let asked = try indices.map { try generation(requests[$0], temperature: temperature) }
            return try engine.answer(asked).map { result in
                (Data(teacher.model.tokenizer.decode(result.tokens, skippingSpecials: true).utf8), result)
            }
        }.map { $0.map { String(decoding: $0, as: UTF8.self) } }
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
            case .text: members.append(("output", text))
            case .json: members.append(("output", .object([("type", .string("object"))])))
            }
        }
        let count = JSONValue.number(String(request.count))
        let rows = JSONValue.object([
            ("type", .string("array")), ("items", object(members)), ("minItems", count), ("maxItems", count),
        ])
        return object([("rows", rows)])
    }

    func answers(to inputs: [String], progress: (Int) throws -> Void) async throws -> [TaskAnswer?] {
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
