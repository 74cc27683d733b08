/// A statement of a template.
indirect enum TemplateNode: Sendable {
    case text(String)
    case output(TemplateExpression)
    case condition([(test: TemplateExpression, body: [TemplateNode])], otherwise: [TemplateNode])
    case loop(
        names: [String], list: TemplateExpression, filter: TemplateExpression?, body: [TemplateNode],
        otherwise: [TemplateNode])
    case set(name: String, attribute: String?, value: TemplateExpression)
}

/// An expression with the line it stands on.
struct TemplateExpression: Sendable {
    indirect enum Kind: Sendable {
        case literal(TemplateValue)
        case name(String)
        case list([TemplateExpression])
        case mapping([(TemplateExpression, TemplateExpression)])
        case attribute(TemplateExpression, String)
        case index(TemplateExpression, TemplateExpression)
        case slice(TemplateExpression, TemplateExpression?, TemplateExpression?, TemplateExpression?)
        case call(TemplateExpression, [TemplateExpression], named: [(String, TemplateExpression)])
        case filter(TemplateExpression, String, [TemplateExpression])
        case test(TemplateExpression, String, [TemplateExpression], negated: Bool)
        case not(TemplateExpression)
        case negative(TemplateExpression)
        case binary(String, TemplateExpression, TemplateExpression)
        case conditional(TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
    }

    var kind: Kind
    var line: Int
}

/// Builds statements out of words, by recursive descent.
struct TemplateParser {
    private let tokens: [TemplateToken]
    private var place = 0
    private var depth = 0

    private static let depthLimit = 64

    init(tokens: [TemplateToken]) { self.tokens = tokens }

    private var token: TemplateToken { tokens[min(place, tokens.count - 1)] }

    mutating func parse() throws -> [TemplateNode] {
        let (nodes, stop) = try statements(until: [])
        if let stop { throw error("unexpected '\(stop)'") }
        return nodes
    }

    private func error(_ message: String) -> TokenizerError { TokenizerError(.malformed, message, line: token.line) }

    private mutating func nested<Result>(_ body: (inout TemplateParser) throws -> Result) throws -> Result {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthLimit else {
            throw TokenizerError(.limitExceeded, "nested more than \(Self.depthLimit) deep", line: token.line)
        }
        return try body(&self)
    }

    private mutating func accept(_ mark: String) -> Bool {
        guard token.kind == .mark(mark) else { return false }
        place += 1
        return true
    }

    private mutating func acceptName(_ name: String) -> Bool {
        guard token.kind == .name(name) else { return false }
        place += 1
        return true
    }

    private mutating func expect(_ kind: TemplateToken.Kind, _ what: String) throws {
        guard token.kind == kind else { throw error("expected \(what)") }
        place += 1
    }

    private mutating func name() throws -> String {
        guard case .name(let name) = token.kind else { throw error("expected a name") }
        place += 1
        return name
    }

    // MARK: Statements

    /// Statements up to one of the keywords, whose tag is left open.
    private mutating func statements(until stops: Set<String>) throws -> (nodes: [TemplateNode], stop: String?) {
        try nested { parser in
            var nodes: [TemplateNode] = []
            while true {
                switch parser.token.kind {
                case .end:
                    if let stop = stops.sorted().first { throw parser.error("expected '{% \(stop) %}'") }
                    return (nodes, nil)
                case .text(let text):
                    nodes.append(.text(text))
                    parser.place += 1
                case .openOutput:
                    parser.place += 1
                    nodes.append(.output(try parser.expression()))
                    try parser.expect(.closeOutput, "'}}'")
                case .openStatement:
                    parser.place += 1
                    let word = try parser.name()
                    if stops.contains(word) { return (nodes, word) }
                    nodes.append(try parser.statement(word))
                default: throw parser.error("unexpected word")
                }
            }
        }
    }

    private mutating func closeTag() throws { try expect(.closeStatement, "'%}'") }

    private mutating func statement(_ word: String) throws -> TemplateNode {
        switch word {
        case "if": return try condition()
        case "for": return try loop()
        case "set":
            let name = try name()
            let attribute = accept(".") ? try self.name() : nil
            try expect(.mark("="), "'='")
            let value = try expression()
            try closeTag()
            return .set(name: name, attribute: attribute, value: value)
        case "generation", "endgeneration":
            try closeTag()
            return .text("")
        default:
            throw TokenizerError(
                .unsupported, "the statement \(TokenizerError.quoted(word)) is not supported", line: token.line)
        }
    }

    private mutating func condition() throws -> TemplateNode {
        var branches: [(test: TemplateExpression, body: [TemplateNode])] = []
        var otherwise: [TemplateNode] = []
        var test = try expression()
        try closeTag()
        while true {
            let (body, stop) = try statements(until: ["elif", "else", "endif"])
            branches.append((test, body))
            if stop == "elif" {
                test = try expression()
                try closeTag()
                continue
            }
            try closeTag()
            if stop == "else" {
                otherwise = try statements(until: ["endif"]).nodes
                try closeTag()
            }
            return .condition(branches, otherwise: otherwise)
        }
    }

    private mutating func loop() throws -> TemplateNode {
        var names = [try name()]
        while accept(",") { names.append(try name()) }
        guard acceptName("in") else { throw error("expected 'in'") }
        // The list has no conditional of its own: 'if' begins the loop's filter.
        let list = try or()
        let filter = acceptName("if") ? try expression() : nil
        try closeTag()
        let (body, stop) = try statements(until: ["else", "endfor"])
        var otherwise: [TemplateNode] = []
        try closeTag()
        if stop == "else" {
            otherwise = try statements(until: ["endfor"]).nodes
            try closeTag()
        }
        return .loop(names: names, list: list, filter: filter, body: body, otherwise: otherwise)
    }

    // MARK: Expressions

    private mutating func expression() throws -> TemplateExpression {
        try nested { parser in
            let value = try parser.or()
            guard parser.acceptName("if") else { return value }
            let test = try parser.or()
            let otherwise = parser.acceptName("else") ? try parser.expression() : nil
            return TemplateExpression(kind: .conditional(test, then: value, otherwise: otherwise), line: value.line)
        }
    }

    private mutating func chain(
        _ operators: (TemplateToken.Kind) -> String?, _ operand: (inout TemplateParser) throws -> TemplateExpression
    ) throws -> TemplateExpression {
        var left = try operand(&self)
        var count = 0
        while let name = operators(token.kind) {
            count += 1
            guard count <= Self.depthLimit * 4 else { throw error("an expression that is too long") }
            place += 1
            let right = try operand(&self)
            left = TemplateExpression(kind: .binary(name, left, right), line: left.line)
        }
        return left
    }

    private mutating func or() throws -> TemplateExpression {
        try chain({ $0 == .name("or") ? "or" : nil }) { try $0.and() }
    }

    private mutating func and() throws -> TemplateExpression {
        try chain({ $0 == .name("and") ? "and" : nil }) { try $0.not() }
    }

    private mutating func not() throws -> TemplateExpression {
        let line = token.line
        guard acceptName("not") else { return try comparison() }
        return try nested { TemplateExpression(kind: .not(try $0.not()), line: line) }
    }

    private mutating func comparison() throws -> TemplateExpression {
        var left = try sum()
        while true {
            let line = token.line
            if case .mark(let mark) = token.kind, ["==", "!=", "<", "<=", ">", ">="].contains(mark) {
                place += 1
                left = TemplateExpression(kind: .binary(mark, left, try sum()), line: line)
            } else if acceptName("in") {
                left = TemplateExpression(kind: .binary("in", left, try sum()), line: line)
            } else if token.kind == .name("not"), place + 1 < tokens.count, tokens[place + 1].kind == .name("in") {
                place += 2
                let contained = TemplateExpression(kind: .binary("in", left, try sum()), line: line)
                left = TemplateExpression(kind: .not(contained), line: line)
            } else {
                return left
            }
        }
    }

    private mutating func sum() throws -> TemplateExpression {
        try chain({ kind in
            if case .mark(let mark) = kind, ["+", "-", "~"].contains(mark) { return mark }
            return nil
        }) { try $0.product() }
    }

    private mutating func product() throws -> TemplateExpression {
        try chain({ kind in
            if case .mark(let mark) = kind, ["*", "/", "//", "%"].contains(mark) { return mark }
            return nil
        }) { try $0.unary() }
    }

    private mutating func unary() throws -> TemplateExpression {
        let line = token.line
        if accept("-") { return try nested { TemplateExpression(kind: .negative(try $0.unary()), line: line) } }
        return try postfix(try primary())
    }

    private mutating func primary() throws -> TemplateExpression {
        let line = token.line
        func literal(_ value: TemplateValue) -> TemplateExpression { .init(kind: .literal(value), line: line) }
        switch token.kind {
        case .string(var text):
            place += 1
            // Texts side by side are one.
            while case .string(let more) = token.kind {
                text += more
                place += 1
            }
            return literal(.string(text))
        case .integer(let value):
            place += 1
            return literal(.integer(value))
        case .name(let name):
            place += 1
            switch name {
            case "true", "True": return literal(.bool(true))
            case "false", "False": return literal(.bool(false))
            case "none", "None": return literal(.none)
            default: return .init(kind: .name(name), line: line)
            }
        case .mark("("):
            place += 1
            let first = try expression()
            guard accept(",") else {
                try expect(.mark(")"), "')'")
                return first
            }
            return .init(kind: .list([first] + (try list(closedBy: ")"))), line: line)
        case .mark("["):
            place += 1
            return .init(kind: .list(try list(closedBy: "]")), line: line)
        case .mark("{"):
            place += 1
            var members: [(TemplateExpression, TemplateExpression)] = []
            while !accept("}") {
                let key = try expression()
                try expect(.mark(":"), "':'")
                members.append((key, try expression()))
                if !accept(","), token.kind != .mark("}") { throw error("expected ',' or '}'") }
            }
            return .init(kind: .mapping(members), line: line)
        default: throw error("expected a value")
        }
    }

    private mutating func list(closedBy close: String) throws -> [TemplateExpression] {
        var values: [TemplateExpression] = []
        while !accept(close) {
            values.append(try expression())
            if !accept(","), token.kind != .mark(close) { throw error("expected ',' or '\(close)'") }
        }
        return values
    }

    private mutating func postfix(_ first: TemplateExpression) throws -> TemplateExpression {
        var value = first
        for _ in 0...Self.depthLimit {
            let line = token.line
            if accept(".") {
                value = .init(kind: .attribute(value, try name()), line: line)
            } else if accept("[") {
                value = try subscripted(value, line)
            } else if accept("(") {
                value = try called(value, line)
            } else if accept("|") {
                let name = try name()
                value = .init(
                    kind: .filter(value, name, accept("(") ? try arguments().plain : []), line: line)
            } else if acceptName("is") {
                let negated = acceptName("not")
                let name = try name()
                var own: [TemplateExpression] = []
                if accept("(") {
                    own = try arguments().plain
                } else if case .string = token.kind {
                    own = [try primary()]
                }
                value = .init(kind: .test(value, name, own, negated: negated), line: line)
            } else {
                return value
            }
        }
        throw error("an expression that is too long")
    }

    private mutating func subscripted(_ value: TemplateExpression, _ line: Int) throws -> TemplateExpression {
        var parts: [TemplateExpression?] = [nil]
        var isSlice = false
        while !accept("]") {
            if accept(":") {
                isSlice = true
                parts.append(nil)
                guard parts.count <= 3 else { throw error("expected ']'") }
            } else {
                guard parts[parts.count - 1] == nil else { throw error("expected ']'") }
                parts[parts.count - 1] = try expression()
            }
        }
        if isSlice {
            return .init(kind: .slice(value, parts[0], parts[1], parts.count > 2 ? parts[2] : nil), line: line)
        }
        guard let index = parts[0] else { throw error("expected an index") }
        return .init(kind: .index(value, index), line: line)
    }

    private mutating func called(_ value: TemplateExpression, _ line: Int) throws -> TemplateExpression {
        let own = try arguments()
        return .init(kind: .call(value, own.plain, named: own.named), line: line)
    }

    private mutating func arguments() throws -> (plain: [TemplateExpression], named: [(String, TemplateExpression)]) {
        var plain: [TemplateExpression] = []
        var named: [(String, TemplateExpression)] = []
        while !accept(")") {
            if case .name(let name) = token.kind, place + 1 < tokens.count, tokens[place + 1].kind == .mark("=") {
                place += 2
                named.append((name, try expression()))
            } else {
                plain.append(try expression())
            }
            if !accept(","), token.kind != .mark(")") { throw error("expected ',' or ')'") }
        }
        return (plain, named)
    }
}
