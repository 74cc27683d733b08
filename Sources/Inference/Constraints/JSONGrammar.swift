/// JSON's own grammar (RFC 8259) as patterns, without spaces between parts.
enum JSONGrammar {
    /// What may be written for a character of a set inside a string: itself, or escaped where it must be.
    static func character(_ set: ScalarSet) -> Pattern {
        let special = ScalarSet("\"\\").union(.control)
        var choices: [Pattern] = []
        let plain = set.subtracting(special)
        if !plain.isEmpty { choices.append(.scalars(plain)) }
        let short: [(UInt32, String)] = [
            (0x22, "\\\""), (0x5C, "\\\\"), (0x08, "\\b"), (0x0C, "\\f"), (0x0A, "\\n"), (0x0D, "\\r"), (0x09, "\\t"),
        ]
        for (scalar, text) in short where set.contains(scalar) { choices.append(.text(text)) }
        for scalar in UInt32(0)...0x1F where set.contains(scalar) && !short.contains(where: { $0.0 == scalar }) {
            let digits = String(scalar, radix: 16)
            choices.append(.text("\\u" + String(repeating: "0", count: 4 - digits.count) + digits))
        }
        return .choice(choices)
    }

    /// One character of any string, with every escape JSON has.
    static let anyCharacter: Pattern = {
        let plain = ScalarSet.all.subtracting(ScalarSet("\"\\").union(.control))
        let hex = ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])
        let notD = ScalarSet([0x30...0x39, 0x41...0x43, 0x45...0x46, 0x61...0x63, 0x65...0x66])
        func digits(_ count: Int) -> Pattern { .repeated(.scalars(hex), minimum: count, maximum: count) }
        // Halves of surrogate pairs come in pairs.
        let unit = Pattern.choice([
            .sequence([.scalars(notD), digits(3)]),
            .sequence([.scalars(ScalarSet("dD")), .scalars(ScalarSet("01234567")), digits(2)]),
            .sequence([
                .scalars(ScalarSet("dD")), .scalars(ScalarSet("89abAB")), digits(2), .text("\\u"),
                .scalars(ScalarSet("dD")), .scalars(ScalarSet("cdefCDEF")), digits(2),
            ]),
        ])
        return .choice([
            .scalars(plain), .sequence([.text("\\"), .scalars(ScalarSet("\"\\/bfnrt"))]),
            .sequence([.text("\\u"), unit]),
        ])
    }()

    static func string(minimum: Int = 0, maximum: Int? = nil) -> Pattern {
        .sequence([.text("\""), .repeated(anyCharacter, minimum: minimum, maximum: maximum), .text("\"")])
    }

    /// What is left of a string: any characters, and its end.
    static let tail = Pattern.sequence([.repeated(anyCharacter, minimum: 0, maximum: nil), .text("\"")])
    static let beyondASCII = Pattern.scalars(ScalarSet([0x80...0x10FFFF]).intersection(.all))

    /// Any string but these. Where it parts from them it has no escapes but the short ones.
    ///
    /// - Parameters:
    ///   - tail: ``tail``, as a rule.
    ///   - beyondASCII: as well.
    static func string(except texts: [String], tail: Pattern, beyondASCII: Pattern) -> Pattern {
        let plain = ScalarSet([0x20...0x7F]).subtracting(ScalarSet("\"\\"))
        func content(_ texts: [ArraySlice<Unicode.Scalar>]) -> Pattern {
            let groups = Dictionary(grouping: texts.filter { !$0.isEmpty }) { $0.first! }
            let firsts = ScalarSet(String(String.UnicodeScalarView(groups.keys)))
            var others: [Pattern] = [.scalars(plain.subtracting(firsts))]
            others.append(
                groups.keys.allSatisfy(\.isASCII)
                    ? beyondASCII : .scalars(ScalarSet([0x80...0x10FFFF]).intersection(.all).subtracting(firsts)))
            if groups.keys.allSatisfy({ plain.contains($0.value) && $0 != "/" }) {
                others.append(.sequence([.text("\\"), .scalars(ScalarSet("\"\\/bfnrt"))]))
            }
            var choices = [Pattern.sequence([.choice(others), tail])]
            if !texts.contains(where: \.isEmpty) { choices.append(.text("\"")) }
            for (scalar, group) in groups.sorted(by: { $0.key < $1.key }) {
                let own = character(ScalarSet(String(scalar)))
                choices.append(.sequence([own, content(group.map { $0.dropFirst() })]))
            }
            return .choice(choices)
        }
        return .sequence([.text("\""), content(texts.map { Array($0.unicodeScalars)[...] })])
    }

    static let digit = Pattern.scalars(.digits)
    /// A whole number without sign and leading zeros.
    static let natural = Pattern.choice([
        .text("0"), .sequence([.range(0x31...0x39), .repeated(digit, minimum: 0, maximum: nil)]),
    ])
    static let integer = Pattern.sequence([.optional(.text("-")), natural])
    static let number = Pattern.sequence([
        integer, .optional(.sequence([.text("."), .repeated(digit, minimum: 1, maximum: nil)])),
        .optional(
            .sequence([
                .scalars(ScalarSet("eE")), .optional(.scalars(ScalarSet("+-"))),
                .repeated(digit, minimum: 1, maximum: nil),
            ])),
    ])

    /// `[` items separated by commas `]`.
    static func list(_ item: Pattern, open: String, close: String, minimum: Int, maximum: Int?) -> Pattern {
        if maximum == 0 { return .text(open + close) }
        let more = Pattern.repeated(
            .sequence([.text(","), item]), minimum: max(0, minimum - 1), maximum: maximum.map { $0 - 1 })
        let filled = Pattern.sequence([item, more])
        return .sequence([.text(open), minimum == 0 ? .optional(filled) : filled, .text(close)])
    }
}
