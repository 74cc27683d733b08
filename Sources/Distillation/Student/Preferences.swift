internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Training

/// What a teacher prefers among a student's own answers: kept by the run, because drawing and judging them takes time.
struct Preferences: Codable {
    /// Pairs for direct preference optimisation, or answers to learn.
    var rows: [TrainingSequence] = []
    var inputs = 0
    /// Different answers that were judged.
    var candidates = 0

    /// One input, its different answers, and what the teacher says to each.
    private struct Judged {
        var input: String
        var prompt: [Int32]
        var gold: String?
        var answers: [[Int32]]
        var scores: [[PromptScore]]

        /// log p of each answer, by the teacher.
        var values: [Double] { scores.map { $0.reduce(0) { $0 + ($1.logProbability ?? 0) } } }
    }

    /// Draws answers, lets the teacher judge them by their log-probability, and makes rows of the best and the worst.
    ///
    /// - Parameters:
    ///   - reference: the student before, to whom a pair's log-probabilities are relative.
    ///   - contextLength: rows with more tokens are left out.
    init(
        _ options: TaskDefinition.Preference, data: Dataset, material: TrainingData, writer: TrainingRows,
        sampler: StudentSampler, teacher: TeacherScorer, reference: TrainableDecoder, contextLength: Int, seed: UInt64
    ) throws {
        let format = writer.vocabulary.format
        let tokenizer = writer.vocabulary.tokenizer
        let gold = Dictionary(data.train.map { ($0.input, $0.output) }, uniquingKeysWith: { first, _ in first })
        var seen: Set<String> = []
        var random = RandomNumbers(seed: seed &+ 77)
        let chosen = material.inputs.filter { seen.insert($0).inserted }.shuffled(using: &random)
            .filter { options.method == .dpo || gold[$0] == nil }.prefix(options.inputs)
        inputs = chosen.count
        let asked = chosen.flatMap { [String](repeating: $0, count: options.candidates) }
        let drawn = try sampler.answers(
            asked, seeds: asked.indices.map { seed &+ UInt64($0) &* 0x9E37_79B9_7F4A_7C15 },
            temperature: options.temperature)
        let end = try format.marks(tokenizer).end
        var judged: [Judged] = []
        for (index, input) in chosen.enumerated() {
            var known: Set<[Int32]> = []
            let own = drawn[index * options.candidates..<(index + 1) * options.candidates].filter {
                $0.last == end && known.insert($0).inserted
            }
            judged.append(
                Judged(
                    input: input, prompt: try format.prompt(input, tokenizer: tokenizer), gold: gold[input],
                    answers: Array(own), scores: []))
        }
        let all = judged.flatMap { row in row.answers.map { (row.prompt, $0) } }
        let scores = try teacher.scores(all, alternatives: options.method == .rejection ? 24 : 0)
        candidates = all.count
        var next = 0
        for index in judged.indices {
            let count = judged[index].answers.count
            judged[index].scores = Array(scores[next..<next + count])
            next += count
        }
        switch options.method {
        case .rejection:
            rows = try judged.compactMap { try Self.best($0, writer: writer) }
        case .dpo:
            let pairs = try judged.compactMap {
                try Self.pair($0, margin: options.margin, format: format, writer: writer)
            }
            rows = Self.adding(
                reference,
                to: pairs.filter { pair in
                    max(pair.tokens.count, pair.rejected?.tokens.count ?? 0) <= contextLength
                })
        }
        rows.removeAll { $0.tokens.count > contextLength }
    }

    /// The answer the teacher believes in most, with its distributions.
    private static func best(_ row: Judged, writer: TrainingRows) throws -> TrainingSequence? {
        let values = row.values
        guard let place = values.indices.max(by: { values[$0] < values[$1] }) else { return nil }
        let alternatives = row.scores[place].compactMap(\.alternatives)
        let text = writer.vocabulary.format.answer(row.answers[place], tokenizer: writer.vocabulary.tokenizer)
        return try writer.row(
            row.input, answer: text,
            teacher: TaskAnswer(
                output: text, confidence: min(1, exp(values[place])), inputTokens: row.prompt.count,
                outputTokens: row.answers[place].count, tokens: row.answers[place], alternatives: alternatives))
    }

    /// The best answer, which is the gold where there is one, against the worst.
    private static func pair(
        _ row: Judged, margin: Double, format: TaskFormat, writer: TrainingRows
    ) throws -> TrainingSequence? {
        let tokenizer = writer.vocabulary.tokenizer
        let values = row.values
        let texts = row.answers.map { format.answer($0, tokenizer: tokenizer) }
        let better: (text: String, value: Double)
        if let gold = row.gold {
            better = (gold, .infinity)
        } else {
            guard let place = values.indices.max(by: { values[$0] < values[$1] }) else { return nil }
            better = (texts[place], values[place])
        }
        let worse = values.indices.filter { texts[$0] != better.text && values[$0] < better.value - margin }
        guard let place = worse.min(by: { values[$0] < values[$1] }) else { return nil }
        var result = try writer.row(row.input, answer: better.text)
        result.targets = result.answers.map { .only($0) }
        result.rejected = RejectedAnswer(
            tokens: row.prompt + row.answers[place].dropLast(), answers: row.answers[place], referenceMargin: 0)
        return result
    }

    private static func adding(_ reference: TrainableDecoder, to pairs: [TrainingSequence]) -> [TrainingSequence] {
        var result = pairs
        for start in stride(from: 0, to: pairs.count, by: 16) {
            let places = start..<min(start + 16, pairs.count)
            let better = PreferenceLoss.logProbabilities(reference, Array(pairs[places]))
            let worse = PreferenceLoss.logProbabilities(
                reference,
                pairs[places].map { pair in
                    let rejected = pair.rejected!
                    return TrainingSequence(
                        tokens: rejected.tokens, targets: rejected.answers.map { .only($0) },
                        answers: rejected.answers)
                })
            for (offset, place) in places.enumerated() {
                result[place].rejected!.referenceMargin = better[offset] - worse[offset]
            }
        }
        return result
    }
}
