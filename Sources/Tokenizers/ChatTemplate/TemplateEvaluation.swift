internal import Foundation

/// Runs a template's statements, within limits.
struct TemplateEvaluation {
    private(set) var output = ""
    private var variables: [String: TemplateValue]
    private var steps = 0

    private static let stepLimit = 1_000_000
    private static let outputLimit = 16 << 20

    init(variables: [String: TemplateValue]) { self.variables = variables }

    private mutating func step(_ line: Int?, cost: Int = 1) throws {
        steps += max(1, cost)
        guard steps <= Self.stepLimit else {
            throw TokenizerError(.limitExceeded, "the chat template runs too long", line: line)
        }
    }

    mutating func run(_ nodes: [TemplateNode]) throws {
        for node in nodes {
            try step(nil)
            switch node {
            case .text(let text): try write(text)
            case .output(let expression): try write(try value(expression).text)
            case .condition(let branches, let otherwise):
                let chosen = try branches.first { try value($0.test).isTrue }
                try run(chosen?.body ?? otherwise)
            case .set(let name, nil, let expression): variables[name] = try value(expression)
            case .set(let name, let attribute?, let expression):
                guard case .mapping(var members)? = variables[name] else {
                    throw TokenizerError(.wrongType, "'\(name)' is no namespace", line: expression.line)
                }
                let new = try value(expression)
                members.removeAll { $0.key == attribute }
                variables[name] = .mapping(members + [(attribute, new)])
            case .loop(let names, let list, let filter, let body, let otherwise):
                try loop(names, list, filter, body, otherwise)
            }
        }
    }

    private mutating func write(_ text: String) throws {
        output += text
        guard output.utf8.count <= Self.outputLimit else {
            throw TokenizerError(.limitExceeded, "the chat template writes too much")
        }
    }

    private mutating func loop(
        _ names: [String], _ list: TemplateExpression, _ filter: TemplateExpression?, _ body: [TemplateNode],
        _ otherwise: [TemplateNode]
    ) throws {
        let outer = variables
        func bind(_ item: TemplateValue, _ into: inout [String: TemplateValue]) throws {
            guard names.count > 1 else {
                into[names[0]] = item
                return
            }
            guard case .list(let parts) = item, parts.count == names.count else {
                throw TokenizerError(.wrongType, "\(item.typeName) does not fit \(names.count) names", line: list.line)
            }
            for (name, part) in zip(names, parts) { into[name] = part }
        }
        var items: [TemplateValue] = []
        for item in try elements(try value(list), line: list.line) {
            try step(list.line)
            if let filter {
                try bind(item, &variables)
                guard try value(filter).isTrue else { continue }
            }
            items.append(item)
        }
        variables = outer
        if items.isEmpty { return try run(otherwise) }
        // What is set inside a loop is forgotten after each round, but for namespaces.
        for (index, item) in items.enumerated() {
            try bind(item, &variables)
            variables["loop"] = .mapping([
                ("index", .integer(index + 1)), ("index0", .integer(index)), ("first", .bool(index == 0)),
                ("last", .bool(index == items.count - 1)), ("length", .integer(items.count)),
                ("previtem", index > 0 ? items[index - 1] : .undefined),
                ("nextitem", index + 1 < items.count ? items[index + 1] : .undefined),
            ])
            try run(body)
            var next = outer
            for (name, value) in variables {
                if case .mapping(let members) = value, case .mapping? = outer[name],
                    members.contains(where: { $0.key == Self.namespaceMark })
                {
                    next[name] = value
                }
            }
            variables = next
        }
    }

    /// A key no template can name: tells a namespace from a plain mapping.
    private static let namespaceMark = "\u{0}namespace"

    private func elements(_ value: TemplateValue, line: Int) throws -> [TemplateValue] {
        switch value {
        case .list(let values): return values
        case .mapping(let members): return members.map { .string($0.key) }
        case .string(let text): return text.map { .string(String($0)) }
        case .undefined: return []
        default: throw TokenizerError(.wrongType, "\(value.typeName) has no elements", line: line)
        }
    }

    // MARK: Expressions

    private mutating func value(_ expression: TemplateExpression) throws -> TemplateValue {
        let line = expression.line
        try step(line)
        switch expression.kind {
        case .literal(let value): return value
        case .name(let name): return variables[name] ?? .undefined
        case .list(let values): return .list(try values.map { try value($0) })
        case .mapping(let members):
            return .mapping(try members.map { (try value($0.0).text, try value($0.1)) })
        case .attribute(let object, let name): return try member(try value(object), name, line)
        case .index(let object, let index): return try element(try value(object), try value(index), line)
        case .slice(let object, let start, let end, let step):
            return try slice(
                try value(object), try start.map { try value($0) }, try end.map { try value($0) },
                try step.map { try value($0) }, line)
        case .call(let callee, let arguments, let named): return try call(callee, arguments, named, line)
        case .filter(let operand, let name, let arguments):
            let own = try value(operand)
            return try filter(own, name, try arguments.map { try value($0) }, line)
        case .test(let operand, let name, let arguments, let negated):
            let own = try value(operand)
            let result = try test(own, name, try arguments.map { try value($0) }, line)
            return .bool(result != negated)
        case .not(let operand): return .bool(!(try value(operand).isTrue))
        case .negative(let operand):
            guard case .integer(let number) = try value(operand), number != .min else {
                throw TokenizerError(.wrongType, "'-' needs a number", line: line)
            }
            return .integer(-number)
        case .binary("and", let left, let right):
            let own = try value(left)
            return own.isTrue ? try value(right) : own
        case .binary("or", let left, let right):
            let own = try value(left)
            return own.isTrue ? own : try value(right)
        case .binary(let name, let left, let right):
            return try binary(name, try value(left), try value(right), line)
        case .conditional(let test, let then, let otherwise):
            if try value(test).isTrue { return try value(then) }
            return try otherwise.map { try value($0) } ?? .undefined
        }
    }

    private func member(_ object: TemplateValue, _ name: String, _ line: Int) throws -> TemplateValue {
        switch object {
        case .mapping(let members): return members.first { $0.key == name }?.value ?? .undefined
        case .undefined:
            throw TokenizerError(.wrongType, "'\(name)' is asked of an undefined value", line: line)
        default: return .undefined
        }
    }

    private func element(_ object: TemplateValue, _ index: TemplateValue, _ line: Int) throws -> TemplateValue {
        switch (object, index) {
        case (.mapping, .string(let key)): return try member(object, key, line)
        case (.list(let values), .integer(let index)):
            let place = index < 0 ? values.count + index : index
            return values.indices.contains(place) ? values[place] : .undefined
        case (.string(let text), .integer(let index)):
            let characters = Array(text)
            let place = index < 0 ? characters.count + index : index
            return characters.indices.contains(place) ? .string(String(characters[place])) : .undefined
        default:
            throw TokenizerError(.wrongType, "\(object.typeName) has no element \(index.typeName)", line: line)
        }
    }

    private func slice(
        _ object: TemplateValue, _ start: TemplateValue?, _ end: TemplateValue?, _ step: TemplateValue?, _ line: Int
    ) throws -> TemplateValue {
        func bound(_ value: TemplateValue?, _ fallback: Int, _ count: Int) throws -> Int {
            switch value {
            case nil, .some(.none), .some(.undefined): return fallback
            case .integer(let number): return min(max(number < 0 ? max(number, -count) + count : number, 0), count)
            default: throw TokenizerError(.wrongType, "a slice needs numbers", line: line)
            }
        }
        var isReversed = false
        if case .integer(let number)? = step {
            guard number == 1 || number == -1 && start == nil && end == nil else {
                throw TokenizerError(.unsupported, "slices with a step are not supported", line: line)
            }
            isReversed = number == -1
        }
        func cut<Element>(_ all: [Element]) throws -> [Element] {
            let first = try bound(start, 0, all.count)
            let last = try bound(end, all.count, all.count)
            let part = first < last ? Array(all[first..<last]) : []
            return isReversed ? part.reversed() : part
        }
        switch object {
        case .list(let values): return .list(try cut(values))
        case .string(let text): return .string(String(try cut(Array(text))))
        default: throw TokenizerError(.wrongType, "\(object.typeName) cannot be sliced", line: line)
        }
    }

    private mutating func binary(
        _ name: String, _ left: TemplateValue, _ right: TemplateValue, _ line: Int
    ) throws -> TemplateValue {
        func wrong() -> TokenizerError {
            TokenizerError(.wrongType, "'\(name)' does not fit \(left.typeName) and \(right.typeName)", line: line)
        }
        switch (name, left, right) {
        case ("==", _, _): return .bool(left.equals(right))
        case ("!=", _, _): return .bool(!left.equals(right))
        case ("~", _, _): return try joined(left.text, right.text, line)
        case ("+", .string(let a), .string(let b)): return try joined(a, b, line)
        case ("+", .list(let a), .list(let b)):
            try step(line, cost: a.count + b.count)
            return .list(a + b)
        case ("in", .string(let a), .string(let b)): return .bool(a.isEmpty || b.contains(a))
        case ("in", _, .list(let values)): return .bool(values.contains { $0.equals(left) })
        case ("in", .string(let key), .mapping(let members)): return .bool(members.contains { $0.key == key })
        case ("in", _, .undefined): return .bool(false)
        case (_, .integer(let a), .integer(let b)): return try arithmetic(name, a, b, line)
        case ("<", .string(let a), .string(let b)): return .bool(a < b)
        case (">", .string(let a), .string(let b)): return .bool(a > b)
        default: throw wrong()
        }
    }

    private mutating func joined(_ a: String, _ b: String, _ line: Int) throws -> TemplateValue {
        try step(line, cost: (a.utf8.count + b.utf8.count) / 64)
        return .string(a + b)
    }

    private func arithmetic(_ name: String, _ a: Int, _ b: Int, _ line: Int) throws -> TemplateValue {
        func checked(_ result: (partialValue: Int, overflow: Bool)) throws -> TemplateValue {
            guard !result.overflow else { throw TokenizerError(.wrongType, "a number that is too large", line: line) }
            return .integer(result.partialValue)
        }
        switch name {
        case "<": return .bool(a < b)
        case "<=": return .bool(a <= b)
        case ">": return .bool(a > b)
        case ">=": return .bool(a >= b)
        case "+": return try checked(a.addingReportingOverflow(b))
        case "-": return try checked(a.subtractingReportingOverflow(b))
        case "*": return try checked(a.multipliedReportingOverflow(by: b))
        case "//", "%":
            guard b != 0, !(a == .min && b == -1) else {
                throw TokenizerError(.wrongType, "a division by zero", line: line)
            }
            // Rounded down, as Python does.
            let remainder = ((a % b) + b) % b
            return .integer(name == "%" ? remainder : (a - remainder) / b)
        default: throw TokenizerError(.unsupported, "'\(name)' is not supported for numbers", line: line)
        }
    }

    private mutating func call(
        _ callee: TemplateExpression, _ arguments: [TemplateExpression], _ named: [(String, TemplateExpression)],
        _ line: Int
    ) throws -> TemplateValue {
        let values = try arguments.map { try value($0) }
        switch callee.kind {
        case .name("raise_exception"):
            throw TokenizerError(
                .refusedByTemplate, "the chat template refuses these messages: \(values.first?.text ?? "")", line: line)
        case .name("namespace"):
            return .mapping(
                [(Self.namespaceMark, .none)] + (try named.map { (key: $0.0, value: try value($0.1)) }))
        case .name("range"):
            let numbers = try values.map { value -> Int in
                guard case .integer(let number) = value else {
                    throw TokenizerError(.wrongType, "'range' needs numbers", line: line)
                }
                return number
            }
            guard (1...2).contains(numbers.count) else {
                throw TokenizerError(.unsupported, "'range' with \(numbers.count) numbers", line: line)
            }
            let first = numbers.count == 1 ? 0 : numbers[0]
            let last = numbers[numbers.count - 1]
            guard last > first else { return .list([]) }
            let (count, overflow) = last.subtractingReportingOverflow(first)
            try step(line, cost: overflow ? Self.stepLimit : count)
            return .list((first..<last).map { .integer($0) })
        case .attribute(let object, let name): return try method(try value(object), name, values, line)
        case .name(let name):
            throw TokenizerError(
                .unsupported, "the function \(TokenizerError.quoted(name)) is not supported", line: line)
        default: throw TokenizerError(.wrongType, "this cannot be called", line: line)
        }
    }

    private func method(
        _ object: TemplateValue, _ name: String, _ arguments: [TemplateValue], _ line: Int
    ) throws -> TemplateValue {
        let texts = arguments.map(\.text)
        switch (object, name) {
        case (.string(let text), "strip"): return .string(Self.strip(text, texts.first, left: true, right: true))
        case (.string(let text), "lstrip"): return .string(Self.strip(text, texts.first, left: true, right: false))
        case (.string(let text), "rstrip"): return .string(Self.strip(text, texts.first, left: false, right: true))
        case (.string(let text), "upper"): return .string(text.uppercased())
        case (.string(let text), "lower"): return .string(text.lowercased())
        case (.string(let text), "title"): return .string(text.capitalized)
        case (.string(let text), "startswith"): return .bool(text.hasPrefix(texts.first ?? ""))
        case (.string(let text), "endswith"): return .bool(text.hasSuffix(texts.first ?? ""))
        case (.string(let text), "split"):
            guard let separator = texts.first else {
                return .list(text.split(whereSeparator: \.isWhitespace).map { .string(String($0)) })
            }
            guard !separator.isEmpty else { throw TokenizerError(.wrongType, "an empty separator", line: line) }
            return .list(text.components(separatedBy: separator).map { .string($0) })
        case (.string(let text), "replace") where texts.count >= 2 && !texts[0].isEmpty:
            return .string(text.replacing(texts[0], with: texts[1]))
        case (.mapping(let members), "items"):
            return .list(members.map { .list([.string($0.key), $0.value]) })
        case (.mapping(let members), "keys"): return .list(members.map { .string($0.key) })
        case (.mapping, "get"):
            guard let key = texts.first else { return .none }
            if case .undefined = try member(object, key, line) { return arguments.count > 1 ? arguments[1] : .none }
            return try member(object, key, line)
        default:
            throw TokenizerError(
                .unsupported, "\(TokenizerError.quoted(name)) of \(object.typeName) is not supported", line: line)
        }
    }

    private static func strip(_ text: String, _ characters: String?, left: Bool, right: Bool) -> String {
        var scalars = Array(text.unicodeScalars)[...]
        let set = characters.map { Set($0.unicodeScalars) }
        func goes(_ scalar: Unicode.Scalar) -> Bool { set?.contains(scalar) ?? scalar.properties.isWhitespace }
        if left { scalars = scalars.drop(while: goes) }
        if right { while let last = scalars.last, goes(last) { scalars.removeLast() } }
        return String(String.UnicodeScalarView(scalars))
    }

    private func filter(
        _ own: TemplateValue, _ name: String, _ arguments: [TemplateValue], _ line: Int
    ) throws -> TemplateValue {
        switch (name, own) {
        case ("default", _), ("d", _):
            if case .undefined = own { return arguments.first ?? .string("") }
            return arguments.count > 1 && arguments[1].isTrue && !own.isTrue ? arguments[0] : own
        case ("trim", _): return .string(Self.strip(own.text, nil, left: true, right: true))
        case ("upper", _): return .string(own.text.uppercased())
        case ("lower", _): return .string(own.text.lowercased())
        case ("string", _): return .string(own.text)
        case ("safe", _), ("e", _): return own
        case ("length", _), ("count", _): return .integer(try elements(own, line: line).count)
        case ("first", _): return try elements(own, line: line).first ?? .undefined
        case ("last", _): return try elements(own, line: line).last ?? .undefined
        case ("list", _): return .list(try elements(own, line: line))
        case ("items", _): return try method(own, "items", [], line)
        case ("join", _):
            let texts = try elements(own, line: line).map(\.text)
            return .string(texts.joined(separator: arguments.first?.text ?? ""))
        case ("replace", .string): return try method(own, "replace", arguments, line)
        case ("int", .string(let text)): return .integer(Int(text) ?? 0)
        case ("int", .integer): return own
        case ("tojson", _): return .string(Self.json(own))
        default:
            throw TokenizerError(
                .unsupported, "the filter \(TokenizerError.quoted(name)) is not supported for \(own.typeName)",
                line: line)
        }
    }

    private static func json(_ value: TemplateValue) -> String {
        switch value {
        case .undefined, .none: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .integer(let value): return String(value)
        case .list(let values): return "[" + values.map(json).joined(separator: ", ") + "]"
        case .mapping(let members):
            return "{" + members.map { json(.string($0.key)) + ": " + json($0.value) }.joined(separator: ", ") + "}"
        case .string(let text):
            let encoder = JSONEncoder()
            encoder.outputFormatting = .withoutEscapingSlashes
            return (try? encoder.encode(text)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
        }
    }

    private func test(
        _ own: TemplateValue, _ name: String, _ arguments: [TemplateValue], _ line: Int
    ) throws -> Bool {
        switch (name, own) {
        case ("defined", .undefined): return false
        case ("defined", _): return true
        case ("undefined", .undefined): return true
        case ("undefined", _): return false
        case ("none", .none), ("string", .string), ("mapping", .mapping), ("number", .integer), ("integer", .integer):
            return true
        case ("none", _), ("string", _), ("mapping", _), ("number", _), ("integer", _): return false
        case ("iterable", .list), ("iterable", .mapping), ("iterable", .string), ("sequence", .list),
            ("sequence", .string), ("boolean", .bool):
            return true
        case ("iterable", _), ("sequence", _), ("boolean", _): return false
        case ("true", .bool(let value)): return value
        case ("false", .bool(let value)): return !value
        case ("true", _), ("false", _): return false
        case ("equalto", _), ("eq", _): return arguments.first.map { own.equals($0) } ?? false
        case ("odd", .integer(let value)): return value % 2 != 0
        case ("even", .integer(let value)): return value % 2 == 0
        default:
            throw TokenizerError(.unsupported, "the test \(TokenizerError.quoted(name)) is not supported", line: line)
        }
    }
}
