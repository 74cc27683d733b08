internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Training

/// Rows of on-policy distillation (GKD, arXiv 2306.13649, algorithm 1): the student answers, the teacher says at each
/// place what it would have expected, and the student is brought nearer to that by a ``Divergence``.
///
/// Answers are drawn a round at a time from the weights as they are at its beginning, and kept in a file, so that a run
/// that was stopped within a round goes on with the same ones.
final class OnPolicyRows {
    /// What a round's file holds.
    private struct Stored: Codable {
        var key: String
        var round: Int
        var answers: [[Int32]]
    }

    /// Tokens of the teacher's distribution that are kept; the rest is its tail.
    private static let alternatives = 32

    private let options: TaskDefinition.OnPolicy
    private let material: TrainingData
    private let vocabulary: StudentVocabulary
    private let teacher: TeacherScorer
    private let seed: UInt64
    private let file: URL
    private let key: String
    private let sampler: () throws -> StudentSampler
    private var rows: [Trainer.Place: TrainingSequence] = [:]

    /// - Parameters:
    ///   - file: where the round's answers are kept.
    ///   - key: what the run is made of.
    ///   - sampler: the student as it is.
    init(
        _ options: TaskDefinition.OnPolicy, material: TrainingData, vocabulary: StudentVocabulary,
        teacher: TeacherScorer, seed: UInt64, file: URL, key: String, sampler: @escaping () throws -> StudentSampler
    ) {
        self.options = options
        self.material = material
        self.vocabulary = vocabulary
        self.teacher = teacher
        self.seed = seed
        self.file = file
        self.key = key
        self.sampler = sampler
    }

    /// Draws and scores the answers of a round.
    func prepare(_ round: Int, _ places: [Trainer.Place]) throws {
        let own = places.filter(isOwn)
        let answers = try stored(round, count: own.count) ?? draw(own)
        try JSONEncoder().encode(Stored(key: key, round: round, answers: answers)).write(to: file, options: .atomic)
        let written = try zip(own, answers).compactMap { place, answer in
            answer.isEmpty
                ? nil
                : (
                    place: place,
                    prompt: try vocabulary.format.prompt(
                        material.inputs[place.index], tokenizer: vocabulary.tokenizer), answer: answer
                )
        }
        let scores = try teacher.scores(
            written.map { ($0.prompt, $0.answer) }, alternatives: Self.alternatives)
        rows = [:]
        for (row, scores) in zip(written, scores) {
            let targets = zip(row.answer, scores).map { token, score in
                let soft = score.alternatives.map {
                    SoftTarget(tokens: $0.tokens, probabilities: $0.probabilities, tail: $0.tail)
                }
                return SoftTarget.only(token).beside(soft ?? .only(token), weight: 1)
            }
            rows[row.place] = TrainingSequence(
                tokens: row.prompt + row.answer.dropLast(), targets: targets, answers: row.answer)
        }
    }

    /// The row at a place of the round; nil where the data's own is to be taken.
    subscript(place: Trainer.Place) -> TrainingSequence? { rows[place] }

    func forget() { try? FileManager.default.removeItem(at: file) }

    private func isOwn(_ place: Trainer.Place) -> Bool {
        var random = RandomNumbers(seed: number(place) &+ 1)
        return Double(random.uniform()) < options.share
    }

    private func number(_ place: Trainer.Place) -> UInt64 {
        seed &+ UInt64(place.index) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(place.epoch) &* 0xD1B5_4A32_D192_ED03
    }

    private func draw(_ places: [Trainer.Place]) throws -> [[Int32]] {
        try sampler().answers(
            places.map { material.inputs[$0.index] }, seeds: places.map(number), temperature: options.temperature)
    }

    private func stored(_ round: Int, count: Int) -> [[Int32]]? {
        guard let data = try? Data(contentsOf: file),
            let stored = try? JSONDecoder().decode(Stored.self, from: data), stored.key == key, stored.round == round,
            stored.answers.count == count
        else { return nil }
        return stored.answers
    }
}
