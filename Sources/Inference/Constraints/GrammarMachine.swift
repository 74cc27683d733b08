/// Runs a grammar over bytes. States are worked out when they are first needed and kept. One owner at a time.
final class GrammarMachine {
    /// A set of places in the grammar, each with the rules to return to.
    typealias State = Int

    private let grammar: Grammar

    private struct Known {
        /// Node and stack, sorted.
        var places: [UInt64]
        var isAccepting: Bool
        /// The state after each byte; -1: none, -2: not known yet. Empty until the first byte.
        var next: [Int32] = []
    }

    private var states: [Known] = []
    private var numbers: [[UInt64]: State] = [:]
    /// Stacks as linked lists: what to return to, and the stack below. Number 0 is the empty stack.
    private var stackNodes: [(after: Int32, below: UInt32, depth: UInt16)] = [(0, 0, 0)]
    private var stackNumbers: [UInt64: UInt32] = [:]
    /// No byte leads on.
    private var dead: State = 0

    private static let depthLimit = 128
    private static let placeLimit = 20_000
    private static let stateLimit = 50_000
    private static let stackLimit = 1_000_000

    /// Where every answer begins.
    private(set) var start: State = 0

    init(_ grammar: Grammar) {
        self.grammar = grammar
        dead = intern([], isAccepting: false)
        start = closure([UInt64(UInt32(grammar.starts[0])) << 32])
    }

    /// Whether so much was worked out that it is better to begin anew for the next request.
    var isWornOut: Bool { states.count > Self.stateLimit / 2 }

    /// Whether the empty text fits.
    var acceptsNothing: Bool { isAccepting(start) }

    func isAccepting(_ state: State) -> Bool { states[state].isAccepting }
    func isDead(_ state: State) -> Bool { state == dead }

    /// Whether nothing can follow.
    func isFinal(_ state: State) -> Bool {
        states[state].isAccepting && states[state].places.allSatisfy { grammar.nodes[Int($0 >> 32)].edges.isEmpty }
    }

    /// The state after some bytes; nil when they cannot stand here.
    func state(after bytes: some Sequence<UInt8>, from state: State) -> State? {
        var state = state
        for byte in bytes {
            state = step(state, byte)
            if state == dead { return nil }
        }
        return state
    }

    /// The bytes that must come next, while there is only one way on; at most `limit`.
    func forced(from state: State, limit: Int = 200) -> (bytes: [UInt8], state: State) {
        var bytes: [UInt8] = []
        var state = state
        while bytes.count < limit, let byte = onlyByte(state) {
            let next = step(state, byte)
            if next == dead { break }
            bytes.append(byte)
            state = next
        }
        return (bytes, state)
    }

    private func onlyByte(_ state: State) -> UInt8? {
        if states[state].isAccepting { return nil }
        var only: UInt8?
        for place in states[state].places {
            for edge in grammar.nodes[Int(place >> 32)].edges {
                guard edge.bytes.lowerBound == edge.bytes.upperBound,
                    only ?? edge.bytes.lowerBound == edge.bytes.lowerBound
                else { return nil }
                only = edge.bytes.lowerBound
            }
        }
        return only
    }

    /// The state after a byte; the dead one when it cannot stand here.
    func step(_ state: State, _ byte: UInt8) -> State {
        if states[state].next.isEmpty {
            states[state].next = [Int32](repeating: -2, count: 256)
        } else {
            let known = states[state].next[Int(byte)]
            if known >= 0 { return Int(known) }
        }
        var targets: [UInt64] = []
        for place in states[state].places {
            for edge in grammar.nodes[Int(place >> 32)].edges where edge.bytes.contains(byte) {
                targets.append(UInt64(UInt32(edge.target)) << 32 | place & 0xFFFF_FFFF)
            }
        }
        let next = targets.isEmpty ? dead : closure(targets)
        states[state].next[Int(byte)] = Int32(next)
        return next
    }

    /// The state of all places that can be reached without a byte.
    private func closure(_ seeds: [UInt64]) -> State {
        var seen = Set(seeds)
        var work = Array(seen)
        var kept: [UInt64] = []
        var isAccepting = false
        func visit(_ node: Int32, _ stack: UInt32) {
            let place = UInt64(UInt32(node)) << 32 | UInt64(stack)
            if seen.insert(place).inserted { work.append(place) }
        }
        while let place = work.popLast() {
            // Grammars that call themselves without writing anything have no end: they get no further.
            if seen.count > Self.placeLimit { return dead }
            let node = grammar.nodes[Int(place >> 32)]
            let stack = UInt32(truncatingIfNeeded: place)
            if !node.edges.isEmpty { kept.append(place) }
            for next in node.empty { visit(next, stack) }
            for call in node.calls {
                let after = grammar.nodes[Int(call.after)]
                // A call that ends its rule needs no return.
                let isTail = after.isEnd && after.empty.isEmpty && after.calls.isEmpty && after.edges.isEmpty
                if isTail {
                    visit(grammar.starts[Int(call.rule)], stack)
                } else if let pushed = push(call.after, on: stack) {
                    visit(grammar.starts[Int(call.rule)], pushed)
                }
            }
            if node.isEnd {
                if stack == 0 {
                    isAccepting = true
                } else {
                    let top = stackNodes[Int(stack)]
                    visit(top.after, top.below)
                }
            }
        }
        if kept.isEmpty, !isAccepting { return dead }
        return intern(kept.sorted(), isAccepting: isAccepting)
    }

    private func intern(_ places: [UInt64], isAccepting: Bool) -> State {
        // Acceptance is part of the key: the same places may be reached with the whole rule ended or not.
        let key = places + [isAccepting ? 1 : 0]
        if let known = numbers[key] { return known }
        guard states.count < Self.stateLimit else { return dead }
        states.append(Known(places: places, isAccepting: isAccepting))
        numbers[key] = states.count - 1
        return states.count - 1
    }

    private func push(_ after: Int32, on stack: UInt32) -> UInt32? {
        let key = UInt64(UInt32(after)) << 32 | UInt64(stack)
        if let known = stackNumbers[key] { return known }
        let depth = stackNodes[Int(stack)].depth + 1
        guard depth <= Self.depthLimit, stackNodes.count < Self.stackLimit else { return nil }
        stackNodes.append((after, stack, depth))
        stackNumbers[key] = UInt32(stackNodes.count - 1)
        return UInt32(stackNodes.count - 1)
    }
}
