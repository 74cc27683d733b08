public import Foundation

/// What is wrong with a task or its data, in one sentence that says where.
public struct TaskError: Error, Sendable, Hashable, CustomStringConvertible, LocalizedError {
    /// The file, as the user would name it.
    public var file: String?
    /// Line, counted from 1.
    public var line: Int?
    /// What was expected, and what was found.
    public var message: String

    public init(_ message: String, file: String? = nil, line: Int? = nil) {
        self.message = message
        self.file = file
        self.line = line
    }

    public var description: String {
        guard let file else { return message }
        return line.map { "\(file):\($0): \(message)" } ?? "\(file): \(message)"
    }
    public var errorDescription: String? { description }
}
