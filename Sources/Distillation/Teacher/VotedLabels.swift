internal import Foundation
internal import Inference
internal import Tokenizers
internal import Training

/// What the teacher, a linear model of the gold and the inputs like it together say to every row a student learns from. The
/// linear model is fitted six times for it, so a run keeps it.
struct VotedLabels: Codable {
    /// How much the linear model counts.
    let linearWeight: Double
    /// The part of the inputs most like each.
    let spreadShare: Float
    /// Probabilities, 32-bit floats as this machine has them, [gold rows then inputs then those made of others, labels].
    private let table: Data

    /// The rows, and what the teacher says to them.
    struct Question {
        let labels: [String]
        /// First token of each label.
        let tokens: [Int32]
        /// Gold that the teacher has answered, too.
        let gold: [Example]
        /// Inputs without gold.
        let inputs: [String]
        /// Inputs made of others.
        let variants: [String]
        /// Inputs the teacher has answered.
        let answered: Set<String>
        fileprivate let goldProbabilities: [[Float]]
        fileprivate let inputProbabilities: [[Float]]
        fileprivate let variantProbabilities: [[Float]]
        fileprivate let validation: [(example: Example, probabilities: [Float])]

        /// - Throws: `TokenizerError` when a label can't be written in tokens.
        init(
            _ data: Dataset, format: TaskFormat, tokenizer: Tokenizer, answers: [String: TaskAnswer],
            unlabelled: [TrainingData.Labelled], varied: [TrainingData.Labelled]
        ) throws {
            let labels = format.labels
            let tokens = try labels.map { try format.answerTokens($0, tokenizer: tokenizer)[0] }
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
            self.labels = labels
            self.tokens = tokens
            gold = data.train.filter { answers[$0.input] != nil }
            goldProbabilities = gold.map { probabilities(answers[$0.input]!) }
            inputs = unlabelled.map(\.input)
            inputProbabilities = unlabelled.map { probabilities($0.answer) }
            variants = varied.map(\.input)
            variantProbabilities = varied.map { probabilities($0.answer) }
            validation = data.validation.compactMap { example in
                answers[example.input].map { (example, probabilities($0)) }
            }
            answered = Set(answers.keys)
        }
    }

    /// Fits the linear model and lets it vote, and then the rows most like each.
    init(_ question: Question, train: [Example], seed: UInt64, compute: Compute) {
        let votes = LabelVotes(labels: question.labels, train: train, validation: question.validation, seed: seed)
        linearWeight = votes.pool.weight
        var real: [Float] = []
        for row in votes.pooled(question.gold, of: train, with: question.goldProbabilities, seed: seed) { real += row }
        for (input, own) in zip(question.inputs, question.inputProbabilities) { real += votes.pooled(input, with: own) }
        var validation: [Float] = []
        for row in question.validation { validation += votes.pooled(row.example.input, with: row.probabilities) }
        var made: [Float] = []
        for (input, own) in zip(question.variants, question.variantProbabilities) {
            made += votes.pooled(input, with: own)
        }
        let table: [Float]
        (spreadShare, table) = Self.spread(real, validation: validation, made: made, question, compute: compute)
        self.table = table.withUnsafeBytes { Data($0) }
    }

    /// Lets rows without gold share their probabilities with those most like them, as much as helps on the validation rows.
    /// Inputs made of others take, but don't give: they need not be good sentences.
    ///
    /// - Parameters:
    ///   - real: probabilities of the gold rows and the inputs, [rows, labels]; `validation` and `made` alike.
    /// - Returns: the share, and `real` and `made` after it.
    private static func spread(
        _ real: [Float], validation: [Float], made: [Float], _ question: Question, compute: Compute
    ) -> (share: Float, table: [Float]) {
        let labels = question.labels.count
        let right = question.validation.map { question.labels.firstIndex(of: $0.example.output) }
        let known = question.gold.compactMap { question.labels.firstIndex(of: $0.output) }
        let sources = (real.count + validation.count) / labels
        let all = real + validation + made
        guard !question.inputs.isEmpty || !made.isEmpty, right.contains(where: { $0 != nil }),
            known.count == question.gold.count, labels > 1, sources > 1, all.count / labels <= LabelSpreading.most
        else { return (0, real + made) }
        let spreading = LabelSpreading(all, labels: labels, sources: sources, compute: compute)
        var best: (share: Float, loss: Double, table: [Float]) = (0, .infinity, all)
        for share in shares {
            let spread = share > 0 ? spreading.probabilities(share: share, known: known) : all
            var loss = 0.0
            for (row, label) in right.enumerated() {
                guard let label else { continue }
                loss -= log(Double(max(spread[real.count + row * labels + label], 1e-6)))
            }
            if loss < best.loss - 1e-9 { best = (share, loss, spread) }
        }
        // Gold has its own label beside this; what the teacher says to it stays.
        let gold = known.count * labels
        return (best.share, Array(real[..<gold] + best.table[gold..<real.count] + best.table.suffix(made.count)))
    }

    /// How much of a row's probabilities the rows like it may have.
    private static let shares: [Float] = [0, 0.3, 0.5, 0.7]

    /// A row's probabilities, in the order of the labels.
    func probabilities(_ row: Int, of count: Int) -> [Float] {
        table.withUnsafeBytes { bytes in
            (0..<count).map { place in
                let offset = (row * count + place) * 4
                return bytes.loadUnaligned(fromByteOffset: offset, as: Float.self)
            }
        }
    }
}
