internal import Foundation

/// What the commands write, and where.
enum Terminal {
    /// Whether messages go to a person's screen.
    static let isInteractive = isatty(STDERR_FILENO) == 1

    /// A message to the person at the keyboard; standard output stays for results.
    static func note(_ message: String) {
        FileHandle.standardError.write(Data((message + "\n").utf8))
    }

    /// Writes text as it is, at once.
    static func write(_ text: String) {
        FileHandle.standardOutput.write(Data(text.utf8))
    }

    static func printJSON(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(value), as: UTF8.self))
    }
}
