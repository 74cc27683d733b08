public import Tokenizers

/// What an endpoint can do, as far as asking it tells.
public struct EndpointCapabilities: Sendable, Hashable, Codable {
    /// Alternatives for every token of the answer; nil: no log-probabilities.
    public var topLogProbabilities: Int?
    /// `response_format` of type `json_object`.
    public var jsonObject = false
    /// `response_format` of type `json_schema` with the task's schema; nil: not asked.
    public var jsonSchema: Bool?
    /// `seed` is accepted; that it is heeded cannot be told from outside.
    public var seed = false
    /// `temperature` 0 is accepted.
    public var temperature = true
    /// The limit is called `max_completion_tokens`.
    public var limitsCompletion = false
    /// Tools are called; nil: not asked.
    public var tools: Bool?
    /// `/completions` tells how probable a prompt's tokens are (`echo` with `logprobs`); nil: not asked.
    public var promptLogProbabilities: Bool?
    /// There are `/batches`; nil: not asked.
    public var batches: Bool?
    /// Tokens the probe took, for the account.
    public var promptTokens = 0
    public var completionTokens = 0
    public var calls = 0

    public init() {}

    /// The call with what the endpoint can do.
    public func adapting(_ call: ChatCall) -> ChatCall {
        var call = call
        if let most = topLogProbabilities, let wanted = call.topLogProbabilities {
            call.topLogProbabilities = min(most, wanted)
        } else {
            call.topLogProbabilities = nil
        }
        if case .jsonSchema = call.format, jsonSchema == false { call.format = .jsonObject }
        if case .jsonObject = call.format, !jsonObject { call.format = .text }
        if !seed { call.seed = nil }
        if !temperature { call.temperature = nil }
        call.limitsCompletion = limitsCompletion
        return call
    }
}

extension EndpointClient {
    /// Finds out what the endpoint can do, with short calls: one where it can do everything, a few more where not.
    ///
    /// - Throws: ``EndpointError``: also when the plainest call is refused.
    public func probe() async throws -> EndpointCapabilities {
        var found = EndpointCapabilities()
        found.seed = true
        found.jsonObject = true
        found.topLogProbabilities = 20
        // What may be left out, in the order in which it is, where the endpoint does not say what it minds.
        let removals: [(words: [String], remove: (inout EndpointCapabilities) -> Void)] = [
            (["max_tokens", "max_completion_tokens"], { $0.limitsCompletion = true }),
            (["temperature"], { $0.temperature = false }),
            (["top_logprobs", "less than or equal", "at most"], { $0.topLogProbabilities = 5 }),
            (["logprob"], { $0.topLogProbabilities = nil }),
            (["response_format", "json"], { $0.jsonObject = false }),
            (["seed"], { $0.seed = false }),
        ]
        // Nobody who says only "400" minds the limit's name.
        let unnamed = [3, 4, 5, 1, 0]
        var gone: Set<Int> = []
        while true {
            var call = ChatCall(
                messages: [
                    .init(role: "user", content: "Answer with the JSON object {\"ok\": true} and nothing else.")
                ],
                maximumTokens: 16)
            call.topLogProbabilities = 20
            call.format = .jsonObject
            call.seed = 1
            do {
                found.calls += 1
                let answer = try await self.answer(found.adapting(call)).answer
                found.promptTokens += answer.promptTokens
                found.completionTokens += answer.completionTokens
                if answer.tokens.isEmpty {
                    found.topLogProbabilities = nil
                } else if found.topLogProbabilities != nil, answer.tokens.allSatisfy(\.alternatives.isEmpty) {
                    found.topLogProbabilities = 0
                }
                if found.jsonObject, (try? JSONParser.parse(answer.text.utf8)) == nil { found.jsonObject = false }
                return found
            } catch let error as EndpointError where error.code == .refused {
                let message = error.message.lowercased()
                let named = removals.indices.first { place in
                    !gone.contains(place) && removals[place].words.contains { message.contains($0) }
                }
                guard let place = named ?? unnamed.first(where: { !gone.contains($0) }) else { throw error }
                gone.insert(place)
                removals[place].remove(&found)
            }
        }
    }
}

extension EndpointClient {
    /// Finds out whether the endpoint takes a schema, with one short call.
    ///
    /// - Parameter known: what ``probe()`` found; what this finds is added to it, its calls and tokens are these alone.
    /// - Throws: ``EndpointError`` when the endpoint does not answer.
    public func probe(_ schema: JSONValue, _ known: EndpointCapabilities) async throws -> EndpointCapabilities {
        var found = known
        (found.calls, found.promptTokens, found.completionTokens, found.jsonSchema) = (1, 0, 0, nil)
        var call = ChatCall(messages: [.init(role: "user", content: "Give an example.")], maximumTokens: 16)
        call.format = .jsonSchema(schema)
        do {
            let answer = try await self.answer(found.adapting(call)).answer
            (found.promptTokens, found.completionTokens) = (answer.promptTokens, answer.completionTokens)
            found.jsonSchema = true
        } catch let error as EndpointError where error.code == .refused {
            found.jsonSchema = false
        }
        return found
    }
}

extension EndpointClient {
    /// Finds out what else the endpoint can do, which labelling does not need: tools, probabilities of prompts, batches.
    ///
    /// - Parameter known: what ``probe()`` found; what this finds is added to it, its calls and tokens are these alone.
    /// - Throws: ``EndpointError`` when the endpoint does not answer.
    public func probeFurther(_ known: EndpointCapabilities) async throws -> EndpointCapabilities {
        var found = known
        (found.calls, found.promptTokens, found.completionTokens) = (0, 0, 0)
        func text(_ pairs: [(key: String, value: JSONValue)]) -> JSONValue { .object(pairs) }
        let model = JSONValue.string(configuration.model)
        let parameters = text([
            ("type", .string("object")), ("properties", text([("city", text([("type", .string("string"))]))])),
        ])
        let function = text([
            ("name", .string("weather")), ("description", .string("The weather in a city.")),
            ("parameters", parameters),
        ])
        let message = text([
            ("role", .string("user")), ("content", .string("What is the weather in Oslo? Use the tool.")),
        ])
        let toolCall = text([
            ("model", model), ("messages", .array([message])),
            (known.limitsCompletion ? "max_completion_tokens" : "max_tokens", .number("64")),
            ("tools", .array([text([("type", .string("function")), ("function", function)])])),
        ])
        func count(_ answer: ChatAnswer) {
            found.calls += 1
            found.promptTokens += answer.promptTokens
            found.completionTokens += answer.completionTokens
        }
        found.tools = false
        if let value = try await accepted("/chat/completions", toolCall), let answer = try? ChatAnswer(value) {
            count(answer)
            found.tools = answer.toolCalls.first?.name == "weather"
        }
        found.promptLogProbabilities = false
        let echo = text([
            ("model", model), ("prompt", .string("The capital of France is Paris")), ("max_tokens", .number("1")),
            ("echo", .bool(true)), ("logprobs", .number("1")),
        ])
        if let value = try await accepted("/completions", echo) {
            var usage = ChatAnswer()
            usage.readUsage(value)
            count(usage)
            if case .array(let choices)? = value["choices"],
                case .array(let entries)? = choices.first?["logprobs"]?["token_logprobs"]
            {
                // The prompt's tokens beside the one that was written.
                found.promptLogProbabilities = entries.count > 2
            }
        }
        found.batches = try await accepted("/batches?limit=1", nil).map { $0["data"] != nil } ?? false
        return found
    }
}
