internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Tokenizers
internal import Training

/// Lets a student write answers while it is being trained: its weights as they are, in 8 bits, in the engine that will
/// serve it.
struct StudentSampler {
    private let engine: BatchEngine
    private let dialogue: TaskDialogue

    /// - Parameter file: where the weights are written; it may go as soon as the sampler is there.
    /// - Throws: `ModelError`, ``TaskError``.
    init(
        _ weights: Parameters, configuration: ModelConfiguration, vocabulary: StudentVocabulary, file: URL,
        pool: WorkerPool
    ) throws {
        let format = vocabulary.format
        let contents = ModelContents(
            configuration: configuration, tokenizer: vocabulary.tokenizer.definition, chatTemplate: nil,
            name: "snapshot", values: { weights.array($0) })
        try GGUFModelWriter.write(contents, type: .q8_0, to: file.path)
        let model = try LanguageModel(
            contentsOf: file.path, contextLength: format.maximumInputTokens + format.maximumAnswerTokens + 8,
            pool: pool)
        dialogue = try TaskDialogue(model: model, format: format)
        engine = BatchEngine(
            model: model, configuration: .init(maximumSequences: 32, maximumBatchTokens: 512), pool: pool)
    }

    /// One drawn answer to each input, the closing token included where the student wrote it.
    ///
    /// - Parameter seeds: one an input; the same seed draws the same answer, whatever else is asked.
    func answers(_ inputs: [String], seeds: [UInt64], temperature: Double) throws -> [[Int32]] {
        let requests = try zip(inputs, seeds).map { input, seed in
            var request = try dialogue.request(input)
            request.sampling = SamplingOptions(temperature: Float(temperature), seed: seed)
            return request
        }
        return try engine.answer(requests).map { dialogue.read($0).tokens }
    }
}
