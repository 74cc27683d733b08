internal import Foundation
internal import Inference
internal import Tensors
internal import Tokenizers
internal import Training

/// What a student learns from: the gold, and what the teacher said to the other inputs.
struct TrainingData {
    /// An input and the teacher's answer to it.
    struct Labelled {
        var input: String
        var answer: TaskAnswer
    }

    private(set) var rows: [TrainingSequence] = []
    /// The text each row was made from.
    private(set) var inputs: [String] = []
    /// The answer each row teaches.
    private(set) var outputs: [String] = []
    private let substitution: SlotSubstitution?
    private let noise: SpellingNoise?
    /// What to say about how the rows were made.
    private(set) var notes: [String] = []
    private let writer: TrainingRows

    /// Probability that a merge of the tokenizer is left out where rows vary.
    private static let mergeDropout = 0.05

    /// The gold alone.
    ///
    /// - Throws: ``TaskError``, `TokenizerError`.
    init(gold data: Dataset, vocabulary: StudentVocabulary) throws {
        self.init(empty: data, vocabulary: vocabulary)
        for example in data.train {
            add(try writer.row(example.input, answer: example.output), example.input, example.output)
        }
    }

    /// No rows yet.
    private init(empty data: Dataset, vocabulary: StudentVocabulary, loss: TaskDefinition.Loss? = nil) {
        writer = TrainingRows(vocabulary: vocabulary, loss: loss)
        substitution = SlotSubstitution(
            data.train, kind: vocabulary.format.kind, lowercases: vocabulary.format.lowercases,
            words: vocabulary.words, schema: vocabulary.format.schema)
        noise =
            vocabulary.format.kind == .text
            ? SpellingNoise(data.train, lowercases: vocabulary.format.lowercases) : nil
    }

    /// - Parameters:
    ///   - answers: the teacher's, to the gold, the unlabelled and the validation inputs; those that are missing are done
    ///     without.
    ///   - sharesTokens: whether the answers come with distributions over the student's tokens, to the gold as well.
    ///   - loss: how the teacher's distributions are taken in.
    ///   - votes: what a linear model adds to the teacher's labels; it is asked for where that can be.
    init(
        _ data: Dataset, vocabulary: StudentVocabulary, answers: [Labelled], sharesTokens: Bool,
        loss: TaskDefinition.Loss? = nil,
        votes: (VotedLabels.Question) async throws -> VotedLabels
    ) async throws {
        self.init(empty: data, vocabulary: vocabulary, loss: loss)
        let given = Dictionary(answers.map { ($0.input, $0.answer) }, uniquingKeysWith: { first, _ in first })
        func labelled(_ inputs: [String]) -> [Labelled] {
            inputs.compactMap { input in
                guard let answer = given[input], !answer.output.isEmpty,
                    answer.tokens.count <= vocabulary.format.maximumAnswerTokens
                else { return nil }
                return Labelled(input: input, answer: answer)
            }
        }
        let unlabelled = labelled(data.inputs)
        if vocabulary.format.kind == .label, sharesTokens, !given.isEmpty {
            let question = try VotedLabels.Question(
                data, format: vocabulary.format, tokenizer: vocabulary.tokenizer, answers: given,
                unlabelled: unlabelled, varied: labelled(data.variants))
            try addVoted(data, question: question, votes: try await votes(question))
            return
        }
        for example in data.train {
            let answer = sharesTokens ? given[example.input] : nil
            add(try writer.row(example.input, answer: example.output, teacher: answer), example.input, example.output)
        }
        for row in unlabelled + labelled(data.variants) {
            add(
                try writer.row(
                    row.input, answer: row.answer.output,
                    teacher: sharesTokens || !row.answer.alternatives.isEmpty ? row.answer : nil,
                    weight: Float(max(0.2, row.answer.confidence))), row.input, row.answer.output)
        }
    }

    /// Puts a teacher's last hidden states beside the targets.
    ///
    /// - Parameter directions: `HiddenStateLoss.dimensions` bytes for each target, row after row.
    mutating func attach(hidden directions: Data) {
        precondition(
            directions.count == HiddenStateLoss.dimensions * rows.reduce(0) { $0 + $1.targets.count },
            "\(directions.count) bytes of hidden states do not fit \(rows.count) rows")
        var rest = directions[...]
        for row in rows.indices {
            for place in rows[row].targets.indices {
                rows[row].targets[place].hidden = rest.prefix(HiddenStateLoss.dimensions).map { Int8(bitPattern: $0) }
                rest = rest.dropFirst(HiddenStateLoss.dimensions)
            }
        }
    }

    private mutating func add(_ row: TrainingSequence, _ input: String, _ output: String) {
        rows.append(row)
        inputs.append(input)
        outputs.append(output)
    }

    /// Labels: the teacher's probabilities, and a linear model's where they help.
    private mutating func addVoted(_ data: Dataset, question: VotedLabels.Question, votes: VotedLabels) throws {
        if votes.linearWeight > 0 {
            notes.append(
                String(
                    format:
                        "labels to learn: the teacher's log-probabilities + %.2f × the margins of a linear model of the gold",
                    votes.linearWeight))
        }
        if votes.spreadShare > 0 {
            notes.append(
                String(
                    format: "%.0f %% of what is said to a row without gold is what is said to those most like it",
                    votes.spreadShare * 100))
        }
        let labels = question.labels
        for (row, example) in question.gold.enumerated() {
            let soft = SoftTarget(tokens: question.tokens, probabilities: votes.probabilities(row, of: labels.count))
            add(
                try writer.row(example.input, answer: example.output, soft: soft, share: writer.teacherShare),
                example.input, example.output)
        }
        for example in data.train where !question.answered.contains(example.input) {
            add(try writer.row(example.input, answer: example.output), example.input, example.output)
        }
        for (row, input) in (question.inputs + question.variants).enumerated() {
            let probabilities = votes.probabilities(question.gold.count + row, of: labels.count)
            let best = labels[probabilities.indices.max { (probabilities[$0], $1) < (probabilities[$1], $0) }!]
            let soft = SoftTarget(tokens: question.tokens, probabilities: probabilities)
            add(try writer.row(input, answer: best, soft: soft, share: 1), input, best)
        }
    }

    /// Gives rows another form in each pass; nil: they are always the same.
    ///
    /// - Parameter limit: the most tokens of a row.
    func variant(seed: UInt64, limit: Int) -> Trainer.Variant? {
        guard !writer.vocabulary.format.kind.hasLabels else { return nil }
        return { index, epoch in
            vary(index, epoch: epoch, dropout: Self.mergeDropout, seed: seed, limit: limit)
        }
    }

    /// Row `index` in the form of pass `epoch`: copied words exchanged in half of the passes, words misspelt in half of
    /// them where answers put them right, words cut anew; as it is where that would have more tokens than `limit`.
    private func vary(_ index: Int, epoch: Int, dropout: Double, seed: UInt64, limit: Int) -> TrainingSequence {
        var random = RandomNumbers(
            seed: seed &+ UInt64(index) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(epoch) &* 0xD1B5_4A32_D192_ED03)
        var row = rows[index]
        var example = Example(input: inputs[index], output: outputs[index])
        if let substitution, random.uniform() < SlotSubstitution.share,
            let varied = substitution.vary(example, random: &random),
            let changed = try? writer.row(varied.input, answer: varied.output, weight: row.weight)
        {
            row = changed
            example = varied
        }
        // The answer stays, and with it what the teacher said.
        if let noise, random.uniform() < SpellingNoise.share, let input = noise.vary(example, random: &random) {
            example.input = input
        }
        row = (try? writer.recut(row, input: example.input, dropout: dropout, seed: random.next())) ?? row
        return row.tokens.count <= limit ? row : rows[index]
    }
}
