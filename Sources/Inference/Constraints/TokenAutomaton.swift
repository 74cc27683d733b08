internal import Tokenizers

/// Runs a grammar over tokens: which may come next, and what follows. Masks are worked out when they are first needed and
/// kept. One owner at a time.
final class TokenAutomaton {
    typealias State = GrammarMachine.State

    private let machine: GrammarMachine
    private let tokenizer: Tokenizer
    private let trie: VocabularyTrie
    private var masks: [State: TokenMask] = [:]

    init(_ grammar: Grammar, tokenizer: Tokenizer, trie: VocabularyTrie) {
        machine = GrammarMachine(grammar)
        self.tokenizer = tokenizer
        self.trie = trie
    }

    /// Where every answer begins.
    var start: State { machine.start }
    func isAccepting(_ state: State) -> Bool { machine.isAccepting(state) }
    func isDead(_ state: State) -> Bool { machine.isDead(state) }
    func isFinal(_ state: State) -> Bool { machine.isFinal(state) }

    /// Whether so much was worked out that it is better to begin anew for the next request.
    var isWornOut: Bool { machine.isWornOut || masks.count > 2_000 }

    /// The state after a token; nil when it cannot stand here.
    func state(after token: Int32, from state: State) -> State? {
        let bytes = tokenizer.bytes(of: token)
        return bytes.isEmpty ? nil : machine.state(after: bytes, from: state)
    }

    /// The bytes that must come next, while there is only one way on.
    func forced(from state: State) -> (bytes: [UInt8], state: State) { machine.forced(from: state) }

    /// All tokens that can stand here.
    func mask(_ state: State) -> TokenMask {
        if let known = masks[state] { return known }
        var mask = TokenMask(size: trie.size)
        // path[n]: the state after n bytes of the token before.
        var path: [State] = [state]
        var alive = 0
        trie.bytes.withUnsafeBufferPointer { bytes in
            for index in trie.tokens.indices {
                let start = Int(trie.starts[index])
                let length = Int(trie.starts[index + 1]) - start
                let shared = Int(trie.shared[index])
                // The token before died within what this one shares with it.
                if shared > alive { continue }
                alive = shared
                while alive < length {
                    let next = machine.step(path[alive], bytes[start + alive])
                    if machine.isDead(next) { break }
                    alive += 1
                    if path.count == alive { path.append(next) } else { path[alive] = next }
                }
                if alive == length { mask.insert(trie.tokens[index]) }
            }
        }
        masks[state] = mask
        return mask
    }
}
