/// What bytes may be written, as an expression.
indirect enum Pattern: Sendable {
    case empty
    case bytes([UInt8])
    case range(ClosedRange<UInt8>)
    case sequence([Pattern])
    case choice([Pattern])
    /// From `minimum` to `maximum` times; nil: any number.
    case repeated(Pattern, minimum: Int, maximum: Int?)
    /// Another rule of the grammar.
    case rule(Int)

    static func text(_ text: String) -> Pattern { .bytes(Array(text.utf8)) }

    static func optional(_ pattern: Pattern) -> Pattern { .repeated(pattern, minimum: 0, maximum: 1) }

    static func scalars(_ set: ScalarSet) -> Pattern {
        .choice(set.utf8.map { .sequence($0.map { .range($0) }) })
    }
}

/// Rules compiled into one network of nodes with byte edges, empty edges and calls (a recursive transition network).
///
/// Immutable. Its size is limited, so that no schema or expression, however nested its counts, takes more than a few
/// megabytes.
final class Grammar: Sendable {
    struct Node: Sendable {
        var edges: [(bytes: ClosedRange<UInt8>, target: Int32)] = []
        var empty: [Int32] = []
        var calls: [(rule: Int32, after: Int32)] = []
        /// The end of a rule.
        var isEnd = false
    }

    static let nodeLimit = 60_000

    let nodes: [Node]
    /// Where each rule begins. Rule 0 is the whole.
    let starts: [Int32]

    /// - Throws: `InferenceError` when the rules are too large.
    init(_ rules: [Pattern]) throws {
        var builder = Builder()
        var starts: [Int32] = []
        for rule in rules {
            let start = try builder.add()
            let end = try builder.add()
            builder.nodes[Int(end)].isEnd = true
            try builder.connect(rule, from: start, to: end, depth: 0)
            starts.append(start)
        }
        nodes = builder.nodes
        self.starts = starts
    }

    private struct Builder {
        var nodes: [Node] = []

        mutating func add() throws -> Int32 {
            guard nodes.count < Grammar.nodeLimit else {
                throw InferenceError(
                    .unsupportedConstraint,
                    "the expression or schema is too large: its counts unfold to more than \(Grammar.nodeLimit) states")
            }
            nodes.append(Node())
            return Int32(nodes.count - 1)
        }

        mutating func connect(_ pattern: Pattern, from: Int32, to: Int32, depth: Int) throws {
            guard depth < 400 else {
                throw InferenceError(.unsupportedConstraint, "the expression or schema is nested too deeply")
            }
            switch pattern {
            case .empty: nodes[Int(from)].empty.append(to)
            case .bytes(let bytes):
                var node = from
                for (index, byte) in bytes.enumerated() {
                    let next = index == bytes.count - 1 ? to : try add()
                    nodes[Int(node)].edges.append((byte...byte, next))
                    node = next
                }
                if bytes.isEmpty { nodes[Int(from)].empty.append(to) }
            case .range(let range): nodes[Int(from)].edges.append((range, to))
            case .sequence(let parts):
                var node = from
                for (index, part) in parts.enumerated() {
                    let next = index == parts.count - 1 ? to : try add()
                    try connect(part, from: node, to: next, depth: depth + 1)
                    node = next
                }
                if parts.isEmpty { nodes[Int(from)].empty.append(to) }
            case .choice(let parts):
                for part in parts { try connect(part, from: from, to: to, depth: depth + 1) }
            case .repeated(let part, let minimum, let maximum):
                var node = from
                for _ in 0..<minimum {
                    let next = try add()
                    try connect(part, from: node, to: next, depth: depth + 1)
                    node = next
                }
                if let maximum {
                    for _ in minimum..<max(maximum, minimum) {
                        nodes[Int(node)].empty.append(to)
                        let next = try add()
                        try connect(part, from: node, to: next, depth: depth + 1)
                        node = next
                    }
                    nodes[Int(node)].empty.append(to)
                } else {
                    // A node of its own: edges out of `node` must not be entered again from the loop.
                    let loop = try add()
                    let body = try add()
                    nodes[Int(node)].empty.append(loop)
                    nodes[Int(loop)].empty += [body, to]
                    let back = try add()
                    try connect(part, from: body, to: back, depth: depth + 1)
                    nodes[Int(back)].empty.append(loop)
                }
            case .rule(let rule): nodes[Int(from)].calls.append((Int32(rule), to))
            }
        }
    }
}
