internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors

/// What an adapted teacher expects at each place of an answer that somebody else wrote, in one pass over it.
struct TeacherScorer {
    private let engine: BatchEngine

    /// - Throws: `ModelError`.
    init(path: String, format: TaskFormat, pool: WorkerPool) throws {
        let model = try LanguageModel(
            contentsOf: path, contextLength: format.maximumInputTokens + format.maximumAnswerTokens + 8, pool: pool)
        engine = BatchEngine(
            model: model, configuration: .init(maximumSequences: 32, maximumBatchTokens: 512), pool: pool)
    }

    /// - Parameters:
    ///   - rows: the tokens of a request and of an answer to it, the closing one included.
    ///   - alternatives: how many tokens of each distribution to keep.
    /// - Returns: for each row a score for each token of the answer.
    /// - Throws: `InferenceError` when a row does not fit the context.
    func scores(_ rows: [(prompt: [Int32], answer: [Int32])], alternatives: Int) throws -> [[PromptScore]] {
        var places: [Int: Int] = [:]
        for (place, row) in rows.enumerated() {
            let request = GenerationRequest(
                prompt: row.prompt + row.answer, maximumTokens: 1, alternatives: alternatives, scoresPrompt: true)
            places[try engine.submit(request)] = place
        }
        var result = [[PromptScore]](repeating: [], count: rows.count)
        while !engine.isIdle {
            for case .progress(let number, let progress) in engine.step() where !progress.promptScores.isEmpty {
                guard let place = places[number] else { continue }
                result[place] = Array(progress.promptScores.suffix(rows[place].answer.count))
            }
        }
        return result
    }
}
