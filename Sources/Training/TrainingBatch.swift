/// What a row of the output should say: a distribution over tokens, some named, the rest as one tail.
///
/// The loss is the cross-entropy to this target. With `(1 - α)` on the right token and `α` times a teacher's
/// distribution it is the usual mixture of cross-entropy and KL (they differ by the teacher's entropy, a constant).
public struct SoftTarget: Sendable, Hashable, Codable {
    /// Distinct tokens.
    public var tokens: [Int32]
    /// Their probabilities; with `tail` they add up to 1.
    public var probabilities: [Float]
    /// Probability of all other tokens together.
    public var tail: Float
    /// A teacher's distribution that is matched by a ``Divergence`` beside the cross-entropy to the target; nil: what the
    /// teacher says is in the target.
    public var teacher: Teacher?
    /// The direction of a teacher's last hidden state (``HiddenStateLoss``); nil: there is none to be near to.
    package var hidden: [Int8]?

    /// A teacher's distribution and its part in the loss.
    public struct Teacher: Sendable, Hashable, Codable {
        /// Distinct tokens.
        public var tokens: [Int32]
        public var probabilities: [Float]
        public var tail: Float
        /// From 0 to 1; the rest is the target's.
        public var weight: Float
    }

    public init(tokens: [Int32], probabilities: [Float], tail: Float = 0) {
        precondition(
            tokens.count == probabilities.count,
            "SoftTarget: \(tokens.count) tokens, \(probabilities.count) probabilities")
        self.tokens = tokens
        self.probabilities = probabilities
        self.tail = tail
    }

    /// All weight on one token.
    public static func only(_ token: Int32) -> SoftTarget {
        SoftTarget(tokens: [token], probabilities: [1])
    }

    /// This target with another beside it, to be matched by a divergence that has `weight` of the loss.
    public func beside(_ other: SoftTarget, weight: Float) -> SoftTarget {
        var result = self
        result.teacher = Teacher(
            tokens: other.tokens, probabilities: other.probabilities, tail: other.tail, weight: weight)
        return result
    }

    /// `1 - weight` of this target plus `weight` of the other.
    public func mixed(with other: SoftTarget, weight: Float) -> SoftTarget {
        var result = SoftTarget(
            tokens: tokens, probabilities: probabilities.map { $0 * (1 - weight) },
            tail: tail * (1 - weight) + other.tail * weight)
        var places = Dictionary(uniqueKeysWithValues: tokens.enumerated().map { ($1, $0) })
        for (token, probability) in zip(other.tokens, other.probabilities) {
            if let place = places[token] {
                result.probabilities[place] += weight * probability
            } else {
                places[token] = result.tokens.count
                result.tokens.append(token)
                result.probabilities.append(weight * probability)
            }
        }
        return result
    }
}

/// One sequence to learn from: tokens, and for some of them what should follow.
public struct TrainingSequence: Sendable, Hashable, Codable {
    /// What the model reads.
    public var tokens: [Int32]
    /// Targets of the last `targets.count` positions: `targets[i]` is what should follow `tokens[tokens.count - targets.count + i]`.
    public var targets: [SoftTarget]
    /// The tokens that are right, one a target, for the reported accuracy and loss.
    public var answers: [Int32]
    /// How much the sequence counts in the loss.
    public var weight: Float
    /// A worse answer, for training on preferences.
    public var rejected: RejectedAnswer?

    public init(
        tokens: [Int32], targets: [SoftTarget], answers: [Int32], weight: Float = 1, rejected: RejectedAnswer? = nil
    ) {
        precondition(
            targets.count <= tokens.count && targets.count == answers.count, "TrainingSequence: targets do not fit")
        self.tokens = tokens
        self.targets = targets
        self.answers = answers
        self.weight = weight
        self.rejected = rejected
    }
}

/// Several sequences packed one behind the other, without padding.
package struct TrainingBatch {
    package var tokens: [Int32] = []
    /// Position of each token in its sequence.
    package var positions: [Int32] = []
    /// First token of each sequence, and the end.
    package var starts: [Int] = [0]
    /// Rows with a target, in order: the last ones of each sequence.
    package var rows: [Int] = []
    /// The first of each sequence's rows in `rows`, and the end.
    package var rowStarts: [Int] = [0]
    package var targets: [SoftTarget] = []
    package var answers: [Int32] = []
    package var weights: [Float] = []
    /// Σ weight over the targets.
    var totalWeight: Double { weights.reduce(0) { $0 + Double($1) } }

    package init(_ sequences: some Sequence<TrainingSequence>) {
        for sequence in sequences {
            let start = tokens.count
            tokens += sequence.tokens
            positions += (0..<Int32(sequence.tokens.count))
            starts.append(tokens.count)
            let first = start + sequence.tokens.count - sequence.targets.count
            rows += first..<tokens.count
            rowStarts.append(rows.count)
            targets += sequence.targets
            answers += sequence.answers
            weights += repeatElement(sequence.weight, count: sequence.targets.count)
        }
    }

    /// Copies the rows with a target of x[T, width] one behind the other.
    func gatherTargets(_ x: Floats, into target: Floats, width: Int) {
        for (index, row) in rows.enumerated() {
            (target + index * width).update(from: x + row * width, count: width)
        }
    }

    /// x[T, width] becomes zero but for the rows with a target, which are those of `source`.
    func spreadTargets(_ source: Floats, over x: Floats, width: Int) {
        x.update(repeating: 0, count: tokens.count * width)
        for (index, row) in rows.enumerated() {
            (x + row * width).update(from: source + index * width, count: width)
        }
    }
}
