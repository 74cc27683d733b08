/// How many rows an adapted teacher answers, by the time it has for that and by how fast it was on the test set.
package struct LabelPlan {
    /// Rows of the gold that are answered; the others are learnt as they are.
    package let gold: Int
    /// Inputs without gold that are answered; the others teach nothing.
    package let inputs: Int
    /// Rows there is time for beside them.
    package let rest: Int

    /// Minutes of a run that is not limited.
    private static let usualMinutes = 30.0
    /// Of a run that is limited.
    private static let share = 0.15
    /// Rows of a kind that are answered however long that takes.
    private static let fewest = 200

    /// - Parameters:
    ///   - minutes: the run's; nil: it is not limited.
    ///   - seconds: what answering so many rows took.
    ///   - gold: rows there are, as of the others; those to validate with are always answered.
    package init(minutes: Double?, answered: Int, seconds: Double, gold: Int, inputs: Int, validation: Int) {
        let time = 60 * (minutes.map { $0 * Self.share } ?? Self.usualMinutes)
        let rows = max(0, Int(min(1e9, time * Double(answered) / max(seconds, 1e-3))) - validation)
        // Gold teaches without the teacher, too.
        self.gold = min(gold, max(Self.fewest, rows - min(inputs, rows / 2)))
        self.inputs = min(inputs, max(Self.fewest, rows - self.gold))
        rest = max(0, rows - self.gold - self.inputs)
    }
}
