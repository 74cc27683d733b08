/// A linear support vector machine for each label, which says by itself whether the label applies.
///
/// The margin from which it does is the one that scores best on rows that the machines were not fitted to (five folds).
package struct LabelSetClassifier: Baseline {
    package let name = "TF-IDF + linear SVM, label by label"
    private let linear: LinearClassifier
    private let labels: [String]
    private let order: [String]
    /// Labels apply from this margin on.
    package private(set) var threshold: Float = 0

    private static let folds = 5
    private static let thresholds: [Float] = [-0.8, -0.6, -0.5, -0.4, -0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4, 0.5]

    /// - Parameters:
    ///   - labels: of the task, in their order; empty: the alphabet's.
    ///   - scoring: what is to be high.
    package init(_ examples: [Example], labels order: [String], scoring: Scoring, seed: UInt64) {
        self.order = order
        let inputs = examples.map(\.input)
        let answers = examples.map { LabelSet.labels($0.output) }
        labels = Set(answers.joined()).sorted()
        linear = LinearClassifier(inputs, labels: answers, seed: seed)
        guard examples.count >= Self.folds * 2 else { return }
        var margins = [[Float]](repeating: [], count: examples.count)
        for fold in 0..<Self.folds {
            let others = examples.indices.filter { $0 % Self.folds != fold }
            let model = LinearClassifier(others.map { inputs[$0] }, labels: others.map { answers[$0] }, seed: seed)
            for row in stride(from: fold, to: examples.count, by: Self.folds) {
                margins[row] = model.margins(inputs[row], labels: labels)
            }
        }
        let expected = examples.map(\.output)
        // Of equally good ones the nearest to none.
        var best = -1.0
        for threshold in Self.thresholds.sorted(by: { abs($0) < abs($1) }) {
            let given = margins.map { answer($0, from: threshold) }
            let value = scoring.value(scoring.compare(given, expected), rows: Array(expected.indices))
            if value > best + 1e-12 {
                best = value
                self.threshold = threshold
            }
        }
    }

    package var parameterCount: Int { linear.parameterCount + 1 }

    package func answer(_ input: String) -> String { answer(linear.margins(input, labels: labels), from: threshold) }

    private func answer(_ margins: [Float], from threshold: Float) -> String {
        LabelSet.text(zip(labels, margins).filter { $1 > threshold }.map(\.0), order: order)
    }
}
