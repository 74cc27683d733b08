/// A label's probabilities from two teachers that err in different ways: the language model, and a linear model of the
/// gold's words and characters (co-training, Blum & Mitchell 1998).
///
/// The linear model counts as much as makes the validation rows, which neither has learnt from, most likely.
package struct LabelVotes {
    /// How much the linear model's margins count beside the language model's log-probabilities.
    package let pool: LogarithmicPool
    private let linear: LinearClassifier
    private let labels: [String]

    /// Folds of the gold: a row is judged by a linear model that has not seen it.
    private static let folds = 5

    /// - Parameters:
    ///   - validation: rows with the language model's probabilities of every label, in the order of `labels`.
    package init(
        labels: [String], train: [Example], validation: [(example: Example, probabilities: [Float])], seed: UInt64
    ) {
        let linear = LinearClassifier(train, seed: seed)
        pool = LogarithmicPool(
            validation.compactMap { row in
                labels.firstIndex(of: row.example.output).map {
                    (.init(row.probabilities, linear.margins(row.example.input, labels: labels)), $0)
                }
            })
        self.labels = labels
        self.linear = linear
    }

    /// Probabilities of the labels for an input that the linear model has not learnt from.
    package func pooled(_ input: String, with probabilities: [Float]) -> [Float] {
        guard pool.weight > 0 else { return probabilities }
        return pool.probabilities(.init(probabilities, linear.margins(input, labels: labels)))
    }

    /// Probabilities of the labels for rows of the gold, each judged by a linear model fitted to all of it but a fifth of
    /// these rows.
    package func pooled(
        _ rows: [Example], of gold: [Example], with probabilities: [[Float]], seed: UInt64
    ) -> [[Float]] {
        guard pool.weight > 0, rows.count >= Self.folds else { return probabilities }
        var result = probabilities
        for fold in 0..<Self.folds {
            let judged = stride(from: fold, to: rows.count, by: Self.folds)
            let inputs = Set(judged.map { rows[$0].input })
            let model = LinearClassifier(gold.filter { !inputs.contains($0.input) }, seed: seed)
            for row in judged {
                let margins = model.margins(rows[row].input, labels: labels)
                result[row] = pool.probabilities(.init(probabilities[row], margins))
            }
        }
        return result
    }
}
