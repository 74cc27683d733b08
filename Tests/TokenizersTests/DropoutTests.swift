import Testing
import Tokenizers

struct DropoutTests {
    private func tokenizer() throws -> Tokenizer {
        let bytes = (UInt8.min...UInt8.max).map { ByteAlphabet.text(of: [$0]) }
        return try Tokenizer(
            TokenizerDefinition(
                ggufTokens: bytes + ["ho", "se", "hose"], merges: ["h o", "s e", "ho se"], types: [],
                preTokenizer: "smollm", bos: nil, eos: nil))
    }

    @Test func everyCutIsTheSameText() throws {
        let tokenizer = try tokenizer()
        let text = "hose pump hose, 42 hosé"
        #expect(tokenizer.encode(text, dropout: 0, seed: 1) == tokenizer.encode(text))
        #expect(tokenizer.encode(text, dropout: 1, seed: 1).count == text.utf8.count)
        var cuts: Set<[Int32]> = []
        for seed in 0..<50 as Range<UInt64> {
            let ids = tokenizer.encode(text, dropout: 0.3, seed: seed)
            #expect(tokenizer.decode(ids) == text)
            #expect(ids == tokenizer.encode(text, dropout: 0.3, seed: seed))
            cuts.insert(ids)
        }
        #expect(cuts.count > 5)
    }
}
