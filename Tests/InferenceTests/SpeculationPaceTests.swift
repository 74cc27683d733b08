import Inference
import Testing

@Suite struct SpeculationPaceTests {
    /// Passes that may guess, of a thousand, where a guessing pass gives `tokens` and takes `seconds` times a plain one.
    private func guessing(tokens: Int, seconds: Double) -> Int {
        var pace = SpeculationPace()
        var count = 0
        for _ in 0..<1000 {
            if pace.guesses { count += 1 }
            pace.record(
                tokens: pace.guesses ? 4 * tokens : 4, sequences: 4, seconds: pace.guesses ? seconds : 1)
        }
        return count
    }

    @Test func guessesWhereThatIsFaster() {
        #expect(guessing(tokens: 3, seconds: 2) > 950)
    }

    @Test func stopsWhereChecksTakeLongerThanTheyGain() {
        #expect(guessing(tokens: 2, seconds: 2.1) < 60)
    }

    @Test func comparesAgainAfterAWhile() {
        var pace = SpeculationPace()
        func run(_ passes: Int, seconds: Double) -> Int {
            (0..<passes).count { _ in
                let guesses = pace.guesses
                pace.record(tokens: guesses ? 2 : 1, sequences: 1, seconds: guesses ? seconds : 1)
                return guesses
            }
        }
        #expect(run(500, seconds: 3) < 60)
        #expect(run(1000, seconds: 1) > 400)
    }
}
