public import Foundation

/// What went wrong with a tokenizer or a chat template, in one sentence for the user.
public struct TokenizerError: Error, Sendable, Hashable {
    /// The kind of an error. Open: other parts of the program may add their own.
    public struct Code: RawRepresentable, Sendable, Hashable {
        public let rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        /// A file, vocabulary or template that breaks the rules of its format.
        public static let malformed = Code(rawValue: "malformed")
        /// A tokenizer or template in order, of a kind this program does not handle.
        public static let unsupported = Code(rawValue: "unsupported")
        /// A template that would run or write without end.
        public static let limitExceeded = Code(rawValue: "limit_exceeded")
        /// A template that refused its messages with `raise_exception`.
        public static let refusedByTemplate = Code(rawValue: "refused_by_template")
        /// A template that applied an operation to a value it does not fit.
        public static let wrongType = Code(rawValue: "wrong_type")
    }

    public var code: Code
    /// What was expected and what was found, without the place.
    public var message: String
    /// The file it is about, as the user would name it.
    public var file: String?
    /// The byte of the file where it was noticed.
    public var byteOffset: Int?
    /// The line of the template, counted from 1, where it was noticed.
    public var line: Int?

    public init(_ code: Code, _ message: String, file: String? = nil, byteOffset: Int? = nil, line: Int? = nil) {
        self.code = code
        self.message = message
        self.file = file
        self.byteOffset = byteOffset
        self.line = line
    }
}

extension TokenizerError: CustomStringConvertible, LocalizedError {
    public var description: String {
        var place: [String] = []
        if let file { place.append(file) }
        if let line { place.append("line \(line)") }
        if let byteOffset { place.append("byte \(byteOffset)") }
        return place.isEmpty ? message : place.joined(separator: ", ") + ": " + message
    }

    public var errorDescription: String? { description }
}

extension TokenizerError {
    /// A string of a file, made fit for a message: control characters shown, cut at 80 characters.
    static func quoted(_ text: String) -> String {
        var result = "'"
        for (index, scalar) in text.unicodeScalars.enumerated() {
            if index == 80 {
                result += "…"
                break
            }
            if scalar.value < 32 || (0x7f...0x9f).contains(scalar.value) {
                result += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result + "'"
    }
}
