internal import Tensors

/// Makes more inputs of a task's own, for a teacher to answer: parts of them, parts of two joined, words left out and
/// exchanged (Tang et al., arXiv 1903.12136). They need not be good sentences. What the teacher says to them shows the
/// student more of the teacher than the rows it was fitted to, on which it is surer than anywhere else.
package struct InputVariation {
    /// The words of each input.
    private let inputs: [[Substring]]
    /// All words, each as often as it occurs.
    private let words: [Substring]
    private let known: Set<String>
    private let longest: Int

    /// Of a word to be left out, and of one to be another.
    private static let dropped = 0.1
    private static let exchanged = 0.1
    /// Of an input to be a part, and of one to be the beginning of one and the end of another.
    private static let cut = 0.25
    private static let joined = 0.25
    /// An input that was made may be known already: so many are tried for each that is asked for.
    private static let tries = 4

    /// - Parameter held: inputs that are not to be made.
    package init(_ inputs: [String], without held: [String] = []) {
        self.inputs = inputs.map { $0.split(separator: " ") }.filter { !$0.isEmpty }
        words = self.inputs.flatMap { $0 }
        known = Set((inputs + held).map(Dataset.normal) + [""])
        longest = self.inputs.map(\.count).max() ?? 0
    }

    /// At most `count` inputs, none of them known or twice, none with more words than those known have; each known input is
    /// the start of about as many.
    package func write(_ count: Int, seed: UInt64) -> [String] {
        guard longest > 1 else { return [] }
        var random = RandomNumbers(seed: seed)
        var known = known
        var result: [String] = []
        var order: [Int] = []
        for _ in 0..<count * Self.tries where result.count < count {
            if order.isEmpty { order = inputs.indices.shuffled(using: &random) }
            let text = varied(inputs[order.removeLast()], &random).joined(separator: " ")
            if known.insert(Dataset.normal(text)).inserted { result.append(text) }
        }
        return result
    }

    private func varied(_ input: [Substring], _ random: inout RandomNumbers) -> [Substring] {
        var input = input
        let kind = Double(random.uniform())
        if kind < Self.cut {
            let length = max(1, Int.random(in: input.count / 2...input.count, using: &random))
            let start = Int.random(in: 0...input.count - length, using: &random)
            input = Array(input[start..<start + length])
        } else if kind < Self.cut + Self.joined {
            let other = inputs.randomElement(using: &random)!
            let beginning = Int.random(in: 0...input.count, using: &random)
            let end = Int.random(in: 0...other.count, using: &random)
            input = Array((input.prefix(beginning) + other.suffix(end)).prefix(longest))
        }
        let kept = input.filter { _ in Double(random.uniform()) >= Self.dropped }
        return (kept.isEmpty ? Array(input.prefix(1)) : kept).map {
            Double(random.uniform()) < Self.exchanged ? words.randomElement(using: &random)! : $0
        }
    }
}
