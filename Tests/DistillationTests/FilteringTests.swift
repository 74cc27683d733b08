import Distillation
import Tensors
import Testing

@Suite struct FilteringTests {
    private func sentence(_ words: Int, _ random: inout RandomNumbers) -> [String] {
        (0..<words).map { _ in "w\(random.below(5000))" }
    }

    @Test func whatIsSeenAsTheSame() {
        #expect(NormalText("  Ｗhere’s MY card?! ").text == "where s my card")
        #expect(NormalText("?!").words.isEmpty)
    }

    /// The share of equal places is the Jaccard similarity within what 128 permutations can tell: four deviations.
    @Test(arguments: [0.1, 0.5, 0.9])
    func signaturesEstimateSimilarity(similarity: Double) {
        let hash = MinHash()
        var random = RandomNumbers(seed: 11)
        var errors: [Double] = []
        for _ in 0..<40 {
            let common = (0..<Int(200 * similarity)).map { _ in random.next() }
            let rest = (0..<(200 - common.count)).map { _ in random.next() }
            let a = common + rest.prefix(rest.count / 2)
            let b = common + rest.dropFirst(rest.count / 2)
            errors.append(MinHash.similarity(hash.signature(a), hash.signature(b)) - Double(common.count) / 200)
        }
        let deviation = (similarity * (1 - similarity) / 128).squareRoot()
        #expect(errors.allSatisfy { abs($0) < 4.5 * deviation })
        #expect(abs(errors.reduce(0, +) / 40) < 4 * deviation / 40.0.squareRoot())
    }

    /// The index finds what comparing every pair finds.
    @Test func nearDuplicatesAreFound() {
        var random = RandomNumbers(seed: 5)
        var index = NearDuplicateIndex(threshold: 0.7, shingles: .characters)
        let texts = (0..<400).map { _ in sentence(12, &random) }
        for text in texts { index.insert(NormalText(text.joined(separator: " "))) }
        for (number, text) in texts.enumerated() {
            var changed = text
            changed[random.below(12)] = "other"
            let match = index.match(NormalText(changed.joined(separator: ", ").uppercased()))
            #expect(match?.number == number && match!.similarity >= 0.7 && match!.similarity < 1)
            #expect(index.match(NormalText(sentence(12, &random).joined(separator: " "))) == nil)
        }
        #expect(index.match(NormalText(texts[7].joined(separator: " ")))?.similarity == 1)
        #expect(index.match(NormalText("")) == nil)
    }

    @Test func longTextsAreComparedByWords() {
        let long = (0..<80).map { "word\($0)" }.joined(separator: " ")
        guard case .words = NearDuplicateIndex.Shingles(for: [long]) else {
            Issue.record("long texts by characters")
            return
        }
        var index = NearDuplicateIndex(threshold: 0.9, shingles: .words)
        index.insert(NormalText(long))
        #expect(index.match(NormalText(long + " end"))!.similarity == 78.0 / 79)
    }

    @Test func heldRowsAreKeptOut() {
        let long = (0..<40).map { "word\($0)" }.joined(separator: " ")
        let held = Decontamination([
            "What is my balance?", "please send my new card to the office in town today", "how do I close an account",
            long,
        ])
        // Case and marks make no other text.
        #expect(held.match("WHAT IS MY BALANCE") == .init(kind: .same, row: 0, value: 1))
        // A few words are a part of much else.
        #expect(held.match("tell me what is my balance in euros at the end of the month") == nil)
        // Eight words in a row, a whole text of six, and 13 of a long one.
        #expect(held.match("hi, send my new card to the office in a week")?.kind == .overlap)
        #expect(held.match("hi, send my card to the new office in town today maybe") == nil)
        #expect(held.match("so tell me how do I close an account with you") == .init(kind: .overlap, row: 2, value: 6))
        let thirteen = (10..<23).map { "word\($0)" }.joined(separator: " ")
        let twelve = (10..<22).map { "word\($0)" }.joined(separator: " ")
        #expect(held.match("a \(thirteen) b") == .init(kind: .overlap, row: 3, value: 13))
        #expect(held.match("a \(twelve) b") == nil)
        // A letter more in the middle, so that no eight words in a row are the same.
        let similar = Decontamination(["where can I find the nearest cash machine abroad right now please"])
        #expect(
            similar.match("where can I find the nearest cash machines abroad right now please")?.kind == .similar)
        #expect(similar.match("my card was stolen in the cash machine") == nil)
        #expect(Decontamination([]).match("anything") == nil)
    }

    @Test func whatNoCustomerWritesIsFound() {
        let filter = InputFilter([
            "where is my card", "I'd like to send 200 euros to my sister in Spain, how long does it take?",
            "top up failed", "why was I charged a fee of 2.50 at the machine",
        ])
        for fine in ["my card has not come", "can I send 50 dollars abroad?", "fee?? why was there a fee"] {
            #expect(filter.problem(fine) == nil, "\(fine)")
        }
        #expect(filter.problem("a") == .short && filter.problem("   ") == .short)
        #expect(filter.problem(String(repeating: "long words ", count: 30)) == .long)
        #expect(filter.problem("где моя карта сейчас") == .script)
        #expect(filter.problem("#### **** ---- ==== card") == .marks)
        #expect(filter.problem("card card card card card my card") == .repetition)
        #expect(filter.problem("my caaaaaaaaard is lost") == .repetition)
        #expect(filter.problem("Sure! Here is a new input") == .chatter)
        #expect(filter.problem("Here are 3 messages from customers") == .chatter)
        #expect(filter.problem("I cannot find my card") == .chatter)
        #expect(InputFilter(["I cannot log in", "my card is lost"]).problem("I cannot find my card") == nil)
    }

    @Test func diversityCountsRunsOfWords() {
        let measured = Diversity(["a b a b", "a b"])
        #expect(measured.texts == 2 && abs(measured.distinctWords - 2.0 / 6) < 1e-12)
        // ab, ba, ab and ab: two of four. aba, bab: both.
        #expect(measured.distinctPairs == 0.5 && measured.distinctTriples == 1)
        #expect(Diversity([]).distinctWords == 0)
    }
}
