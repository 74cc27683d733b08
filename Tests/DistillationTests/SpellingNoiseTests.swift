import Distillation
import Foundation
import Tensors
import Testing

/// Words of inputs written in other ways, for answers that put them right.
struct SpellingNoiseTests {
    private static let parts = [
        "bracket", "bumper", "gasket", "hammer", "handle", "window", "washer", "winch", "sensor", "socket", "filter",
        "motor", "light", "switch", "wheel", "mirror", "cable", "valve", "frame", "spring", "grease", "bearing",
        "engine", "battery", "blade",
    ]

    /// Each part twice as it should be, and once with two letters the wrong way round.
    private static func notes() -> [Example] {
        parts.flatMap { part in
            var letters = Array(part)
            letters.swapAt(1, 2)
            return [("replace", part, 17), ("check", part, 4), ("replace", String(letters), 21)].map {
                Example(input: "\($0) \($1) no. \($2)", output: "\($0) \(part) number <num>")
            }
        }
    }

    private static func noise() throws -> SpellingNoise { try #require(SpellingNoise(notes(), lowercases: true)) }

    @Test func wordsAreMisspeltAsOthersWereAndNumbersChange() throws {
        let noise = try Self.noise()
        var random = RandomNumbers(seed: 3)
        var misspelt: Set<String> = []
        var numbers: Set<String> = []
        let example = Example(input: "REPLACE turbine no. 17", output: "replace turbine number <num>")
        for _ in 0..<300 {
            // Now and then nothing can be changed in a few tries.
            guard let input = noise.vary(example, random: &random) else { continue }
            let words = input.split(separator: " ").map(String.init)
            #expect(words.count == 4 && words[0].sorted() == "replace".sorted())
            // A word that was not met and is copied may be any word: it is misspelt, too.
            #expect(words[1].sorted() == "turbine".sorted())
            #expect(words[2] == "no." || words[2].sorted() == "number".sorted())
            #expect(words[3].count == 2 && Int(words[3]) != nil)
            misspelt.formUnion(words.filter { !["replace", "no."].contains($0) && Int($0) == nil })
            numbers.insert(words[3])
        }
        #expect(misspelt.isSuperset(of: ["rpelace", "trubine"]), "\(misspelt)")
        #expect(numbers.count > 20)
    }

    /// "from" is "form" with two letters the wrong way round, as they are in the examples.
    @Test(arguments: [false, true]) func wordsThatMeanSomethingElseAreNotMade(isKnown: Bool) throws {
        var examples = Self.notes()
        for word in isKnown ? ["form", "from"] : ["form"] {
            examples += (0..<3).map { Example(input: "check \(word) \($0)", output: "check \(word) <num>") }
        }
        let noise = try #require(SpellingNoise(examples, lowercases: true))
        var random = RandomNumbers(seed: 4)
        let made = (0..<200).contains { _ in
            noise.vary(Example(input: "check form 7", output: "check form <num>"), random: &random)?
                .contains("from") == true
        }
        #expect(made == !isKnown)
    }

    /// A word that was not met and becomes another one may become anything.
    @Test func wordsThatBecomeUnknownOnesAreLeftAlone() throws {
        let noise = try Self.noise()
        var random = RandomNumbers(seed: 6)
        let example = Example(input: "replace trbn 17", output: "replace turbine <num>")
        for _ in 0..<100 {
            #expect(noise.vary(example, random: &random)?.contains("trbn") != false)
        }
    }

    /// The examples leave out the space before and after a slash and before a number, between words too rarely to count.
    private static func joinedNotes() -> [Example] {
        var examples = notes()
        for (place, part) in parts.enumerated() {
            let other = parts[(place + 1) % parts.count]
            let output = "check \(part) / \(other) number <num>"
            let inputs = [
                "check \(part) / \(other) no. 7", "check \(part)/ \(other) no. 8", "check \(part) /\(other) no. 9",
                "check \(part) / \(other) no.\(place)",
            ]
            examples += inputs.prefix(place % 2 == 0 ? 4 : 1).map { Example(input: $0, output: output) }
        }
        return examples + [Example(input: "check winchcable no. 9", output: "check winch cable number <num>")]
    }

    @Test func wordsAreJoinedAsTheExamplesJoinThem() throws {
        let noise = try #require(SpellingNoise(Self.joinedNotes(), lowercases: true))
        var random = RandomNumbers(seed: 7)
        var written: Set<String> = []
        let example = Example(
            input: "check gauge / turbine rotor no. 501", output: "check gauge / turbine rotor number <num>")
        for _ in 0..<400 {
            guard let input = noise.vary(example, random: &random) else { continue }
            written.formUnion(input.split(separator: " ").map(String.init))
        }
        #expect(written.isSuperset(of: ["gauge/", "/turbine", "no.501"]), "\(written.sorted())")
        #expect(!written.contains("turbinerotor") && !written.contains { $0.hasPrefix("checkg") })
    }

    /// Words with digits are known by their shape.
    @Test func whatIsKnownIsNotMadeByJoining() throws {
        let examples = Self.joinedNotes() + [Example(input: "check no.501", output: "check <id>")]
        let noise = try #require(SpellingNoise(examples, lowercases: true))
        var random = RandomNumbers(seed: 8)
        let example = Example(input: "check turbine no. 622", output: "check turbine number <num>")
        for _ in 0..<400 {
            #expect(noise.vary(example, random: &random)?.contains("no.6") != true)
        }
    }

    @Test func theSameSeedGivesTheSameInputs() throws {
        var inputs: [[String?]] = []
        for _ in 0..<2 {
            let noise = try #require(SpellingNoise(Self.joinedNotes(), lowercases: true))
            var random = RandomNumbers(seed: 5)
            inputs.append(Self.joinedNotes().map { noise.vary($0, random: &random) })
        }
        #expect(inputs[0] == inputs[1])
    }

    @Test func answersThatAreNotTheirInputsWordsAreLeftAlone() throws {
        let replies = Self.notes().enumerated().map { place, note in
            Example(input: note.input, output: "thank you, a fitter will call on day \(place % 7)")
        }
        #expect(SpellingNoise(replies, lowercases: false) == nil)
        #expect(SpellingNoise([], lowercases: false) == nil)
        // Nothing is misspelt.
        #expect(SpellingNoise(Self.notes().filter { !$0.input.hasSuffix("21") }, lowercases: false) == nil)
        let noise = try Self.noise()
        var random = RandomNumbers(seed: 1)
        #expect(noise.vary(Example(input: "", output: ""), random: &random) == nil)
        #expect(noise.vary(Example(input: "", output: "replace"), random: &random) == nil)
        // What a number is copied to stays the same number.
        #expect(noise.vary(Example(input: "17", output: "17"), random: &random) == nil)
    }

    @Test(arguments: [
        ("filter", "fliter", "switch", "siwtch"), ("restriction", "restric", "calibration", "calibra"),
        ("broken", "brokn", "leaden", "leadn"), ("adjuster", "adjusterr", "fastener", "fastenerr"),
        ("replace", "replaxe", "practice", "practixe"),
    ])
    func editsAreMadeInOtherWords(word: String, written: String, other: String, expected: String) throws {
        let edits = try #require(LetterEdits(from: word, to: written))
        #expect(edits.made(in: word) == written)
        #expect(edits.made(in: other) == expected)
    }

    @Test func otherWordsAreNoEdits() {
        #expect(LetterEdits(from: "pump", to: "pump") == nil)
        #expect(LetterEdits(from: "pump", to: "hose") == nil)
        #expect(LetterEdits(from: "transmission", to: "x") == nil)
        #expect(LetterEdits(from: "of", to: "fo") == nil)
        #expect(LetterEdits(from: "filter", to: "fliter")?.made(in: "oil") == nil)
    }
}
