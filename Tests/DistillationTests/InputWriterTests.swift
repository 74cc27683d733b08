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

    private func write(
        _ gold: [Example], kind: TaskDefinition.OutputKind = .label, count: Int = 30, seed: UInt64,
        keep: (Int, () throws -> [String]) async throws -> [String] = { try $1() }
    ) async throws -> [String] {
        let folder = try TemporaryFolder()
        let path = folder.url.appendingPathComponent("tiny.gguf").path
        try TinyModel.write(to: path)
        let pool = WorkerPool(threadCount: 2)
        let model = try LanguageModel(contentsOf: path, contextLength: 1024, pool: pool)
        return try await InputWriter(model: model, kind: kind, gold: gold, pool: pool)
            .write(count, seed: seed, progress: { _ in }, keep: keep)
    }

    /// A model of drawn weights writes noise, now and then with an end.
    @Test func theSameSeedWritesTheSameInputsAndNoneTwice() async throws {
        let inputs = try await write(Self.gold, seed: 3)
        #expect(!inputs.isEmpty && inputs.count <= 30)
        #expect(try await inputs == write(Self.gold, seed: 3))
        #expect(try await inputs != write(Self.gold, seed: 4))
        let normal = inputs.map(Self.normal)
        #expect(Set(normal).count == normal.count)
        #expect(Set(normal).isDisjoint(with: Self.gold.map { Self.normal($0.input) }))
        #expect(inputs.allSatisfy { !$0.contains("\n") && $0.split(whereSeparator: \.isWhitespace).count <= 4 })
    }

    /// Batches that were written before a kill are not written again, and the inputs are those of a run left alone.
    @Test func aKilledWriterGoesOn() async throws {
        struct Killed: Error {}
        let whole = try await write(Self.gold, count: 200, seed: 3)
        var kept: [Int: [String]] = [:]
        await #expect(throws: Killed.self) {
            try await write(Self.gold, count: 200, seed: 3) { first, write in
                if first > 0 { throw Killed() }
                kept[first] = try write()
                return kept[first]!
            }
        }
        #expect(kept.keys.map { $0 } == [0])
        var written: [Int] = []
        let resumed = try await write(Self.gold, count: 200, seed: 3) { first, write in
            if let lines = kept[first] { return lines }
            written.append(first)
            return try write()
        }
        #expect(resumed == whole && !written.isEmpty && !written.contains(0))
    }

    /// Six of these do not fit the model's 1,024 tokens, of which each byte is one.
    @Test func listsOfLongInputsAreShorter() async throws {
        let long = Self.gold.map { Example(input: $0.input + String(repeating: " again", count: 40), output: "a") }
        _ = try await write(long, kind: .text, seed: 3)
        let tooLong = Self.gold.map { Example(input: String(repeating: "x", count: 900) + $0.input, output: "a") }
        #expect(try await write(tooLong, kind: .text, seed: 3).isEmpty)
    }

    @Test func whereThereIsNoListNothingIsWritten() async throws {
        #expect(try await write([Example(input: "two\nlines", output: "a")], kind: .text, seed: 1).isEmpty)
        #expect(try await write([Example(input: "alone", output: "a")], seed: 1).isEmpty)
    }

    @Test func headingsAreWords() {
        #expect(InputWriter.heading("card_not-working") == "Messages about card not working:\n")
    }

    @Test(arguments: ["written", "varied"])
    func inputsThatAreMadeNeedATeacherThatIsAdapted(key: String) throws {
        let folder = FileManager.default.temporaryDirectory
        let yaml = "name: x\noutput: {kind: label}\ndata: {gold: g.jsonl, \(key): 5}\n"
        let error = #expect(throws: TaskError.self) {
            try TaskDefinition(yaml: yaml, file: "task.yaml", folder: folder)
        }
        #expect(error?.line == 3 && error?.message.contains("data.\(key)") == true)
    }
}
