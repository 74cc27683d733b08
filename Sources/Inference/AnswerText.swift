internal import Tokenizers

/// Turns tokens into text as they come, and holds back what may be the beginning of a stop string.
struct AnswerText {
    private var decoder: StreamingDecoder
    private let stops: [[UInt8]]
    /// Text that was not given out yet.
    private var held: [UInt8] = []
    /// All text given out.
    private(set) var text = ""
    /// Whether a stop string was found.
    private(set) var isStopped = false

    init(_ tokenizer: Tokenizer, stops: [String]) {
        decoder = StreamingDecoder(tokenizer)
        self.stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty }
    }

    /// The text that can be shown after this token.
    mutating func append(_ token: Int32) -> String { take(decoder.append(token)) }

    /// The rest, when no more tokens come.
    mutating func finish() -> String {
        let rest = take(decoder.finish())
        guard !isStopped else { return rest }
        let end = String(decoding: held, as: UTF8.self)
        held = []
        text += end
        return rest + end
    }

    private mutating func take(_ piece: String) -> String {
        guard !isStopped else { return "" }
        if stops.isEmpty {
            text += piece
            return piece
        }
        held += piece.utf8
        var free = held.count
        for start in held.indices {
            // The earliest place where a stop string is, or may still become one.
            let rest = held[start...]
            if stops.contains(where: { rest.starts(with: $0) }) {
                isStopped = true
                free = start
                break
            }
            if stops.contains(where: { $0.starts(with: rest) }) {
                free = start
                break
            }
        }
        let shown = String(decoding: held[..<free], as: UTF8.self)
        held.removeFirst(free)
        text += shown
        return shown
    }
}
