import Foundation
import Testing
import Tokenizers

/// Vocabularies over characters against SentencePiece and Hugging Face's tokenizers
/// (`Tests/Fixtures/character_vocabularies.py`).
struct CharacterVocabularyTests {
    struct Fixture: Decodable {
        struct Layout: Decodable, Sendable, CustomTestStringConvertible {
            var name: String
            var tokenizer: String
            var ids: [[Int32]]
            var testDescription: String { name }
        }

        var pieces: [String]
        var scores: [Float]
        var types: [Int32]
        var texts: [String]
        var layouts: [Layout]
        /// By SentencePiece.
        var ids: [[Int32]]
    }

    static let fixture: Fixture = {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "character_vocabularies.json")
        return try! JSONDecoder().decode(Fixture.self, from: Data(contentsOf: file))
    }()

    private func pieces(addsSpace: Bool = true) throws -> TokenizerDefinition {
        let f = Self.fixture
        return try TokenizerDefinition(
            ggufPieces: f.pieces, scores: f.scores, types: f.types, unknown: 0, addsSpace: addsSpace, bos: 1, eos: 2)
    }

    private func definition(_ layout: Fixture.Layout) throws -> TokenizerDefinition {
        try TokenizerDefinition(tokenizerJSON: Data(layout.tokenizer.utf8), file: "tokenizer.json")
    }

    /// Compares texts, since arguments of tests should not be strange to print.
    private func compare(_ tokenizer: Tokenizer, _ ids: [[Int32]], _ label: String, skipping mark: String? = nil) {
        for (text, expected) in zip(Self.fixture.texts, ids) {
            if let mark, text.contains(mark) { continue }
            let own = tokenizer.encode(text)
            #expect(own == expected, "\(label): \(text.debugDescription)")
            let spaced = text.replacing("▁", with: " ")
            let written = tokenizer.decode(own)
            #expect(written.hasSuffix(spaced) || spaced.contains("<turn>"), "\(label): \(text.debugDescription)")
            #expect(written.utf8.count <= spaced.utf8.count + 4)
            var stream = StreamingDecoder(tokenizer)
            #expect(own.map { stream.append($0) }.joined() + stream.finish() == written)
        }
    }

    @Test func piecesWithScoresAreSentencePieces() throws {
        // SentencePiece puts a space before a token that is found as a whole; llama.cpp, whose files these are, does not.
        compare(try Tokenizer(pieces()), Self.fixture.ids, "pieces", skipping: "<turn>")
    }

    @Test(arguments: fixture.layouts) func filesAreReadAsTheirLibraryReadsThem(_ layout: Fixture.Layout) throws {
        let definition = try definition(layout)
        #expect(definition.addsBeginToken && definition.beginToken == 1)
        compare(try Tokenizer(definition), layout.ids, layout.name, skipping: marks(layout))
    }

    /// Gemma's files find two marks in a text as a whole; here they are two spaces, as everywhere.
    private func marks(_ layout: Fixture.Layout) -> String? { layout.name == "gemma" ? "▁▁" : nil }

    @Test(arguments: fixture.layouts) func writtenAgainTheyAreTheSame(_ layout: Fixture.Layout) throws {
        let first = try definition(layout)
        let second = try TokenizerDefinition(tokenizerJSON: first.tokenizerJSON(), file: "again")
        #expect(second == first)
        compare(try Tokenizer(second), layout.ids, layout.name, skipping: marks(layout))
        // As a GGUF file has it, which knows scores instead of merges.
        let third = try TokenizerDefinition(
            ggufPieces: first.tokens.map { first.vocabularyText(of: $0) }, scores: first.scoresByOrder,
            types: first.tokens.indices.map { place in
                switch first.tokens[place].kind {
                case .normal: 1
                case .special: place == 0 ? 2 : 3
                case .added: 4
                case .byte: 6
                }
            }, unknown: 0, addsSpace: first.characters?.prefix != .never, bos: 1, eos: 2)
        guard layout.name == "llama" || layout.name == "gemma" else { return }
        compare(try Tokenizer(third), layout.ids, layout.name, skipping: marks(layout))
    }

    @Test func scoresAreWrittenAsMerges() throws {
        let first = try pieces()
        let second = try TokenizerDefinition(tokenizerJSON: first.tokenizerJSON(), file: "again")
        compare(try Tokenizer(second), Self.fixture.ids, "as JSON", skipping: "<turn>")
    }

    @Test func specialsAreFoundWhereTheyAreAskedFor() throws {
        let tokenizer = try Tokenizer(pieces())
        #expect(!tokenizer.encode("a</s>b").contains(2))
        #expect(tokenizer.encodeParsingSpecials("a</s>b").contains(2))
        #expect(tokenizer.decode(tokenizer.encode("</s>")) == " </s>")
        // A byte's name is text, too.
        #expect(tokenizer.decode(tokenizer.encode("<0x41>")) == " <0x41>")
    }

    @Test func whatGoesOnGetsNoSpace() throws {
        let tokenizer = try Tokenizer(pieces())
        #expect(tokenizer.decode(tokenizer.encodeContinuation("baker")) == "baker")
        #expect(tokenizer.encode("baker") == tokenizer.encodeContinuation(" baker"))
    }

    @Test func trimmedTheyCutTheSameWay() throws {
        let whole = try Tokenizer(pieces())
        let texts = ["the baker counts the loaves", "my aunt reads 12.50"]
        let kept = Set(texts.flatMap { whole.encode($0) })
        let (definition, old) = try whole.definition.trimmed(keeping: kept, specials: [1, 2], adding: ["→yes"])
        let trimmed = try Tokenizer(definition)
        #expect(trimmed.vocabularySize < whole.vocabularySize)
        for text in texts { #expect(trimmed.encode(text).map { old[Int($0)] } == whole.encode(text).map { $0 }) }
        #expect(trimmed.decode(trimmed.encode("Zürich 東京 →yes")) == " Zürich 東京 →yes")
        let extended = try definition.extended(with: Array(repeating: "zorblax", count: 9), count: 20)
        #expect(try Tokenizer(extended).encode("zorblax").count < trimmed.encode("zorblax").count)
    }

    @Test func aTextWithoutSpacesTakesNoLongerThanItMust() throws {
        let tokenizer = try Tokenizer(pieces())
        let text = String(repeating: "theloaves東", count: 20_000)
        let time = ContinuousClock().measure { #expect(tokenizer.decode(tokenizer.encode(text)) == " " + text) }
        #expect(time < .seconds(5))
    }

    @Test func listsThatDoNotFitAreRefused() throws {
        let f = Self.fixture
        func refused(_ change: (inout Fixture) -> Void) {
            var f = f
            change(&f)
            #expect(throws: TokenizerError.self) {
                try TokenizerDefinition(
                    ggufPieces: f.pieces, scores: f.scores, types: f.types, unknown: nil, addsSpace: true, bos: 1,
                    eos: 2)
            }
        }
        refused { $0.scores.removeLast() }
        refused { $0.types.append(1) }
        refused { $0.scores[300] = .nan }
        refused { $0.types[f.pieces.count - 1] = 6 }
        // A byte less, and nothing else to write an unknown character with.
        refused { $0.types[20] = 3 }
    }

    /// Small files of each kind, changed at random: an error or a tokenizer that works, never a crash.
    @Test func changedFilesNeverCrash() throws {
        let bytes = (0..<256).map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            return "\"<0x\(digits.count == 1 ? "0" : "")\(digits)>\":\(byte + 3)"
        }.joined(separator: ",")
        let seeds = [
            #"{"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"▁▁","special":false}],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<unk>","type_id":0}}]},"model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":false,"vocab":{"<unk>":0,"▁▁":1,"▁":2,"a":3,"b":4,"ab":5,"▁ab":6},"merges":["a b",["▁","ab"],"▁ ▁"]}}"#,
            #"{"added_tokens":[],"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true},"model":{"type":"BPE","byte_fallback":true,"vocab":{"▁":0,"x":1,"▁x":2,\#(bytes)},"merges":[["▁","x"]]}}"#,
        ].map { Array($0.utf8) }
        let alphabet = Array("\"{}[],:0123456789-eE.\\u▁abtruefalsn <>".utf8)
        var random = SystemRandomNumberGenerator()
        let rounds = max(10_000, Int(ProcessInfo.processInfo.environment["UNDERSTUDY_FUZZ"] ?? "") ?? 0)
        var read = 0
        for round in 0..<rounds {
            var bytes = seeds[round % 8 == 0 ? 1 : 0]
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = alphabet.randomElement(using: &random)!
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(alphabet.randomElement(using: &random)!, at: place)
                default: bytes.removeSubrange(place..<min(bytes.count, place + 8))
                }
            }
            guard let definition = try? TokenizerDefinition(tokenizerJSON: Data(bytes), file: "changed"),
                let tokenizer = try? Tokenizer(definition)
            else { continue }
            read += 1
            _ = tokenizer.decode(tokenizer.encode("ab  a▁b xé😀"))
            _ = try? TokenizerDefinition(tokenizerJSON: definition.tokenizerJSON(), file: "again")
        }
        #expect(read > rounds / 100)
    }
}
