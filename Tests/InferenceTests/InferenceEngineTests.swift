import Inference
import LanguageModels
import Testing

/// The engine that tasks share, on a small random model.
struct InferenceEngineTests {
    private static let model = try! TinyModels.model(seed: 3)

    private func request(_ number: Int, tokens: Int = 20) -> GenerationRequest {
        GenerationRequest(
            prompt: (0..<20 + number).map { Int32(40 + ($0 * 7 + number) % 80) }, maximumTokens: tokens,
            sampling: SamplingOptions(temperature: 1, seed: UInt64(number)), writesText: true)
    }

    private func idle(_ engine: InferenceEngine) async throws -> Bool {
        for _ in 0..<500 {
            if engine.statistics.pagesInUse == 0, engine.statistics.running == 0 { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test func streamsAreTheWholeAnswers() async throws {
        let expected = try BatchEngine(model: Self.model, pool: TinyModels.pool).answer((0..<20).map { request($0) })
        let engine = InferenceEngine(model: Self.model, pool: TinyModels.pool)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<20 {
                group.addTask {
                    var text = ""
                    var tokens: [Int32] = []
                    for try await part in try engine.generate(self.request(number)) {
                        // Slow readers find the parts they missed joined.
                        if number % 4 == 0 { try await Task.sleep(for: .milliseconds(3)) }
                        text += part.text
                        tokens += part.progress.tokens
                    }
                    #expect(text == expected[number].text && tokens == expected[number].tokens)
                }
            }
            try await group.waitForAll()
        }
        await engine.shutDown()
    }

    @Test func whoeverLetsGoFreesTheMemory() async throws {
        let engine = InferenceEngine(model: Self.model, pool: TinyModels.pool)
        for number in 0..<10 {
            let task = Task { try await engine.answer(request(number, tokens: 450)) }
            let waits = number % 2 == 0
            if waits { try await Task.sleep(for: .milliseconds(2)) }
            task.cancel()
            switch await task.result {
            case .failure(let error): #expect(error is CancellationError)
            // On a busy machine the answer may be there before the cancellation.
            case .success(let result): #expect(waits && result.tokens.count == 450)
            }
            for try await _ in try engine.generate(request(number, tokens: 450)) { break }
        }
        #expect(try await idle(engine))
        #expect(try await engine.answer(request(1)).tokens.count == 20)
    }

    @Test func aStoppedEngineRefuses() async throws {
        let engine = InferenceEngine(model: Self.model, pool: TinyModels.pool)
        let last = try engine.generate(request(2, tokens: 30))
        await engine.shutDown()
        var result: GenerationResult?
        for try await part in last { result = part.result ?? result }
        #expect(result?.tokens.count == 30)
        #expect(throws: InferenceError.self) { try engine.generate(request(1)) }
        await #expect(throws: InferenceError.self) {
            let other = InferenceEngine(model: Self.model, pool: TinyModels.pool)
            _ = try await other.answer(GenerationRequest(prompt: [9999]))
        }
    }
}
