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

    /// - Parameters:
    ///   - teacher: the teacher's answer to the same input with its distributions; used where it is the same answer.
    ///   - weight: how much the row counts.
    func row(_ input: String, answer: String, teacher: TaskAnswer? = nil, weight: Float = 1) throws -> TrainingSequence
    {
        let tokenizer = vocabulary.tokenizer
        let format = vocabulary.format
        let prompt = try format.prompt(input, tokenizer: tokenizer)
        let tokens = try format.answerTokens(answer, tokenizer: tokenizer)
        var targets = tokens.map { SoftTarget.only($0) }
        if let teacher, Array(tokens.prefix(teacher.tokens.count)) == teacher.tokens {
            for (place, distribution) in teacher.alternatives.enumerated() where place < targets.count {
                let soft = SoftTarget(
                    tokens: distribution.tokens, probabilities: distribution.probabilities, tail: distribution.tail)
                targets[place] = targets[place].mixed(with: soft, weight: teacherShare)
            }
        } else if format.kind == .label, smoothing > 0, format.labels.count > 1 {
            let labels = try format.labels.map { try format.answerTokens($0, tokenizer: tokenizer)[0] }
            let even = SoftTarget(
                tokens: labels, probabilities: labels.map { _ in 1 / Float(labels.count) })
            targets[0] = targets[0].mixed(with: even, weight: smoothing)
        }
        return TrainingSequence(
            tokens: prompt + tokens.dropLast(), targets: targets, answers: tokens, weight: weight)
    }
}
