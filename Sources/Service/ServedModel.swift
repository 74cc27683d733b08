internal import Distillation
public import Foundation
public import Inference
public import LanguageModels
internal import OpenAI
public import Tensors
internal import Tokenizers

/// A model or a student behind the API.
public struct ServedModel: Sendable {
    /// What clients call it.
    public let id: String
    public let engine: InferenceEngine
    /// How a student is asked; nil for models that talk freely.
    let dialogue: TaskDialogue?

    /// A model that talks freely.
    ///
    /// - Throws: `ModelError`.
    public init(
        modelAt path: String, id: String? = nil, configuration: BatchEngine.Configuration, contextLength: Int? = nil,
        precision: LanguageModel.Precision = .packed, draft: String? = nil, pool: WorkerPool
    ) throws {
        let model = try LanguageModel(
            contentsOf: path, precision: precision, contextLength: contextLength, pool: pool,
            cache: ModelStore.packedCache)
        self.id = id ?? URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
        let small = try draft.map { try LanguageModel(contentsOf: $0, pool: pool, cache: ModelStore.packedCache) }
        engine = InferenceEngine(model: model, configuration: configuration, pool: pool, draft: small)
        dialogue = nil
    }

    /// A student: it answers its task's questions, and nothing else.
    ///
    /// - Throws: `TaskError` when the folder is no student package; `ModelError`.
    public init(
        studentAt folder: URL, id: String? = nil, configuration: BatchEngine.Configuration, pool: WorkerPool
    ) throws {
        let package = try StudentPackage(folder: folder)
        let model = try package.languageModel(pool: pool)
        self.id = id ?? package.name
        engine = InferenceEngine(model: model, configuration: configuration, pool: pool)
        dialogue = try TaskDialogue(model: model, format: package.format)
    }

    /// The requests of a chat, one for each answer asked for.
    func requests(_ chat: ChatCompletionRequest) throws -> [GenerationRequest] {
        var request: GenerationRequest
        if chat.offersTools, !callsTools {
            throw APIError.invalid("'tools' is not supported: this model calls none.", parameter: "tools")
        }
        if chat.forbidsTools, callsTools {
            throw APIError.invalid(
                "'tool_choice' must not be 'none': this student answers by calling a tool.", parameter: "tool_choice")
        }
        if let dialogue {
            guard let input = chat.messages.last(where: { $0.role == "user" })?.content else {
                throw APIError.invalid("A student needs a message of the role 'user'.", parameter: "messages")
            }
            request = try dialogue.request(input)
            if let most = chat.fields.maximumTokens { request.maximumTokens = min(request.maximumTokens, most) }
        } else {
            request = try self.request(engine.model.tokens(of: chat.messages), chat.fields)
        }
        request.alternatives = chat.topLogProbabilities ?? 0
        return try several(request, chat.fields)
    }

    /// The requests of a completion, for each prompt one for each answer asked for.
    func requests(_ completion: CompletionRequest) throws -> [GenerationRequest] {
        guard dialogue == nil else {
            throw APIError.invalid("A student answers /v1/chat/completions only.")
        }
        return try completion.prompts.flatMap { prompt in
            let tokens: [Int32] =
                switch prompt {
                case .text(let text): engine.model.tokens(ofText: text)
                case .tokens(let tokens): tokens
                }
            var request = try self.request(tokens, completion.fields)
            request.alternatives = completion.logProbabilities ?? 0
            request.scoresPrompt = completion.echoes && completion.logProbabilities != nil
            return try several(request, completion.fields)
        }
    }

    private func request(_ prompt: [Int32], _ fields: GenerationFields) throws -> GenerationRequest {
        let room = max(1, engine.model.configuration.contextLength - prompt.count)
        var request = GenerationRequest(
            prompt: prompt, maximumTokens: min(fields.maximumTokens ?? room, room),
            stopTokens: engine.model.stopTokens, stopStrings: fields.stop)
        switch fields.format {
        case .text: break
        case .jsonObject: request.constraint = .jsonObject
        case .jsonSchema(let schema): request.constraint = try Constraint(jsonSchema: schema)
        case .regularExpression(let source): request.constraint = try Constraint(regularExpression: source)
        }
        return request
    }

    /// The request once for each answer; each with a seed of its own.
    private func several(_ request: GenerationRequest, _ fields: GenerationFields) throws -> [GenerationRequest] {
        let first = fields.seed ?? UInt64.random(in: 0...UInt64.max)
        return (0..<fields.count).map { number in
            var own = request
            own.writesText = true
            own.priority = fields.priority
            own.tenant = fields.user
            if dialogue == nil {
                own.sampling = SamplingOptions(
                    temperature: fields.temperature, topK: fields.topK, topP: fields.topP, minP: fields.minP,
                    typicalP: fields.typicalP, repetitionPenalty: fields.repetitionPenalty,
                    presencePenalty: fields.presencePenalty, frequencyPenalty: fields.frequencyPenalty,
                    logitBias: fields.logitBias, seed: first &+ UInt64(number))
            }
            return own
        }
    }

    /// What a part of an answer shows. A student's label or JSON is shown whole, at the end: what it writes is not yet
    /// what the task asks for.
    func text(_ part: GenerationPart) -> String {
        guard let dialogue else { return part.text }
        return part.result.map { dialogue.read($0).output } ?? ""
    }

    /// Whether answers are calls of tools.
    private var callsTools: Bool { dialogue?.format.kind == .tool }

    /// The tool's call that a text shown is; nil where it is not one, or the model calls none.
    func call(_ text: String) -> ChatAnswer.ToolCall? {
        guard callsTools, let value = try? JSONParser.parse(text.utf8), let call = ToolCall.call(value),
            let name = call["name"]?.stringValue, let arguments = call["arguments"]
        else { return nil }
        return .init(name: name, arguments: arguments.text)
    }

    /// Why an answer ended, as the API reports it.
    func reason(_ result: GenerationResult) -> String {
        guard result.finish == .stop else { return "length" }
        guard callsTools, let dialogue else { return "stop" }
        return call(dialogue.read(result).output) == nil ? "stop" : "tool_calls"
    }

    /// A token as text, with its bytes.
    func describe(_ token: Int32) -> (text: String, bytes: [UInt8]) {
        let bytes = engine.model.tokenizer.bytes(of: token)
        return (String(decoding: bytes, as: UTF8.self), bytes)
    }
}
