/// A closed set of answers as a tree of tokens, for choosing among them while decoding.
public struct ChoiceTree: Sendable, Hashable {
    struct Node: Sendable, Hashable {
        /// Tokens that may come next, in the order of their numbers, and the nodes they lead to.
        var tokens: [Int32] = []
        var children: [Int] = []
        /// The choice that is complete here.
        var choice: Int?
    }

    private(set) var nodes = [Node()]
    /// Number of choices.
    public let count: Int

    /// - Parameters:
    ///   - choices: token sequences, not empty and all different.
    ///   - end: token that closes an answer, needed where one choice is the beginning of another.
    public init(_ choices: [[Int32]], end: Int32) {
        count = choices.count
        for (index, tokens) in choices.enumerated() {
            precondition(!tokens.isEmpty, "ChoiceTree: choice \(index) has no tokens")
            insert(tokens, choice: index)
        }
        // A choice that others continue is left by the end token.
        for index in nodes.indices {
            guard let choice = nodes[index].choice, !nodes[index].children.isEmpty else { continue }
            nodes[index].choice = nil
            nodes[index].tokens.append(end)
            nodes[index].children.append(nodes.count)
            nodes.append(Node(choice: choice))
        }
    }

    private mutating func insert(_ tokens: [Int32], choice: Int) {
        var node = 0
        for token in tokens {
            if let place = nodes[node].tokens.firstIndex(of: token) {
                node = nodes[node].children[place]
            } else {
                nodes[node].tokens.append(token)
                nodes[node].children.append(nodes.count)
                node = nodes.count
                nodes.append(Node())
            }
        }
        nodes[node].choice = choice
    }

    /// Follows the tokens that leave no choice.
    ///
    /// - Returns: those tokens, and the node where there is something to choose, or where the answer is complete.
    func forced(from node: Int) -> (tokens: [Int32], node: Int) {
        var tokens: [Int32] = []
        var node = node
        while nodes[node].choice == nil, nodes[node].children.count == 1 {
            tokens.append(nodes[node].tokens[0])
            node = nodes[node].children[0]
        }
        return (tokens, node)
    }
}
