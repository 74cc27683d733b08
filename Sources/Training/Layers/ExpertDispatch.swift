/// Which expert works on which token: a counting sort of (token, choice) pairs by expert.
///
/// A slot is one token's visit to one expert. Slots of one expert lie next to each other, tokens in order.
/// An expert without tokens has an empty range.
package struct ExpertDispatch {
    package let experts: Int
    /// Choices of a token.
    package let choices: Int
    /// First slot of each expert, and the end: [experts + 1].
    package private(set) var offsets: [Int]
    /// Token of each slot.
    package private(set) var tokens: [Int]
    /// Slot of choice c of token t at [t · choices + c].
    package private(set) var slots: [Int]

    /// - Parameter chosen: experts of token t at [t · choices ..< (t + 1) · choices].
    package init(chosen: [Int32], experts: Int, choices: Int) {
        self.experts = experts
        self.choices = choices
        offsets = [Int](repeating: 0, count: experts + 1)
        tokens = [Int](repeating: 0, count: chosen.count)
        slots = [Int](repeating: 0, count: chosen.count)
        for expert in chosen { offsets[Int(expert) + 1] += 1 }
        for expert in 0..<experts { offsets[expert + 1] += offsets[expert] }
        var next = offsets
        for (pair, expert) in chosen.enumerated() {
            let slot = next[Int(expert)]
            next[Int(expert)] += 1
            tokens[slot] = pair / choices
            slots[pair] = slot
        }
    }

    /// Tokens that expert `expert` works on.
    package func load(_ expert: Int) -> Int { offsets[expert + 1] - offsets[expert] }
}
