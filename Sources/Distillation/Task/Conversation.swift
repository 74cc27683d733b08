internal import Tokenizers

/// An input of several messages. As text, which is what models and stores see, each begins with its role: `user: …`.
struct Conversation: Sendable, Hashable {
    var messages: [LoggedExchange.Message]

    init(_ messages: [LoggedExchange.Message]) { self.messages = messages }

    /// OpenAI's roles; a text's line that begins with one of them begins a message.
    private static let roles = ["system", "developer", "user", "assistant", "tool", "function"]

    /// Finds the messages in an input's text.
    ///
    /// - Returns: nil where there are fewer than two.
    init?(_ text: String) {
        var messages: [LoggedExchange.Message] = []
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            if let colon = line.firstIndex(of: ":"), Self.roles.contains(String(line[..<colon])) {
                messages.append(
                    .init(role: String(line[..<colon]), content: String(line[line.index(after: colon)...]).trimmed))
            } else if messages.isEmpty {
                return nil
            } else {
                messages[messages.count - 1].content += "\n" + line
            }
        }
        guard messages.count > 1 else { return nil }
        self.messages = messages
    }

    /// Reads a list of objects with `role` and `content`.
    ///
    /// - Returns: nil for anything else.
    init?(_ value: JSONValue) {
        guard case .array(let list) = value else { return nil }
        messages = []
        for entry in list {
            guard let role = entry["role"]?.stringValue, let content = entry["content"]?.stringValue else { return nil }
            messages.append(.init(role: role, content: content))
        }
    }

    /// The input's text; of one message its content alone.
    var text: String {
        messages.count == 1
            ? messages[0].content : messages.map { "\($0.role): \($0.content)" }.joined(separator: "\n")
    }

    /// The input as rows have it; of one message its content alone.
    var json: JSONValue {
        messages.count == 1
            ? .string(messages[0].content)
            : .array(messages.map { .object([("role", .string($0.role)), ("content", .string($0.content))]) })
    }
}
