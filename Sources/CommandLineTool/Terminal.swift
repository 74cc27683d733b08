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

extension Terminal {
    /// Writes a line over the last one of a person's screen.
    static func overwrite(_ text: String) {
        var size = winsize()
        let width = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
        FileHandle.standardError.write(Data("\r\u{1B}[K\(text.prefix(width - 1))".utf8))
    }
}
