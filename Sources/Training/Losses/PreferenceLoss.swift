#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// A worse answer to what a sequence answers.
public struct RejectedAnswer: Sendable, Hashable, Codable {
    /// What the model reads; the last `answers.count` tokens are those the answer's follow.
    public var tokens: [Int32]
    /// The answer's tokens.
    public var answers: [Int32]
    /// How much more the reference model believes in the better answer: the difference of the log-probabilities, in nats.
    public var referenceMargin: Double

    public init(tokens: [Int32], answers: [Int32], referenceMargin: Double) {
        precondition(answers.count <= tokens.count, "RejectedAnswer: answers do not fit")
        self.tokens = tokens
        self.answers = answers
        self.referenceMargin = referenceMargin
    }

    var sequence: TrainingSequence {
        TrainingSequence(tokens: tokens, targets: answers.map { .only($0) }, answers: answers)
    }
}

/// Direct preference optimisation (Rafailov et al., arXiv 2305.18290, eq. 7): `-log σ(β ((log p(w) - log p(l)) - r))` for a
/// better answer w, a worse one l and the reference model's difference r.
///
/// Two passes: one for the answers' log-probabilities, and one for the gradient, in which each answer's cross-entropy
/// counts ±β σ(-m), m being what is in the outer brackets.
package enum PreferenceLoss {
    /// Σ log p of each sequence's answer tokens, in nats.
    package static func logProbabilities(_ model: TrainableDecoder, _ sequences: [TrainingSequence]) -> [Double] {
        let rows = model.run(TrainingBatch(sequences.map(plain)), backward: false).loss.rowLosses
        var first = 0
        return sequences.map { sequence in
            defer { first += sequence.answers.count }
            return -rows[first..<first + sequence.answers.count].reduce(0, +)
        }
    }

    /// Adds the gradient of the pairs' mean loss to what the parameters' gradients hold.
    ///
    /// - Parameter pairs: sequences that have a rejected answer.
    /// - Returns: of the loss `loss` (Σ over the pairs), `weight` and `rows` (their number), `hits` (those whose better
    ///   answer gained on the worse one) and `answerLoss` (Σ of the better answers' cross-entropies, in nats an answer).
    package static func addGradient(_ model: TrainableDecoder, _ pairs: [TrainingSequence], beta: Double)
        -> TrainableDecoder.PassResult
    {
        let sequences = pairs.flatMap { pair -> [TrainingSequence] in
            guard let rejected = pair.rejected else { preconditionFailure("PreferenceLoss: a sequence without a pair") }
            return [pair, rejected.sequence]
        }
        let known = logProbabilities(model, sequences)
        var batch = TrainingBatch(sequences.map(plain))
        var weights: [Float] = []
        var sum = SoftTargetLoss.Result()
        for (index, pair) in pairs.enumerated() {
            let margin = beta * (known[2 * index] - known[2 * index + 1] - pair.rejected!.referenceMargin)
            let push = Float(beta / (1 + exp(margin)))
            weights += repeatElement(push, count: sequences[2 * index].answers.count)
            weights += repeatElement(-push, count: sequences[2 * index + 1].answers.count)
            sum.loss += max(-margin, 0) + log1p(exp(-abs(margin)))
            sum.answerLoss -= known[2 * index]
            sum.hits += margin > 0 ? 1 : 0
            sum.rows += 1
            sum.weight += 1
        }
        batch.weights = weights
        var result = model.run(batch, backward: true, weight: sum.weight)
        result.loss = sum
        return result
    }

    /// The answer's tokens alone as targets, each counting the same.
    private static func plain(_ sequence: TrainingSequence) -> TrainingSequence {
        TrainingSequence(
            tokens: sequence.tokens, targets: sequence.answers.map { .only($0) }, answers: sequence.answers)
    }
}
