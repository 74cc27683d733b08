/// Decides by the clock whether guessing pays: passes with guesses and passes without take turns for a while, and the way
/// that gives a sequence more tokens a second is kept until the next comparison.
///
/// That guesses come true is not enough: a check of several tokens takes longer than a pass for one, above all when many
/// sequences are in the pass already, and a draft model takes its own time. Answers don't depend on the decision.
package struct SpeculationPace {
    /// Whether the next pass may guess.
    package private(set) var guesses = true

    private enum Phase {
        case guessing, plain, keeping
    }

    /// Tokens of a sequence and seconds of the passes of one kind.
    private struct Rate {
        var tokens = 0.0
        var seconds = 0.0
        var perSecond: Double { tokens / max(seconds, 1e-9) }
    }

    /// Passes of each kind in a comparison, and passes until the next one.
    private static let guessedPasses = 24
    private static let plainPasses = 8
    private static let keptPasses = 512

    private var phase = Phase.guessing
    private var passes = 0
    private var guessed = Rate()
    private var plain = Rate()

    package init() {}

    /// - Parameters:
    ///   - tokens: that the pass gave all its sequences, which all were generating.
    ///   - seconds: of the pass, guessing included.
    package mutating func record(tokens: Int, sequences: Int, seconds: Double) {
        let each = Double(tokens) / Double(max(1, sequences))
        passes += 1
        switch phase {
        case .guessing:
            guessed.tokens += each
            guessed.seconds += seconds
            if passes >= Self.guessedPasses { begin(.plain, guesses: false) }
        case .plain:
            plain.tokens += each
            plain.seconds += seconds
            if passes >= Self.plainPasses { begin(.keeping, guesses: guessed.perSecond >= plain.perSecond) }
        case .keeping:
            if passes >= Self.keptPasses {
                guessed = Rate()
                plain = Rate()
                begin(.guessing, guesses: true)
            }
        }
    }

    private mutating func begin(_ next: Phase, guesses: Bool) {
        phase = next
        passes = 0
        self.guesses = guesses
    }
}
