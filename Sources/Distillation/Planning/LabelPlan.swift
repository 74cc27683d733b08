/// How many rows an adapted teacher answers, by the time it has for that and by how fast it was on the test set.
package struct LabelPlan {
    /// Rows that fit the time.
    private let rows: Int

    /// Minutes of a run that is not limited: in them a teacher answers about as many rows as a student sees.
    private static let usualMinutes = 30.0
    /// Of a run that is limited.
    private static let share = 0.15
    /// Rows that are answered however long that takes.
    private static let fewest = 200

    /// - Parameters:
    ///   - minutes: the run's; nil: it is not limited.
    ///   - seconds: what answering so many rows took.
    package init(minutes: Double?, answered: Int, seconds: Double) {
        let time = 60 * (minutes.map { $0 * Self.share } ?? Self.usualMinutes)
        rows = Int(min(1e9, time * Double(answered) / max(seconds, 1e-3)))
    }

    /// Rows of the gold that are answered; the others are learnt as they are.
    package func gold(of count: Int) -> Int { min(count, max(Self.fewest, rows)) }

    /// Inputs without gold that are answered.
    package func inputs(of count: Int, gold: Int) -> Int { min(count, max(Self.fewest, rows - gold)) }

    /// Inputs made of others that are answered.
    package func variants(of count: Int, besides: Int) -> Int { max(0, min(count, rows - besides)) }
}
