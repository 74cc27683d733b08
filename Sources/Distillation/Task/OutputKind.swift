package import Tokenizers

extension TaskDefinition {
    /// What an answer looks like. Answers are kept as text: the label, the text, or compact JSON.
    public enum OutputKind: String, Sendable, Hashable, Codable, CaseIterable {
        case label
        /// A set of labels: a JSON list of them in the order of the task's, each once.
        case labels
        case text
        case json
        /// A call of a tool: `{"name": …, "arguments": {…}}`.
        case tool
    }
}

extension TaskDefinition.OutputKind {
    /// Whether answers are made of labels, each a token of its own.
    package var hasLabels: Bool {
        switch self {
        case .label, .labels: true
        case .text, .json, .tool: false
        }
    }

    /// Whether answers are JSON that is written as text.
    package var isJSON: Bool {
        switch self {
        case .json, .tool: true
        case .label, .labels, .text: false
        }
    }

    /// An answer as rows of data have it.
    package func value(of answer: String) -> JSONValue {
        switch self {
        case .label, .text: .string(answer)
        case .labels, .json, .tool: (try? JSONParser.parse(answer.utf8)) ?? .string(answer)
        }
    }

    /// The labels an answer is made of; none where there are no labels.
    package func labels(of answer: String) -> [String] {
        switch self {
        case .label: [answer]
        case .labels: LabelSet.labels(answer)
        case .text, .json, .tool: []
        }
    }
}
