internal import Tokenizers

/// An input of several messages. As text, which is what models and stores see, each begins with its role: `user: …`.
struct Conversation: Sendable, Hashable {
    struct Message: Sendable, Hashable {
        var role: String
        var content: String
    }

    var messages: [Message]

    /// OpenAI's roles; a text's line that begins with one of them begins a message.
    private static let roles = ["system", "developer", "user", "assistant", "tool", "function"]

    /// Finds the messages in an input's text.
    ///
    /// - Returns: nil where there are fewer than two.
    init?(_ text: String) {
        var messages: [Message] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if let colon = line.firstIndex(of: ":"), Self.roles.contains(String(line[..<colon])) {
                messages.append(
                    Message(role: String(line[..<colon]), content: String(line[line.index(after: colon)...]).trimmed))
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
            messages.append(Message(role: role, content: content))
        }
    }

    /// The input's text; of one message its content alone.
    var text: String {
        messages.count == 1
            ? messages[0].content : messages.map { "\($0.role): \($0.content)" }.joined(separator: "\n")
    }

    var json: JSONValue {
        .array(messages.map { .object([("role", .string($0.role)), ("content", .string($0.content))]) })
    }
}
