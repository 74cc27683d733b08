internal import Foundation
internal import Inference
internal import Tokenizers

/// What the teacher and a linear model of the gold together say to every row a student learns from. The linear
/// model is fitted six times for it, so a run keeps it.
struct VotedLabels: Codable {
    /// The linear model's part.
    let linearShare: Float
    /// Probabilities, 32-bit little-endian floats, [gold rows then inputs, labels].
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
        /// Inputs the teacher has answered.
        let answered: Set<String>
        fileprivate let goldProbabilities: [[Float]]
        fileprivate let inputProbabilities: [[Float]]
        fileprivate let validation: [(example: Example, probabilities: [Float])]

        /// - Throws: `TokenizerError` when a label can't be written in tokens.
        init(
            _ data: Dataset, format: TaskFormat, tokenizer: Tokenizer, answers: [String: TaskAnswer],
            unlabelled: [TrainingData.Labelled]
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
            validation = data.validation.compactMap { example in
                answers[example.input].map { (example, probabilities($0)) }
            }
            answered = Set(answers.keys)
        }
    }

    /// Fits the linear model and lets it vote.
    init(_ question: Question, train: [Example], seed: UInt64) {
        let votes = LabelVotes(labels: question.labels, train: train, validation: question.validation, seed: seed)
        linearShare = votes.linearShare
        var table = Data()
        func add(_ row: [Float]) {
            for value in row { withUnsafeBytes(of: value.bitPattern.littleEndian) { table.append(contentsOf: $0) } }
        }
        for row in votes.mixed(question.gold, with: question.goldProbabilities, seed: seed) { add(row) }
        for (input, own) in zip(question.inputs, question.inputProbabilities) { add(votes.mixed(input, with: own)) }
        self.table = table
    }

    /// A row's probabilities, in the order of the labels.
    func probabilities(_ row: Int, of count: Int) -> [Float] {
        table.withUnsafeBytes { bytes in
            (0..<count).map { place in
                let offset = (row * count + place) * 4
                return Float(
                    bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            }
        }
    }
}
