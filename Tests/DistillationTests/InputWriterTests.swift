import Distillation
import Foundation
import LanguageModels
import Tensors
import TestSupport
import Testing

/// Inputs that a model writes after those of the gold.
@Suite struct InputWriterTests {
    private static let gold = (0..<40).map { Example(input: "ask \($0) for it", output: $0 % 2 == 0 ? "a_b" : "c") }

    /// As rows are compared.
    private static func normal(_ input: String) -> String {
        input.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    private func write(_ gold: [Example], kind: TaskDefinition.OutputKind = .label, seed: UInt64) throws -> [String] {
        let folder = try TemporaryFolder()
        let path = folder.url.appendingPathComponent("tiny.gguf").path
        try TinyModel.write(to: path)
        let pool = WorkerPool(threadCount: 2)
        let model = try LanguageModel(contentsOf: path, contextLength: 1024, pool: pool)
        return try InputWriter(model: model, kind: kind, gold: gold, pool: pool).write(30, seed: seed) { _ in }
    }

    /// A model of drawn weights writes noise, now and then with an end.
    @Test func theSameSeedWritesTheSameInputsAndNoneTwice() throws {
        let inputs = try write(Self.gold, seed: 3)
        #expect(!inputs.isEmpty && inputs.count <= 30)
        #expect(try inputs == write(Self.gold, seed: 3))
        #expect(try inputs != write(Self.gold, seed: 4))
        let normal = inputs.map(Self.normal)
        #expect(Set(normal).count == normal.count)
        #expect(Set(normal).isDisjoint(with: Self.gold.map { Self.normal($0.input) }))
        #expect(inputs.allSatisfy { !$0.contains("\n") && $0.split(whereSeparator: \.isWhitespace).count <= 4 })
    }

    /// Six of these do not fit the model's 1,024 tokens, of which each byte is one.
    @Test func listsOfLongInputsAreShorter() throws {
        let long = Self.gold.map { Example(input: $0.input + String(repeating: " again", count: 40), output: "a") }
        _ = try write(long, kind: .text, seed: 3)
        let tooLong = Self.gold.map { Example(input: String(repeating: "x", count: 900) + $0.input, output: "a") }
        #expect(try write(tooLong, kind: .text, seed: 3).isEmpty)
    }

    @Test func whereThereIsNoListNothingIsWritten() throws {
        #expect(try write([Example(input: "two\nlines", output: "a")], kind: .text, seed: 1).isEmpty)
        #expect(try write([Example(input: "alone", output: "a")], seed: 1).isEmpty)
    }

    @Test func headingsAreWords() {
        #expect(InputWriter.heading("card_not-working") == "Messages about card not working:\n")
    }

    @Test func writtenInputsNeedATeacherThatIsAdapted() throws {
        let folder = FileManager.default.temporaryDirectory
        let yaml = "name: x\noutput: {kind: label}\ndata: {gold: g.jsonl, written: 5}\n"
        let error = #expect(throws: TaskError.self) {
            try TaskDefinition(yaml: yaml, file: "task.yaml", folder: folder)
        }
        #expect(error?.line == 3 && error?.message.contains("data.written") == true)
    }
}
