import Distillation
import Foundation
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
        #expect(held.match("hi, send my card to the new shop in town when you can") == nil)
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
        // Of the gold alone: only the same words are too near.
        #expect(
            similar.match("where can I find the nearest cash machines abroad right now please", copies: false) == nil)
        #expect(
            similar.match("Where can I find the nearest cash machine abroad right now, please?", copies: false) != nil)
        #expect(Decontamination([]).match("anything") == nil)
    }

    /// Every way of copying a text that a generator has, on the inputs of a pack.
    private func copies(_ text: String, _ random: inout RandomNumbers) -> [String: String] {
        let words = text.split(separator: " ").map(String.init)
        let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)
        var result = ["case": text.uppercased(), "order": words.shuffled(using: &random).joined(separator: " ")]
        var slips = words
        for _ in 0..<max(1, words.count / 5) {
            let word = random.below(words.count)
            slips[word].replaceSubrange(
                slips[word].startIndex..<slips[word].index(after: slips[word].startIndex),
                with: letters[random.below(26)])
        }
        result["spelling"] = slips.joined(separator: " ")
        // One word in five; texts of fewer have nothing to lose.
        guard words.count >= 5 else { return result }
        var exchanged = words, fewer = words, more = words
        for place in words.indices.shuffled(using: &random).prefix(words.count / 5) {
            exchanged[place] = "zebra\(place)"
        }
        for _ in 0..<words.count / 5 {
            fewer.remove(at: random.below(fewer.count))
            more.insert("zebra", at: random.below(more.count))
        }
        result["words exchanged"] = exchanged.joined(separator: " ")
        result["words left out"] = fewer.joined(separator: " ")
        result["words put in"] = more.joined(separator: " ")
        var noisy = Array(text)
        for _ in 0..<text.count / 5 { noisy[random.below(noisy.count)] = Character(letters[random.below(26)]) }
        result["letters"] = String(noisy)
        return result
    }

    @Test func plantedCopiesAreFoundAndOtherRowsAreLeft() throws {
        let pack = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../Packs/finance").standardized
        func inputs(_ name: String) throws -> [String] {
            struct Row: Decodable { var input: String }
            return try String(contentsOf: pack.appendingPathComponent(name), encoding: .utf8).split(separator: "\n").map
            {
                try JSONDecoder().decode(Row.self, from: Data($0.utf8)).input
            }
        }
        let test = try inputs("test.jsonl")
        let held = Decontamination(test)
        var random = RandomNumbers(seed: 11)
        var found: [String: (hits: Int, all: Int)] = [:]
        for text in test {
            for (way, copy) in copies(text, &random) {
                found[way, default: (0, 0)].hits += held.match(copy) == nil ? 0 : 1
                found[way, default: (0, 0)].all += 1
            }
        }
        #expect(found.count == 7)
        for (way, count) in found {
            #expect(Double(count.hits) >= 0.99 * Double(count.all), "\(way): \(count.hits) of \(count.all)")
        }
        let others = try inputs("gold.jsonl") + inputs("inputs.jsonl")
        let removed = others.count { held.match($0) != nil }
        #expect(removed < others.count / 100, "\(removed) of \(others.count)")
    }

    @Test(arguments: [0, 1, 5, 63, 64, 65, 128, 200]) func editsAreLevenshteins(_ length: Int) {
        var random = RandomNumbers(seed: UInt64(length))
        func text(_ count: Int) -> [Unicode.Scalar] {
            (0..<count).map { _ in "abcä".unicodeScalars.randomElement(using: &random)! }
        }
        func table(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
            var row = Array(0...b.count)
            for i in a.indices {
                var diagonal = row[0]
                row[0] = i + 1
                for j in b.indices {
                    let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (a[i] == b[j] ? 0 : 1))
                    diagonal = row[j + 1]
                    row[j + 1] = next
                }
            }
            return row[b.count]
        }
        for other in [0, 1, 30, 64, 150] {
            let a = text(length), b = text(other)
            let edits = EditDistance(a).edits(to: b)
            #expect(edits == table(a, b))
            #expect(LetterHistogram(a).leastEdits(to: LetterHistogram(b)) <= edits)
        }
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
