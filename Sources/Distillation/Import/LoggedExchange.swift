internal import Foundation
internal import OpenAI
package import Tokenizers

/// One request to a model and its answer, as a line of a log has them.
package struct LoggedExchange: Sendable {
    package struct Message: Sendable, Hashable {
        package var role: String
        package var content: String
    }

    /// Why a line is no use, in words that group lines.
    package struct Unusable: Error, Sendable, Hashable {
        package var reason: String
    }

    package var system: String?
    package var messages: [Message]
    /// A text, or a JSON value where tools were called or the request asked for JSON.
    package var output: String
    package var isJSON: Bool
    /// Whether the output is one call of a tool, `{"tool": …, "arguments": …}`.
    package var isCall: Bool

    /// Reads a line: `{"request": …, "response": …}` in its variants (the names `input`, `body`, `output`, `completion`,
    /// a `body` within each, both as text), OpenAI's stored completions (`messages` beside `choices`), streamed answers
    /// as lists of chunks or as the stream's text.
    ///
    /// - Throws: ``Unusable``.
    package init(_ line: JSONValue) throws {
        guard case .object = line else { throw Unusable(reason: "the line is no JSON object") }
        let request = Self.part(line, ["request", "request_body", "requestBody", "input"])
        let response = Self.part(line, ["response", "response_body", "responseBody", "output", "completion"])
        guard let asked = request ?? (line["messages"] == nil ? nil : line) else {
            throw Unusable(reason: "there is no request")
        }
        guard let answered = response ?? (line["choices"] == nil && line["chunks"] == nil ? nil : line) else {
            throw Unusable(reason: "there is no response")
        }
        if case .number(let status)? = Self.status(line), let code = Int(status), code != 200 {
            throw Unusable(reason: "the request failed")
        }
        guard case .array(let list)? = Self.messages(asked), !list.isEmpty else {
            throw Unusable(reason: "the request has no messages")
        }
        var systems: [String] = []
        var messages: [Message] = []
        for message in list {
            guard let role = message["role"]?.stringValue else { throw Unusable(reason: "a message has no role") }
            let content = try Self.content(message)
            if role == "system" || role == "developer" {
                systems.append(content)
            } else {
                messages.append(Message(role: role, content: content))
            }
        }
        guard messages.last?.role != "assistant", messages.contains(where: { !$0.content.isEmpty }) else {
            throw Unusable(reason: "the request asks nothing")
        }
        system = systems.isEmpty ? nil : systems.joined(separator: "\n")
        self.messages = messages
        let answer = try Self.answer(answered)
        if answer.refusal != nil { throw Unusable(reason: "the model refused to answer") }
        switch answer.finishReason {
        case "length": throw Unusable(reason: "the answer was cut off at the limit of tokens")
        case "content_filter": throw Unusable(reason: "the answer was filtered")
        default: break
        }
        let type = asked["response_format"]?["type"]?.stringValue
        isCall = answer.toolCalls.count == 1
        if !answer.toolCalls.isEmpty {
            let calls = try answer.toolCalls.map { call -> JSONValue in
                guard let arguments = try? JSONParser.parse((call.arguments.isEmpty ? "{}" : call.arguments).utf8)
                else {
                    throw Unusable(reason: "a tool's arguments are no JSON")
                }
                return .object([("tool", .string(call.name)), ("arguments", arguments)])
            }
            output = calls.count == 1 ? calls[0].text : JSONValue.array(calls).text
            isJSON = true
        } else if type == "json_object" || type == "json_schema" {
            guard let value = try? JSONParser.parse(answer.text.utf8) else {
                throw Unusable(reason: "the answer should be JSON and is not")
            }
            output = value.text
            isJSON = true
        } else {
            output = answer.text.trimmingCharacters(in: .whitespacesAndNewlines)
            isJSON = false
            guard !output.isEmpty else { throw Unusable(reason: "the answer is empty") }
        }
    }

    /// A member by one of these names: an object, a list, or a text with JSON in it; what is in its `body`, if it has one.
    private static func part(_ line: JSONValue, _ names: [String]) -> JSONValue? {
        for name in names {
            guard var value = line[name] else { continue }
            if let body = value["body"] { value = body }
            if case .string(let text) = value {
                if let parsed = try? JSONParser.parse(text.utf8) {
                    value = parsed
                } else if text.contains("data:") {
                    return value
                } else {
                    continue
                }
            }
            switch value {
            case .object, .array: return value
            default: continue
            }
        }
        return nil
    }

    private static func status(_ line: JSONValue) -> JSONValue? {
        line["response"]?["status_code"] ?? line["status_code"] ?? line["response"]?["status"] ?? line["status"]
    }

    private static func messages(_ request: JSONValue) -> JSONValue? {
        if case .array = request { return request }
        return request["messages"]
    }

    private static func content(_ message: JSONValue) throws -> String {
        switch message["content"] {
        case .string(let text)?: return text
        case .array(let parts)?:
            return try parts.map { part in
                guard let text = part["text"]?.stringValue else {
                    throw Unusable(reason: "a message is more than text")
                }
                return text
            }.joined()
        case nil, .null?:
            // What an assistant called before counts as what it said.
            guard case .array(let calls)? = message["tool_calls"] else { return "" }
            return calls.compactMap { call in
                call["function"]?["name"]?.stringValue.map {
                    "\($0)(\(call["function"]?["arguments"]?.stringValue ?? ""))"
                }
            }.joined(separator: "\n")
        default: throw Unusable(reason: "a message has no content")
        }
    }

    private static func answer(_ response: JSONValue) throws -> ChatAnswer {
        do {
            if let error = response["error"], case .object = error { throw Unusable(reason: "the request failed") }
            if case .string(let stream) = response { return try streamed(stream) }
            if case .array(let chunks) = response { return try joined(chunks) }
            if case .array(let chunks)? = response["chunks"] { return try joined(chunks) }
            if case .array(let choices)? = response["choices"], let first = choices.first, first["message"] == nil,
                first["delta"] != nil
            {
                return try joined([response])
            }
            // A message alone.
            if response["choices"] == nil, response["content"] != nil || response["tool_calls"] != nil {
                return try ChatAnswer(.object([("choices", .array([.object([("message", response)])]))]))
            }
            return try ChatAnswer(response)
        } catch is ChatAnswer.Malformed {
            throw Unusable(reason: "the response is no answer to a chat")
        } catch is AttemptFailure {
            throw Unusable(reason: "the streamed answer is not whole")
        }
    }

    private static func joined(_ chunks: [JSONValue]) throws -> ChatAnswer {
        var answer = StreamedAnswer()
        for chunk in chunks {
            // Chunks are kept as objects, or as they came.
            if let text = chunk.stringValue {
                let data = text.hasPrefix("data:") ? text.dropFirst(5).drop { $0 == " " } : text[...]
                let trimmed = data.trimmingCharacters(in: .whitespacesAndNewlines)
                if !trimmed.isEmpty { try answer.add(Array(trimmed.utf8)) }
            } else {
                try answer.add(chunk)
            }
        }
        return try answer.finished()
    }

    private static func streamed(_ text: String) throws -> ChatAnswer {
        var events = ServerSentEvents()
        var answer = StreamedAnswer()
        guard let found = try? events.add(Array((text + "\n\n").utf8)) else {
            throw Unusable(reason: "the streamed answer is not whole")
        }
        for event in found { try answer.add(event) }
        return try answer.finished()
    }
}
