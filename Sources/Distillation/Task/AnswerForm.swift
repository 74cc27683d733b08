package import Tokenizers

/// What a task's answers must be, and the form they are kept in.
package struct AnswerForm: Sendable {
    /// Why something is no answer of the task.
    package struct Misfit: Error, Sendable, Hashable {
        /// What was expected, and what was found.
        package var message: String
        /// Whether it is of the right kind, but not as the task's schema says.
        package var isOfSchema = false
    }

    package let kind: TaskDefinition.OutputKind
    /// Allowed labels in their order; empty: all.
    package let labels: [String]
    private let known: Set<String>
    private let check: SchemaCheck?

    package init(kind: TaskDefinition.OutputKind, labels: [String] = [], schema: AnswerSchema? = nil) {
        self.kind = kind
        self.labels = labels
        known = Set(labels)
        check = schema.map { SchemaCheck($0.value) }
    }

    /// The form in which an answer is kept: the label, the text, or compact JSON; JSON has its keys in the order of the
    /// schema.
    package func text(_ output: JSONValue) throws(Misfit) -> String {
        switch kind {
        case .label:
            guard let label = output.stringValue, !label.isEmpty else {
                throw Misfit(message: "'output' must be a label")
            }
            return try allowed(label)
        case .labels:
            guard let labels = LabelSet.labels(output), !labels.contains("") else {
                throw Misfit(message: "'output' must be a list of labels")
            }
            for label in labels { _ = try allowed(label) }
            return LabelSet.text(labels, order: self.labels)
        case .text:
            guard let text = output.stringValue else { throw Misfit(message: "'output' must be text") }
            return text
        case .json: return try fitted(output)
        case .tool:
            guard let call = ToolCall.call(output) else {
                throw Misfit(
                    message:
                        "'output' must be one tool call, {\"name\": …, \"arguments\": {…}}, found \(output.excerpt)")
            }
            return try fitted(call)
        }
    }

    /// The same for an answer that somebody wrote as text: labels and texts as they are, otherwise JSON.
    package func text(written text: String) throws(Misfit) -> String {
        switch kind {
        case .label, .text: return try self.text(.string(text))
        case .labels: return try self.text((try? JSONParser.parse(text.utf8)) ?? .string(text))
        case .json, .tool:
            let value: JSONValue
            do { value = try JSONParser.parse(text.utf8) } catch { throw Misfit(message: "not JSON: \(error)") }
            return try self.text(value)
        }
    }

    private func allowed(_ label: String) throws(Misfit) -> String {
        guard known.isEmpty || known.contains(label) else {
            let nearest = Similarity.nearest(label, in: labels).map { "; did you mean '\($0)'?" } ?? ""
            throw Misfit(message: "the label '\(label)' is not in the task's list\(nearest)")
        }
        return label
    }

    private func fitted(_ value: JSONValue) throws(Misfit) -> String {
        guard let check else { return value.text }
        do { return try check.fitted(value).text } catch {
            throw Misfit(message: error.message, isOfSchema: true)
        }
    }
}
