import Foundation
import Inference
import LanguageModels
import Tensors
import Testing
import Tokenizers

/// Our decoder against llama.cpp's on the same file (Tests/Fixtures/llama_reference.py).
@Suite(.enabled(if: RealTeacher.path != nil, "the teacher is not here"), .serialized)
struct LlamaReferenceTests {
    private struct Reference: Decodable {
        struct Row: Decodable {
            var prompt: String
            var tokens: [Int32]
            var margins: [Float]
        }
        var text: String
        var window: Int
        var textTokens: Int
        var loss: Double
        var prompts: [Row]
    }

    private let reference: Reference
    private let pool = WorkerPool()

    init() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("llama.json")
        reference = try JSONDecoder().decode(Reference.self, from: Data(contentsOf: file))
    }

    private func model(_ precision: LanguageModel.Precision) throws -> LanguageModel {
        try LanguageModel(
            contentsOf: try #require(RealTeacher.path), precision: precision, contextLength: 1024, pool: pool)
    }

    /// Mean loss in nats a token.
    private func loss(_ model: LanguageModel) throws -> Double {
        let license = URL(filePath: #filePath).appending(path: "../../../LICENSE").standardizedFileURL
        let text = reference.text + "\n\n" + (try String(contentsOf: license, encoding: .utf8))
        let tokens = model.tokenizer.encode(text)
        #expect(tokens.count == reference.textTokens)
        let pass = DecoderPass(model: model, pool: pool)
        let size = model.configuration.vocabularySize
        var sum = 0.0
        var count = 0
        for start in stride(from: 0, to: tokens.count, by: reference.window) {
            let window = Array(tokens[start..<min(start + reference.window, tokens.count)])
            let logits = pass.run([
                SequenceInput(cache: SequenceCache(model.configuration), tokens: window, rows: .all)
            ])
            for place in 0..<window.count - 1 {
                let row = UnsafeBufferPointer(rebasing: logits[place * size..<(place + 1) * size])
                let top = Double(row.max()!)
                let total = row.reduce(0.0) { $0 + exp(Double($1) - top) }
                sum -= Double(row[Int(window[place + 1])]) - top - log(total)
                count += 1
            }
        }
        return sum / Double(count)
    }

    @Test func perplexityIsWithinHalfAPercent() throws {
        let packed = try loss(model(.packed))
        let exact = try loss(model(.float32))
        print("loss: llama.cpp \(reference.loss), ours packed \(packed), ours in fp32 \(exact)")
        #expect(abs(exp(packed - reference.loss) - 1) < 0.005)
        #expect(abs(exp(exact - reference.loss) - 1) < 0.005)
    }

    /// Where the continuations part, llama.cpp's two highest logits were nearly tied.
    @Test func greedyContinuationsPartOnlyAtNearTies() throws {
        let model = try model(.packed)
        let engine = BatchEngine(model: model, pool: pool)
        let answers = try engine.answer(
            reference.prompts.map { GenerationRequest(prompt: model.tokenizer.encode($0.prompt), maximumTokens: 48) })
        var same = 0
        for (row, answer) in zip(reference.prompts, answers) {
            guard let place = row.tokens.indices.first(where: { row.tokens[$0] != answer.tokens[$0] }) else {
                same += 1
                continue
            }
            print("'\(row.prompt)' parts at token \(place), margin \(row.margins[place])")
            #expect(row.margins[place] < 0.5, "\(row.prompt)")
        }
        print("\(same) of \(answers.count) continuations are the same")
    }
}
