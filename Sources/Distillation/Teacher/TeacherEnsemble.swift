internal import Inference
internal import LanguageModels
internal import Tensors

/// Teachers that were fitted to the same gold from different seeds, and answer together.
///
/// A label is the one with the highest mean probability (deep ensembles, Lakshminarayanan et al., arXiv 1612.01474);
/// of texts and JSON the answer that most of the probability is for, its mean over all members being the confidence.
package struct TeacherEnsemble {
    private let members: [TaskModel]

    init(_ members: [TaskModel]) {
        precondition(!members.isEmpty)
        self.members = members
    }

    /// - Throws: `ModelError`, ``TaskError``.
    init(_ paths: [String], format: TaskFormat, pool: WorkerPool) throws {
        self.init(
            try paths.map { path in
                let model = try LanguageModel(
                    contentsOf: path, contextLength: format.maximumInputTokens + format.maximumAnswerTokens + 8,
                    pool: pool)
                return try TaskModel(model: model, format: format, pool: pool)
            })
    }

    /// Parameters and bytes of all members: each of them reads every request.
    var parameters: Int { members.reduce(0) { $0 + $1.model.configuration.parameterCount } }
    var activeParameters: Int { members.reduce(0) { $0 + $1.model.configuration.activeParameterCount } }
    var bytes: Int { members.reduce(0) { $0 + $1.model.weightBytes } }

    /// Answers inputs in their order.
    ///
    /// - Parameter alternatives: how many tokens of each distribution to keep.
    func answer(
        _ inputs: [String], alternatives: Int = 0, progress: ((Int) throws -> Void)? = nil
    ) throws -> [TaskAnswer] {
        guard members.count > 1 else {
            return try members[0].answer(inputs, alternatives: alternatives, progress: progress)
        }
        let format = members[0].format
        let needed = format.kind == .label ? max(alternatives, format.labels.count) : alternatives
        let tokenizer = members[0].model.tokenizer
        let names = try Dictionary(
            format.labels.map { (try format.answerTokens($0, tokenizer: tokenizer)[0], $0) },
            uniquingKeysWith: { first, _ in first })
        var given: [[TaskAnswer]] = []
        for (place, member) in members.enumerated() {
            given.append(
                try member.answer(inputs, alternatives: needed) { done in
                    try progress?((place * inputs.count + done) / members.count)
                })
        }
        return inputs.indices.map { row in
            let answers = given.map { $0[row] }
            return format.kind == .label
                ? Self.mean(answers, names: names) : Self.majority(answers)
        }
    }

    /// The label of the highest mean probability.
    ///
    /// - Parameter names: the labels by their tokens.
    package static func mean(_ answers: [TaskAnswer], names: [Int32: String]) -> TaskAnswer {
        var sums: [Int32: Float] = [:]
        for answer in answers {
            guard let first = answer.alternatives.first else { continue }
            for (token, probability) in zip(first.tokens, first.probabilities) {
                sums[token, default: 0] += probability / Float(answers.count)
            }
        }
        // Equal ones in the order of their tokens, so that the same answers always give the same one.
        let ranked = sums.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        guard let best = ranked.first, let name = names[best.key] else { return majority(answers) }
        var result = answers[0]
        result.output = name
        result.confidence = Double(best.value)
        result.tokens = [best.key] + answers[0].tokens.dropFirst()
        result.alternatives = [
            TokenDistribution(
                tokens: ranked.map(\.key), probabilities: ranked.map(\.value),
                tail: max(0, 1 - ranked.reduce(0) { $0 + $1.value }))
        ]
        return result.costing(answers)
    }

    /// The answer that has most of the probability, as the member gave it that is surest of it.
    package static func majority(_ answers: [TaskAnswer]) -> TaskAnswer {
        var sums: [String: Double] = [:]
        for answer in answers { sums[answer.output, default: 0] += answer.confidence / Double(answers.count) }
        var best = answers[0]
        for answer in answers {
            let (own, highest) = (sums[answer.output] ?? 0, sums[best.output] ?? 0)
            if own > highest || (own == highest && answer.output == best.output && answer.confidence > best.confidence)
            {
                best = answer
            }
        }
        best.confidence = sums[best.output] ?? 0
        return best.costing(answers)
    }
}

extension TaskAnswer {
    /// The same answer with the tokens that all of `answers` took.
    fileprivate func costing(_ answers: [TaskAnswer]) -> TaskAnswer {
        var result = self
        result.inputTokens = answers.reduce(0) { $0 + $1.inputTokens }
        result.outputTokens = answers.reduce(0) { $0 + $1.outputTokens }
        return result
    }
}
