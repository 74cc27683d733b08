import Foundation
import Inference
import LanguageModels
import Tensors
import Testing
import Tokenizers

/// The real teacher, where it was fetched; tests that need it are skipped otherwise.
enum RealTeacher {
    static let path: String? = {
        guard let entry = ModelStore.catalogue.first, ModelStore().isInstalled(entry) else { return nil }
        return ModelStore().path(of: entry)
    }()
}

/// Invariants of the decoder on the real teacher's weights.
@Suite(.enabled(if: RealTeacher.path != nil, "the teacher is not here"), .serialized)
struct RealModelTests {
    private static let pool = WorkerPool()
    private static let model = RealTeacher.path.flatMap {
        try? LanguageModel(contentsOf: $0, contextLength: 512, pool: pool)
    }

    private let prompts = [
        "The capital of France is", "Once upon a time", "def fibonacci(n):\n", "Water boils at", "1, 2, 3, 4,",
    ]

    private func request(_ prompt: String, tokens: Int = 16) throws -> GenerationRequest {
        let model = try #require(Self.model)
        return GenerationRequest(prompt: model.tokenizer.encode(prompt), maximumTokens: tokens)
    }

    @Test func itKnowsParis() throws {
        let model = try #require(Self.model)
        let engine = BatchEngine(model: model, pool: Self.pool)
        let answer = try engine.answer([request(prompts[0], tokens: 1)])[0]
        #expect(model.tokenizer.decode(answer.tokens) == " Paris")
    }

    @Test func batchedIsSingle() throws {
        let model = try #require(Self.model)
        let together = BatchEngine(
            model: model, configuration: .init(maximumSequences: 8, maximumBatchTokens: 16), pool: Self.pool)
        let batched = try together.answer(prompts.map { try request($0) })
        for (prompt, answer) in zip(prompts, batched) {
            let alone = BatchEngine(model: model, pool: Self.pool)
            #expect(try alone.answer([request(prompt)]) == [answer])
        }
    }

    @Test func cachedIsUncached() throws {
        let model = try #require(Self.model)
        let engine = BatchEngine(model: model, pool: Self.pool)
        let tokens = model.tokenizer.encode("The three laws of thermodynamics say that energy")
        let whole = try engine.answer([GenerationRequest(prompt: tokens, maximumTokens: 12)])[0]
        let prefix = try engine.prefix(Array(tokens.prefix(6)))
        let shared = try engine.answer([
            GenerationRequest(prompt: Array(tokens.dropFirst(6)), prefix: prefix, maximumTokens: 12)
        ])[0]
        #expect(shared.tokens == whole.tokens)
        // Generating all over again from the prompt and a part of the answer goes on the same way.
        let later = try engine.answer([GenerationRequest(prompt: tokens + whole.tokens.prefix(5), maximumTokens: 7)])[0]
        #expect(later.tokens == Array(whole.tokens.dropFirst(5)))
    }

    @Test func choicesAreChosenAmong() throws {
        let model = try #require(Self.model)
        let engine = BatchEngine(model: model, pool: Self.pool)
        let choices = [" Paris", " Berlin", " Rome"].map { model.tokenizer.encode($0) }
        var request = try request(prompts[0])
        request.choices = ChoiceTree(choices, end: 2)
        request.alternatives = 3
        let answer = try engine.answer([request])[0]
        #expect(answer.choice == 0)
        #expect(answer.probability > 0.5)
        let sum = answer.alternatives[0].probabilities.reduce(0, +) + answer.alternatives[0].tail
        #expect(abs(sum - 1) < 1e-4)
    }

    @Test func wrongRequestsAreRefused() throws {
        let model = try #require(Self.model)
        let engine = BatchEngine(model: model, pool: Self.pool)
        #expect(throws: InferenceError.self) { try engine.answer([GenerationRequest(prompt: [])]) }
        #expect(throws: InferenceError.self) { try engine.answer([GenerationRequest(prompt: [-1])]) }
        #expect(throws: InferenceError.self) { try engine.answer([GenerationRequest(prompt: [1 << 20])]) }
        #expect(throws: InferenceError.self) {
            try engine.answer([GenerationRequest(prompt: [Int32](repeating: 5, count: 600))])
        }
        #expect(engine.isIdle)
    }
}
