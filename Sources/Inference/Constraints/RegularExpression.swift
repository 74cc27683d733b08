/// Parses regular expressions: literals, `.`, classes with ranges and `^`, `\d \w \s` and their opposites, escapes
/// (`\n \t \r \f \v \0 \xHH \uHHHH`), groups, `|`, `* + ? {m,n}` (lazy forms mean the same), `^` and `$` at the ends.
///
/// No look-around and no references to groups: what is parsed describes a regular language.
struct RegularExpression {
    private let scalars: [Unicode.Scalar]
    private var at = 0
    private var depth = 0
    /// Turns a set of characters into what may be written for one of them.
    private let write: (ScalarSet) -> Pattern

    /// - Parameters:
    ///   - isSearch: whether anything may stand before and after, where `^` and `$` do not say otherwise.
    ///   - write: how a character of a set is written; nil: in UTF-8.
    /// - Throws: `InferenceError` that says where and what.
    static func pattern(
        _ source: String, isSearch: Bool = false, write: @escaping (ScalarSet) -> Pattern = { .scalars($0) }
    ) throws -> Pattern {
        guard source.utf8.count <= 10_000 else {
            throw InferenceError(
                .unsupportedConstraint, "a regular expression of \(source.utf8.count) bytes; at most 10,000 are allowed"
            )
        }
        var parser = RegularExpression(scalars: Array(source.unicodeScalars), write: write)
        let result = try parser.alternatives(isSearch: isSearch, isTop: true)
        guard parser.at == parser.scalars.count else { throw parser.fail("unexpected ')'") }
        return result
    }

    private init(scalars: [Unicode.Scalar], write: @escaping (ScalarSet) -> Pattern) {
        self.scalars = scalars
        self.write = write
    }

    private func fail(_ message: String) -> InferenceError {
        InferenceError(
            .unsupportedConstraint, "regular expression, character \(at + 1): \(message)")
    }

    private var next: Unicode.Scalar? { at < scalars.count ? scalars[at] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard next == scalar else { return false }
        at += 1
        return true
    }

    private mutating func alternatives(isSearch: Bool, isTop: Bool) throws -> Pattern {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 100 else { throw fail("more than 100 levels of groups") }
        var choices: [Pattern] = []
        repeat {
            let anything = Pattern.repeated(write(.all), minimum: 0, maximum: nil)
            var parts: [Pattern] = []
            let begins = isTop && take("^")
            if isSearch, !begins { parts.append(anything) }
            var ends = false
            while let scalar = next, scalar != "|", scalar != ")" {
                if scalar == "$", isTop {
                    at += 1
                    guard next == nil || next == "|" else { throw fail("'$' is supported at the end only") }
                    ends = true
                } else {
                    parts.append(try quantified())
                }
            }
            if isSearch, !ends { parts.append(anything) }
            choices.append(parts.isEmpty ? .empty : .sequence(parts))
        } while take("|")
        return choices.count == 1 ? choices[0] : .choice(choices)
    }

    private mutating func quantified() throws -> Pattern {
        let atom = try atom()
        var result = atom
        var count = 0
        while let scalar = next {
            let bounds: (Int, Int?)
            switch scalar {
            case "*": bounds = (0, nil)
            case "+": bounds = (1, nil)
            case "?": bounds = (0, 1)
            case "{":
                bounds = try counts()
                at -= 1
            default: return result
            }
            at += 1
            _ = take("?")
            if next == "+" { throw fail("possessive quantifiers are not supported") }
            count += 1
            guard count <= 1 else { throw fail("nothing to repeat") }
            result = .repeated(result, minimum: bounds.0, maximum: bounds.1)
        }
        return result
    }

    /// `{m}`, `{m,}`, `{m,n}`.
    private mutating func counts() throws -> (Int, Int?) {
        let start = at
        at += 1
        let low = number()
        var high = low
        if take(",") { high = number() }
        guard let low, take("}") else {
            at = start
            throw fail("'{' must be followed by counts; write '\\{' for the character")
        }
        let isOpen = scalars[at - 2] == ","
        if !isOpen, let high, high < low { throw fail("the counts are in the wrong order") }
        guard low <= 10_000, high ?? 0 <= 10_000 else { throw fail("counts above 10,000") }
        return (low, isOpen ? nil : high)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let scalar = next, ("0"..."9").contains(scalar), value ?? 0 < 1_000_000 {
            value = (value ?? 0) * 10 + Int(scalar.value - 48)
            at += 1
        }
        return value
    }

    private mutating func atom() throws -> Pattern {
        guard let scalar = next else { throw fail("expected something") }
        switch scalar {
        case "(":
            at += 1
            if take("?") {
                if !take(":") {
                    // (?<name>…) and (?P<name>…) group like any other.
                    _ = take("P")
                    guard take("<"), let first = next, first != "=", first != "!" else {
                        throw fail("look-around and flags are not supported")
                    }
                    while let scalar = next, scalar != ">" { at += 1 }
                    guard take(">") else { throw fail("the group's name has no end") }
                }
            }
            let inner = try alternatives(isSearch: false, isTop: false)
            guard take(")") else { throw fail("the group has no end") }
            return inner
        case "[": return write(try characterClass())
        case ".":
            at += 1
            return write(ScalarSet("\n\r\u{2028}\u{2029}").inverted)
        case "\\":
            at += 1
            return write(try escape(inClass: false))
        case "*", "+", "?": throw fail("nothing to repeat")
        case "^", "$": throw fail("'\(scalar)' is supported at the ends of the whole expression only")
        case "{": throw fail("nothing to repeat")
        default:
            at += 1
            return write(ScalarSet([scalar.value...scalar.value]))
        }
    }

    private mutating func characterClass() throws -> ScalarSet {
        at += 1
        let isInverted = take("^")
        var set = ScalarSet([])
        while true {
            guard let scalar = next else { throw fail("the class has no end") }
            if scalar == "]" { break }
            let low = try member()
            guard next == "-", at + 1 < scalars.count, scalars[at + 1] != "]" else {
                set = set.union(low)
                continue
            }
            at += 1
            let high = try member()
            guard let from = low.single, let to = high.single, from <= to else {
                throw fail("the range makes no sense")
            }
            set = set.union(ScalarSet([from...to]).intersection(.all))
        }
        at += 1
        let result = isInverted ? set.inverted : set
        guard !result.isEmpty else { throw fail("the class holds no character") }
        return result
    }

    private mutating func member() throws -> ScalarSet {
        guard let scalar = next else { throw fail("the class has no end") }
        at += 1
        if scalar == "\\" { return try escape(inClass: true) }
        if scalar == "[", next == ":" { throw fail("POSIX classes are not supported") }
        return ScalarSet([scalar.value...scalar.value])
    }

    private mutating func escape(inClass: Bool) throws -> ScalarSet {
        guard let scalar = next else { throw fail("the escape has no end") }
        at += 1
        func one(_ value: UInt32) -> ScalarSet { ScalarSet([value...value]) }
        switch scalar {
        case "d": return .digits
        case "D": return ScalarSet.digits.inverted
        case "w": return .word
        case "W": return ScalarSet.word.inverted
        case "s": return .space
        case "S": return ScalarSet.space.inverted
        case "n": return one(0x0A)
        case "r": return one(0x0D)
        case "t": return one(0x09)
        case "f": return one(0x0C)
        case "v": return one(0x0B)
        case "0": return one(0)
        case "b" where inClass: return one(0x08)
        case "x": return one(try hexadecimal(2))
        case "u":
            let value = try hexadecimal(4)
            guard Unicode.Scalar(value) != nil else { throw fail("half of a surrogate pair") }
            return one(value)
        default:
            let isLetter = ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || ("0"..."9").contains(scalar)
            if isLetter { throw fail("the escape '\\\(scalar)' is not supported") }
            return one(scalar.value)
        }
    }

    private mutating func hexadecimal(_ count: Int) throws -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let scalar = next, let digit = Character(scalar).hexDigitValue else {
                throw fail("expected \(count) hexadecimal digits")
            }
            value = value * 16 + UInt32(digit)
            at += 1
        }
        return value
    }
}

extension ScalarSet {
    /// The only scalar in it.
    var single: UInt32? {
        ranges.count == 1 && ranges[0].lowerBound == ranges[0].upperBound ? ranges[0].lowerBound : nil
    }
}
