import Foundation
import LanguageModels
import Testing
import Tokenizers

/// The real teacher, where it was fetched; tests that need it are skipped otherwise.
enum RealTeacher {
    static let path: String? = {
        guard let entry = ModelStore.catalogue.first, ModelStore().isInstalled(entry) else { return nil }
        return ModelStore().path(of: entry)
    }()
}

@Suite(.enabled(if: RealTeacher.path != nil, "the teacher is not here"))
struct ReferenceIDsTests {
    private struct Row: Decodable {
        var text: String
        var ids: [Int32]
    }

    private func rows() throws -> [Row] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "smollm2_ids.json")
        return try JSONDecoder().decode([Row].self, from: Data(contentsOf: file))
    }

    private func tokenizer() throws -> Tokenizer {
        try Tokenizer(TokenizerDefinition(try openModel(RealTeacher.path!).tokenizerSource))
    }

    @Test func numbersEqualTheReferences() throws {
        let tokenizer = try tokenizer()
        for row in try rows() {
            #expect(tokenizer.encode(row.text) == row.ids, "\(row.text.debugDescription)")
            #expect(tokenizer.decode(row.ids) == row.text)
        }
    }

    @Test func writtenAsJSONItIsTheSame() throws {
        let first = try tokenizer()
        let second = try Tokenizer(
            TokenizerDefinition(tokenizerJSON: first.definition.tokenizerJSON(), file: "tokenizer.json"))
        #expect(second.definition.tokens == first.definition.tokens)
        #expect(second.definition.merges == first.definition.merges)
        for row in try rows() { #expect(second.encode(row.text) == row.ids) }
    }

    @Test func trimmedItCutsTheSameWay() throws {
        let whole = try tokenizer()
        let texts = ["please freeze my debit card", "transfer £1,250.00 to Priya on 3 May", "สวัสดี 😀"]
        let kept = Set(texts.flatMap { whole.encode($0) })
        let (definition, oldIDs) = try whole.definition.trimmed(keeping: kept, specials: [1, 2], adding: ["→yes"])
        let trimmed = try Tokenizer(definition)
        #expect(trimmed.vocabularySize < 800)
        for text in texts {
            #expect(trimmed.encode(text).map { oldIDs[Int($0)] } == whole.encode(text).map { $0 })
        }
        // What was not kept is spelled with smaller tokens, never lost.
        #expect(trimmed.decode(trimmed.encode("Zürich → unbekannt →yes")) == "Zürich → unbekannt →yes")
        #expect(trimmed.encode("→yes").count == 1)
    }

    @Test func anythingComesBack() throws {
        let tokenizer = try tokenizer()
        var random = SystemRandomNumberGenerator()
        for _ in 0..<max(10_000, Int(ProcessInfo.processInfo.environment["UNDERSTUDY_FUZZ"] ?? "") ?? 0) {
            let bytes = (0..<Int.random(in: 0..<48, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            // SmolLM2's vocabulary lacks some bytes; the reference drops them, too.
            let known = bytes.filter { tokenizer.id(ofByte: $0) != nil }
            let text = String(decoding: known, as: UTF8.self)
            let ids = tokenizer.encode(text)
            #expect(tokenizer.decode(ids) == text)
            var stream = StreamingDecoder(tokenizer)
            #expect(ids.map { stream.append($0) }.joined() + stream.finish() == text)
        }
    }

    @Test func aLongPieceTakesNoLongerThanItMust() throws {
        let tokenizer = try tokenizer()
        let text = String(repeating: "a", count: 200_000)
        let clock = ContinuousClock()
        var count = 0
        let time = clock.measure { count = tokenizer.encode(text).count }
        #expect(count > 1000)
        #expect(time < .seconds(5))
    }
}
