/// A word of a template.
struct TemplateToken: Sendable {
    enum Kind: Sendable, Equatable {
        /// Text outside of any tag.
        case text(String)
        case openOutput
        case closeOutput
        case openStatement
        case closeStatement
        case name(String)
        case string(String)
        case integer(Int)
        /// An operator or a bracket.
        case mark(String)
        case end
    }

    var kind: Kind
    var line: Int
}

/// Cuts a template into words.
enum TemplateLexer {
    private static let sizeLimit = 1 << 20
    private static let marks = [
        "==", "!=", "<=", ">=", "//", "(", ")", "[", "]", "{", "}", ".", ",", ":", "|", "+", "-", "*", "/", "%", "~",
        "<", ">", "=",
    ]

    static func tokens(of source: String) throws -> [TemplateToken] {
        guard source.utf8.count <= sizeLimit else {
            throw TokenizerError(.limitExceeded, "a chat template of \(source.utf8.count) bytes")
        }
        var lexer = Lexer(text: Array(source.unicodeScalars))
        return try lexer.run()
    }

    private struct Lexer {
        let text: [Unicode.Scalar]
        var place = 0
        var line = 1
        var tokens: [TemplateToken] = []

        init(text: [Unicode.Scalar]) { self.text = text }

        func starts(_ mark: String, at place: Int) -> Bool {
            let scalars = Array(mark.unicodeScalars)
            return place + scalars.count <= text.count && text[place..<place + scalars.count].elementsEqual(scalars)
        }

        mutating func advance(_ count: Int) {
            for _ in 0..<count where place < text.count {
                if text[place] == "\n" { line += 1 }
                place += 1
            }
        }

        mutating func add(_ kind: TemplateToken.Kind) { tokens.append(TemplateToken(kind: kind, line: line)) }

        mutating func run() throws -> [TemplateToken] {
            var strips = false
            while place < text.count {
                let start = place
                while place < text.count, !["{{", "{%", "{#"].contains(where: { starts($0, at: place) }) { advance(1) }
                var own = Array(text[start..<place])
                if strips { own = Array(own.drop { $0.properties.isWhitespace }) }
                strips = false
                guard place < text.count else {
                    addText(own)
                    break
                }
                let opening = String(String.UnicodeScalarView(text[place...place + 1]))
                let control = place + 2 < text.count ? text[place + 2] : " "
                if control == "-" {
                    while let last = own.last, last.properties.isWhitespace { own.removeLast() }
                } else if opening != "{{", control != "+" {
                    // lstrip_blocks: spaces between the line's begin and a block go.
                    let head = own.reversed().prefix { $0 == " " || $0 == "\t" }.count
                    if head < own.count ? own[own.count - head - 1] == "\n" : isLineStart(start) {
                        own.removeLast(head)
                    }
                }
                addText(own)
                strips = try tag(opening, skip: control == "-" || control == "+" ? 3 : 2)
            }
            add(.end)
            return tokens
        }

        /// Whether text that begins here begins a line.
        private func isLineStart(_ start: Int) -> Bool { start == 0 || text[start - 1] == "\n" }

        private mutating func addText(_ own: [Unicode.Scalar]) {
            if !own.isEmpty { add(.text(String(String.UnicodeScalarView(own)))) }
        }

        /// - Returns: whether white space after the tag goes.
        private mutating func tag(_ opening: String, skip: Int) throws -> Bool {
            let first = line
            advance(skip)
            let closing = opening == "{{" ? "}}" : opening == "{%" ? "%}" : "#}"
            if opening == "{#" {
                while place < text.count, !starts(closing, at: place) { advance(1) }
                guard place < text.count else { throw unclosed(opening, first) }
                let strips = text[place - 1] == "-"
                close(closing)
                return strips
            }
            add(opening == "{{" ? .openOutput : .openStatement)
            var depth = 0
            while true {
                while place < text.count, text[place].properties.isWhitespace { advance(1) }
                guard place < text.count else { throw unclosed(opening, first) }
                if depth == 0 || opening == "{%" {
                    if starts("-" + closing, at: place) {
                        add(opening == "{{" ? .closeOutput : .closeStatement)
                        advance(1)
                        close(closing)
                        return true
                    }
                    if starts(closing, at: place) {
                        add(opening == "{{" ? .closeOutput : .closeStatement)
                        close(closing)
                        return false
                    }
                }
                try word(&depth)
            }
        }

        /// trim_blocks: the first line end after a block goes.
        private mutating func close(_ closing: String) {
            advance(2)
            if closing != "}}", place < text.count, text[place] == "\n" { advance(1) }
        }

        private func unclosed(_ opening: String, _ line: Int) -> TokenizerError {
            TokenizerError(.malformed, "'\(opening)' is never closed", line: line)
        }

        private mutating func word(_ depth: inout Int) throws {
            let scalar = text[place]
            if scalar == "'" || scalar == "\"" { return try string(scalar) }
            if scalar.properties.isAlphabetic || scalar == "_" {
                let start = place
                while place < text.count,
                    text[place].properties.isAlphabetic || text[place] == "_" || ("0"..."9").contains(text[place])
                {
                    advance(1)
                }
                return add(.name(String(String.UnicodeScalarView(text[start..<place]))))
            }
            if ("0"..."9").contains(scalar) {
                let start = place
                while place < text.count, ("0"..."9").contains(text[place]) { advance(1) }
                guard let value = Int(String(String.UnicodeScalarView(text[start..<place]))) else {
                    throw TokenizerError(.malformed, "a number that is too large", line: line)
                }
                return add(.integer(value))
            }
            guard let mark = TemplateLexer.marks.first(where: { starts($0, at: place) }) else {
                throw TokenizerError(
                    .malformed, "unexpected \(TokenizerError.quoted(String(scalar)))", line: line)
            }
            if "([{".contains(mark) { depth += 1 }
            if ")]}".contains(mark) { depth -= 1 }
            add(.mark(mark))
            advance(mark.count)
        }

        private mutating func string(_ quote: Unicode.Scalar) throws {
            let first = line
            advance(1)
            var value = String.UnicodeScalarView()
            while place < text.count, text[place] != quote {
                if text[place] == "\\", place + 1 < text.count {
                    advance(1)
                    switch text[place] {
                    case "n": value.append("\n")
                    case "t": value.append("\t")
                    case "r": value.append("\r")
                    case "\\", "'", "\"": value.append(text[place])
                    default:
                        value.append("\\")
                        value.append(text[place])
                    }
                } else {
                    value.append(text[place])
                }
                advance(1)
            }
            guard place < text.count else { throw TokenizerError(.malformed, "a text is never closed", line: first) }
            advance(1)
            add(.string(String(value)))
        }
    }
}
