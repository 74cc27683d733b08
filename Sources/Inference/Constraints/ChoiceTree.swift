/// A closed set of answers as a tree of tokens, for choosing among them while decoding; or all subsets of a list.
public struct ChoiceTree: Sendable, Hashable {
    struct Node: Sendable, Hashable {
        /// Tokens that may come next, in the order of their numbers, and the nodes they lead to.
        var tokens: [Int32] = []
        var children: [Int] = []
        /// The choice that is complete here.
        var choice: Int?
    }

    private var nodes = [Node()]
    /// Number of choices; 1 for subsets, which are told apart by their tokens.
    public let count: Int
    /// What there are subsets of; empty: it is a tree.
    private var list: [Int32] = []
    private let end: Int32

    /// - Parameters:
    ///   - choices: token sequences, not empty and all different.
    ///   - end: token that closes an answer, needed where one choice is the beginning of another.
    public init(_ choices: [[Int32]], end: Int32) {
        count = choices.count
        self.end = end
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

    /// The subsets of a list, the empty one included: their tokens in the order of the list, then `end`, which becomes
    /// the answer's last token.
    ///
    /// - Parameter tokens: all different, not empty.
    public init(subsetsOf tokens: [Int32], end: Int32) {
        precondition(!tokens.isEmpty, "ChoiceTree: subsets of nothing")
        count = 1
        list = tokens
        self.end = end
    }

    /// A node by its number. Those of subsets are made when they are asked for: number p may be followed by the list's
    /// tokens from place p on, or by the end.
    func node(_ number: Int) -> Node {
        guard !list.isEmpty else { return nodes[number] }
        guard number <= list.count else { return Node(choice: 0) }
        return Node(tokens: list[number...] + [end], children: Array(number + 1...list.count + 1))
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
        var place = self.node(node)
        while place.choice == nil, place.children.count == 1 {
            tokens.append(place.tokens[0])
            node = place.children[0]
            place = self.node(node)
        }
        return (tokens, node)
    }
}
