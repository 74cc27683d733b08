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
    private var outputs: [String] = []
    private let substitution: SlotSubstitution?
    /// What to say about how the rows were made.
    private(set) var notes: [String] = []
    private let writer: TrainingRows

    /// - Parameters:
    ///   - answers: the teacher's, to the gold, the unlabelled and the validation inputs; those that are missing are done
    ///     without.
    ///   - sharesTokens: whether the teacher's tokens are the student's.
    init(_ data: Dataset, vocabulary: StudentVocabulary, answers: [Labelled], sharesTokens: Bool, seed: UInt64) throws {
        writer = TrainingRows(vocabulary: vocabulary)
        substitution = SlotSubstitution(
            data.train, kind: vocabulary.format.kind, lowercases: vocabulary.format.lowercases,
            words: vocabulary.words)
        let given = Dictionary(answers.map { ($0.input, $0.answer) }, uniquingKeysWith: { first, _ in first })
        let unlabelled: [Labelled] = data.inputs.compactMap { input in
            guard let answer = given[input], !answer.output.isEmpty,
                answer.tokens.count <= vocabulary.format.maximumAnswerTokens
            else { return nil }
            return Labelled(input: input, answer: answer)
        }
        if vocabulary.format.kind == .label, sharesTokens, !given.isEmpty {
            try addVoted(data, vocabulary: vocabulary, given: given, unlabelled: unlabelled, seed: seed)
            return
        }
        for example in data.train {
            let answer = sharesTokens ? given[example.input] : nil
            add(try writer.row(example.input, answer: example.output, teacher: answer), example.input, example.output)
        }
        for row in unlabelled {
            add(
                try writer.row(
                    row.input, answer: row.answer.output,
                    teacher: sharesTokens || !row.answer.alternatives.isEmpty ? row.answer : nil,
                    weight: Float(max(0.2, row.answer.confidence))), row.input, row.answer.output)
        }
    }

    private mutating func add(_ row: TrainingSequence, _ input: String, _ output: String) {
        rows.append(row)
        inputs.append(input)
        outputs.append(output)
    }

    /// Labels: the teacher's probabilities, and a linear model's where they help.
    private mutating func addVoted(
        _ data: Dataset, vocabulary: StudentVocabulary, given: [String: TaskAnswer], unlabelled: [Labelled],
        seed: UInt64
    ) throws {
        let labels = vocabulary.format.labels
        let tokens = try labels.map { try vocabulary.format.answerTokens($0, tokenizer: vocabulary.tokenizer)[0] }
        let places = Dictionary(uniqueKeysWithValues: zip(tokens, labels.indices))
        func probabilities(_ answer: TaskAnswer) -> [Float] {
            guard let first = answer.alternatives.first else {
                return labels.map { $0 == answer.output ? 1 : 0 }
            }
            var result = [Float](repeating: 0, count: labels.count)
            for (token, p) in zip(first.tokens, first.probabilities) {
                if let place = places[token] { result[place] = p }
            }
            let missing = result.count { $0 == 0 }
            let rest = max(0, 1 - result.reduce(0, +)) / Float(max(1, missing))
            return missing == 0 ? result : result.map { $0 == 0 ? rest : $0 }
        }
        let validation = data.validation.compactMap { example in
            given[example.input].map { (example: example, probabilities: probabilities($0)) }
        }
        let votes = LabelVotes(labels: labels, train: data.train, validation: validation, seed: seed)
        if votes.linearShare > 0 {
            notes.append(
                String(
                    format: "a linear model of the gold has %.0f %% of the say in what the student learns",
                    votes.linearShare * 100))
        }
        let known = data.train.filter { given[$0.input] != nil }
        let mixed = votes.mixed(known, with: known.map { probabilities(given[$0.input]!) }, seed: seed)
        for (example, probabilities) in zip(known, mixed) {
            let soft = SoftTarget(tokens: tokens, probabilities: probabilities)
            add(
                try writer.row(example.input, answer: example.output, soft: soft, share: writer.teacherShare),
                example.input,
                example.output)
        }
        for example in data.train where given[example.input] == nil {
            add(try writer.row(example.input, answer: example.output), example.input, example.output)
        }
        for row in unlabelled {
            let probabilities = votes.mixed(row.input, with: probabilities(row.answer))
            let best = labels[probabilities.indices.max { (probabilities[$0], $1) < (probabilities[$1], $0) }!]
            let soft = SoftTarget(tokens: tokens, probabilities: probabilities)
            add(try writer.row(row.input, answer: best, soft: soft, share: 1), row.input, best)
        }
    }

    /// Whether rows take another form in each pass.
    var varies: Bool { writer.vocabulary.format.kind != .label }

    /// Row `index` in the form of pass `epoch`: copied words exchanged in half of the passes, words cut anew; as it is
    /// where that would have more tokens than `limit`.
    func vary(_ index: Int, epoch: Int, dropout: Double, seed: UInt64, limit: Int) -> TrainingSequence {
        var random = RandomNumbers(
            seed: seed &+ UInt64(index) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(epoch) &* 0xD1B5_4A32_D192_ED03)
        var row = rows[index]
        var input = inputs[index]
        if let substitution, random.uniform() < SlotSubstitution.share,
            let varied = substitution.vary(Example(input: input, output: outputs[index]), random: &random),
            let changed = try? writer.row(varied.input, answer: varied.output, weight: row.weight)
        {
            row = changed
            input = varied.input
        }
        row = (try? writer.recut(row, input: input, dropout: dropout, seed: random.next())) ?? row
        return row.tokens.count <= limit ? row : rows[index]
    }
}
