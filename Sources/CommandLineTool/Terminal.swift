internal import Foundation

/// What the commands write, and where.
enum Terminal {
    private static let environment = ProcessInfo.processInfo.environment

    /// Whether messages go to a person's screen that can be written over.
    static let isInteractive = isatty(STDERR_FILENO) == 1 && environment["TERM"] != "dumb"

    /// Whether messages may have colours (no-color.org).
    static let hasColour = isInteractive && (environment["NO_COLOR"] ?? "").isEmpty

    /// Of a person's screen.
    static var size: (columns: Int, rows: Int) {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
            return (80, 24)
        }
        return (Int(size.ws_col), Int(size.ws_row))
    }

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

/// Lines at the end of a person's screen that are drawn again in place.
///
/// The cursor always stands below them, it is never hidden, and every line ends its own colours: whenever the program
/// ends, by Ctrl-C or by a kill, the screen is as the next prompt needs it.
struct LiveLines {
    /// Columns that each line takes.
    private var drawn: [Int] = []

    /// Draws lines over the last ones. Those that don't fit the screen's height are left out, the last first.
    mutating func show(_ lines: [String]) {
        let size = Terminal.size
        var text = erasure(columns: size.columns)
        drawn = []
        for line in lines.prefix(max(1, size.rows - 1)) {
            let columns = Self.columns(line)
            let isLong = columns >= size.columns
            text += (isLong ? String(line.prefix(size.columns - 1)) : line) + "\n"
            drawn.append(isLong ? size.columns - 1 : columns)
        }
        // In one piece, so that nothing comes between.
        FileHandle.standardError.write(Data(text.utf8))
    }

    mutating func clear() {
        guard !drawn.isEmpty else { return }
        FileHandle.standardError.write(Data(erasure(columns: Terminal.size.columns).utf8))
        drawn = []
    }

    /// Goes to the first of the lines, which take several rows where the screen got narrower, and clears what follows.
    private func erasure(columns: Int) -> String {
        let rows = drawn.reduce(0) { $0 + max(1, ($1 + columns - 1) / columns) }
        return (rows > 0 ? "\u{1B}[\(rows)A" : "") + "\r\u{1B}[J"
    }

    /// Characters of a line, without colours.
    private static func columns(_ line: String) -> Int {
        line.replacing(/\u{1B}\[[0-9;]*m/, with: "").count
    }
}
