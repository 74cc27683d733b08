internal import Inference
internal import Tokenizers
internal import Training

/// Writes examples as sequences to train on, with the loss on the answer only.
struct TrainingRows {
    let vocabulary: StudentVocabulary
    /// Probability that labels nobody chose share, where no teacher says more.
    var smoothing: Float = 0.05
    /// The teacher's part in the target; the rest is the answer itself.
    var teacherShare: Float = 0.5
    /// Whether the teacher's part stays beside the target, to be matched by another divergence than cross-entropy.
    var keepsApart = false

    /// - Parameter loss: nil: the cross-entropy to an even mixture.
    init(vocabulary: StudentVocabulary, loss: TaskDefinition.Loss? = nil) {
        self.vocabulary = vocabulary
        guard let loss else { return }
        teacherShare = Float(loss.weight)
        keepsApart = !loss.isMixture
    }

    private func join(_ target: SoftTarget, _ soft: SoftTarget, _ weight: Float) -> SoftTarget {
        keepsApart ? target.beside(soft, weight: weight) : target.mixed(with: soft, weight: weight)
    }

    /// A row whose first target, the label, is `share` of a distribution and the rest of the answer itself.
    func row(_ input: String, answer: String, soft: SoftTarget, share: Float) throws -> TrainingSequence {
        var row = try row(input, answer: answer, weight: 1, smooths: false)
        row.targets[0] = join(row.targets[0], soft, share)
        return row
    }

    /// - Parameters:
    ///   - teacher: the teacher's answer to the same input with its distributions.
    ///   - weight: how much the row counts.
    ///   - smooths: whether labels nobody chose get a little, where no teacher says more.
    func row(
        _ input: String, answer: String, teacher: TaskAnswer? = nil, weight: Float = 1, smooths: Bool = true
    ) throws -> TrainingSequence {
        let tokenizer = vocabulary.tokenizer
        let format = vocabulary.format
        let prompt = try format.prompt(input, tokenizer: tokenizer)
        let tokens = try format.answerTokens(answer, tokenizer: tokenizer)
        var targets = tokens.map { SoftTarget.only($0) }
        if let teacher, !teacher.alternatives.isEmpty {
            // What the teacher expected at each place is known as far as it wrote the same, and at the next one.
            let same = zip(tokens, teacher.tokens).prefix { $0 == $1 }.count
            for (place, distribution) in teacher.alternatives.prefix(min(same + 1, targets.count)).enumerated() {
                let soft = SoftTarget(
                    tokens: distribution.tokens, probabilities: distribution.probabilities, tail: distribution.tail)
                targets[place] = join(targets[place], soft, teacherShare)
            }
        } else if smooths, format.kind == .label, smoothing > 0, format.labels.count > 1 {
            let labels = try format.labels.map { try format.answerTokens($0, tokenizer: tokenizer)[0] }
            let even = SoftTarget(
                tokens: labels, probabilities: labels.map { _ in 1 / Float(labels.count) })
            targets[0] = targets[0].mixed(with: even, weight: smoothing)
        }
        return TrainingSequence(
            tokens: prompt + tokens.dropLast(), targets: targets, answers: tokens, weight: weight)
    }

    /// The same row with its input's words cut anew.
    func recut(_ row: TrainingSequence, input: String, dropout: Double, seed: UInt64) throws -> TrainingSequence {
        var result = row
        let prompt = try vocabulary.format.prompt(
            input, tokenizer: vocabulary.tokenizer, dropout: dropout, seed: seed)
        result.tokens = prompt + row.tokens.suffix(row.targets.count - 1)
        return result
    }
}
