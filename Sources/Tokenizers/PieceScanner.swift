/// Cuts valid UTF-8 into the pieces that are tokenised one by one, as the regular expressions of the
/// model families do, but by hand: one pass, no backtracking, linear in the text.
struct PieceScanner {
    /// Where pieces end.
    enum Style: Sendable, Hashable {
        case pattern(TokenizerDefinition.PreTokenizer)
        /// After a run of spaces and what follows it. Where no token has a space after anything else, nothing is ever merged
        /// over such a border, and the tokens are those of the whole text.
        case words
    }

    private let text: UnsafePointer<UInt8>
    private let count: Int
    private let classes: UnicodeClasses
    private let style: Style

    /// - Parameter text: valid UTF-8, alive while the scanner is used.
    init(_ text: UnsafeBufferPointer<UInt8>, style: Style) {
        // An empty buffer may have no address; nothing is read from it then.
        self.text = text.baseAddress ?? UnsafePointer(bitPattern: 1)!
        self.count = text.count
        self.classes = .shared
        self.style = style
    }

    /// The end of the piece that starts at `start`, which is below `count` and on a character's first byte.
    @inline(__always)
    func end(from start: Int) -> Int {
        switch style {
        case .pattern(.gpt2(individualDigits: false)): gpt2(from: start, stop: [])
        case .pattern(.gpt2(individualDigits: true)): gpt2(from: start, stop: .digit)
        case .pattern(.llama3): contemporary(from: start, digits: 3)
        case .pattern(.qwen2): contemporary(from: start, digits: 1)
        case .pattern(.whole): count
        case .pattern(.spaces): nextSpace(from: start + 1)
        case .words: word(from: start)
        }
    }

    @inline(__always)
    private func nextSpace(from start: Int) -> Int {
        var index = start
        while index < count, text[index] != 0x20 { index += 1 }
        return index
    }

    @inline(__always)
    private func word(from start: Int) -> Int {
        var index = start
        while index < count, text[index] == 0x20 { index += 1 }
        return nextSpace(from: index)
    }

    /// The character at `index`: its classes, and the index of the next one.
    @inline(__always)
    private func character(at index: Int) -> (kind: UnicodeClass, next: Int) {
        let first = text[index]
        if first < 0x80 { return (classes[UInt32(first)], index + 1) }
        let second = UInt32(text[index + 1] & 0x3f)
        if first < 0xe0 { return (classes[UInt32(first & 0x1f) << 6 | second], index + 2) }
        let third = UInt32(text[index + 2] & 0x3f)
        if first < 0xf0 { return (classes[UInt32(first & 0x0f) << 12 | second << 6 | third], index + 3) }
        let value = UInt32(first & 0x07) << 18 | second << 12 | third << 6 | UInt32(text[index + 3] & 0x3f)
        return (classes[min(value, 0x10ffff)], index + 4)
    }

    /// The end of the run of characters from `start` that have one of `kinds` and none of `stop`.
    @inline(__always)
    private func run(from start: Int, of kinds: UnicodeClass, stop: UnicodeClass) -> Int {
        var index = start
        while index < count {
            let (kind, next) = character(at: index)
            if kind.isDisjoint(with: kinds) || !kind.isDisjoint(with: stop) { break }
            index = next
        }
        return index
    }

    /// The end of the run of characters from `start` that are neither letter, number nor space, nor one of `stop`.
    @inline(__always)
    private func otherRun(from start: Int, stop: UnicodeClass) -> Int {
        var index = start
        while index < count {
            let (kind, next) = character(at: index)
            if !kind.isDisjoint(with: UnicodeClass([.letter, .number, .space]).union(stop)) { break }
            index = next
        }
        return index
    }

    /// `\s+(?!\S)|\s+` from a space: all of the run at the end of the text or before one of `stop`,
    /// otherwise all but its last character, which goes to the next piece.
    @inline(__always)
    private func spaceRun(from start: Int, stop: UnicodeClass) -> Int {
        var index = start
        var last = start
        while index < count {
            let (kind, next) = character(at: index)
            if !kind.isDisjoint(with: stop) { return index }
            if kind.isDisjoint(with: .space) { return last > start ? last : index }
            last = index
            index = next
        }
        return index
    }

    /// The end of an English contraction after an apostrophe at `start`, or `nil`.
    @inline(__always)
    private func contraction(from start: Int, anyCase: Bool) -> Int? {
        guard start + 1 < count else { return nil }
        let fold: UInt8 = anyCase ? 0x20 : 0
        let first = text[start + 1]
        switch first | fold {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
            return start + 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"):
            guard start + 2 < count, text[start + 2] | fold == UInt8(ascii: "e") else { return nil }
            return start + 3
        case UInt8(ascii: "l"):
            guard start + 2 < count, text[start + 2] | fold == UInt8(ascii: "l") else { return nil }
            return start + 3
        default:
            // The long s, U+017F, is an s when case is ignored.
            guard anyCase, first == 0xc5, start + 2 < count, text[start + 2] == 0xbf else { return nil }
            return start + 3
        }
    }

    /// `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`; a character of
    /// `stop` is a piece of its own and ends the text for what stands before it.
    @inline(__always)
    private func gpt2(from start: Int, stop: UnicodeClass) -> Int {
        let byte = text[start]
        if byte == UInt8(ascii: "'"), let end = contraction(from: start, anyCase: false) { return end }
        var (kind, next) = character(at: start)
        if !kind.isDisjoint(with: stop) { return next }
        if byte == UInt8(ascii: " "), next < count {
            let (following, after) = character(at: next)
            if following.isDisjoint(with: UnicodeClass.space.union(stop)) {
                kind = following
                next = after
            }
        }
        if kind.contains(.letter) { return run(from: next, of: .letter, stop: stop) }
        if kind.contains(.number) { return run(from: next, of: .number, stop: stop) }
        if kind.contains(.space) { return spaceRun(from: start, stop: stop) }
        return otherRun(from: next, stop: stop)
    }

    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}|`
    /// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    @inline(__always)
    private func contemporary(from start: Int, digits: Int) -> Int {
        let byte = text[start]
        if byte == UInt8(ascii: "'"), let end = contraction(from: start, anyCase: true) { return end }
        let (kind, next) = character(at: start)
        if kind.contains(.letter) { return run(from: next, of: .letter, stop: []) }
        if kind.contains(.number) {
            var end = next
            for _ in 1..<max(digits, 1) where end < count {
                let (kind, next) = character(at: end)
                guard kind.contains(.number) else { break }
                end = next
            }
            return end
        }
        var otherStart: Int?
        if next < count {
            let (following, after) = character(at: next)
            if following.contains(.letter), byte != 0x0a, byte != 0x0d {
                return run(from: after, of: .letter, stop: [])
            }
            if byte == UInt8(ascii: " "), following.isDisjoint(with: [.letter, .number, .space]) {
                otherStart = after
            }
        }
        if !kind.contains(.space) { otherStart = next }
        if let otherStart {
            var end = otherRun(from: otherStart, stop: [])
            while end < count, text[end] == 0x0a || text[end] == 0x0d { end += 1 }
            return end
        }
        var index = start
        var lineEnd: Int?
        while index < count {
            let (kind, next) = character(at: index)
            guard kind.contains(.space) else { break }
            if text[index] == 0x0a || text[index] == 0x0d { lineEnd = next }
            index = next
        }
        return lineEnd ?? spaceRun(from: start, stop: [])
    }
}
