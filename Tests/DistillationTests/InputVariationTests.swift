import Distillation
import Testing

/// Inputs made of parts and words of others.
@Suite struct InputVariationTests {
    private static let inputs = (0..<30).map {
        "take \($0) of the \(["red", "blue", "green"][$0 % 3]) boxes to hall \($0 * 7)"
    }

    private static func words(_ text: String) -> [Substring] { text.split(separator: " ") }

    @Test func theSameSeedMakesTheSameInputsAndNoneTwice() {
        let made = InputVariation(Self.inputs).write(200, seed: 3)
        #expect(made.count == 200 && Set(made).count == 200 && Set(made).isDisjoint(with: Self.inputs))
        #expect(made == InputVariation(Self.inputs).write(200, seed: 3))
        #expect(made != InputVariation(Self.inputs).write(200, seed: 4))
        #expect(InputVariation(Self.inputs).write(0, seed: 3).isEmpty)
    }

    @Test func theyAreMadeOfTheWordsThereAreAndNoLonger() {
        let known = Set(Self.inputs.flatMap(Self.words))
        let made = InputVariation(Self.inputs).write(300, seed: 5).map(Self.words)
        #expect(made.allSatisfy { (1...9).contains($0.count) && known.isSuperset(of: $0) })
        // Most share a beginning, an end or most words with some input; some are parts, some are of two inputs.
        let sets = Self.inputs.map { Set(Self.words($0)) }
        let near = made.count { own in sets.contains { $0.intersection(own).count * 2 > own.count } }
        #expect(near > 270, "\(near)")
        #expect(made.contains { $0.count < 5 })
    }

    @Test func fewOrShortInputsGiveWhatTheyCan() {
        #expect(InputVariation([]).write(10, seed: 1).isEmpty)
        #expect(InputVariation(["one", " "]).write(10, seed: 1).isEmpty)
        let made = InputVariation(["one two"]).write(50, seed: 1)
        #expect(!made.isEmpty && made.count < 7 && !made.contains("one two"))
        #expect(made.contains("two") && made.contains("one one"))
        let without = InputVariation(["one two"], without: ["One  one", "two"]).write(50, seed: 1)
        #expect(!without.isEmpty && Set(without).isDisjoint(with: ["one one", "two"]))
    }
}
