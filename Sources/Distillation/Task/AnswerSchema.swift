package import Foundation
package import Inference
package import Tokenizers

/// The JSON Schema of a task's answers, as compact JSON.
public struct AnswerSchema: RawRepresentable, Sendable, Hashable, Codable {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }

    /// - Throws: `InferenceError` with the place in the schema, where answers cannot be held to it.
    package init(_ value: JSONValue) throws {
        rawValue = value.text
        _ = try Constraint(jsonSchema: value)
    }

    /// Reads a task's file: a JSON Schema; for tools also a list of them.
    ///
    /// - Throws: ``TaskError`` with the file.
    package init(contentsOf url: URL, kind: TaskDefinition.OutputKind) throws {
        func fail(_ message: String) -> TaskError { TaskError(message, file: url.path) }
        guard let data = FileManager.default.contents(atPath: url.path) else { throw fail("cannot be read") }
        guard data.count <= 1 << 20 else { throw fail("larger than 1 MB") }
        let value: JSONValue
        do { value = try JSONParser.parse(data) } catch { throw fail("not JSON: \(error)") }
        let tools = kind == .tool ? ToolCall.schema(tools: value) : nil
        guard tools != nil || Self.isSchema(value) else {
            throw fail(
                kind == .tool
                    ? "expected a JSON Schema of the call, or a list of tools with their names"
                    : "expected a JSON Schema")
        }
        do { self = try AnswerSchema(tools ?? value) } catch let error as InferenceError { throw fail(error.message) }
    }

    private static func isSchema(_ value: JSONValue) -> Bool {
        if case .object = value { return value["tools"] == nil }
        return false
    }

    package var value: JSONValue { (try? JSONParser.parse(rawValue.utf8)) ?? .bool(true) }

    /// What a model may write that writes JSON as any text.
    ///
    /// - Throws: `InferenceError` where it is no schema.
    package func constraint() throws -> Constraint { try Constraint(jsonSchema: value) }
}
