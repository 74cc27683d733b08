internal import Foundation

/// Finds rows whose label is likely wrong, from probabilities of a model that has not learnt from them (Northcutt, Jiang
/// & Chuang, "Confident Learning", JAIR 2021, arXiv 1911.00068).
package enum ConfidentLearning {
    /// A row that seems to have another label.
    package struct Issue: Sendable, Hashable {
        package var row: Int
        /// The label it should have, by its place.
        package var suggested: Int
        /// The probability of the label it has.
        package var own: Double
        /// That less the probability of the suggested one: the lower, the likelier it is wrong.
        package var margin: Double
    }

    /// Rows off the diagonal of the confident joint (equation 1 there), the likeliest errors first.
    ///
    /// A label counts as confident for a row whose probability of it is at least the mean probability of the label over
    /// the rows that have it; of several the most probable does.
    ///
    /// - Parameters:
    ///   - probabilities: [rows, labels], each row's from a model that was not fitted to it.
    ///   - given: the place of each row's label.
    package static func issues(_ probabilities: [[Double]], given: [Int]) -> [Issue] {
        precondition(
            probabilities.count == given.count, "ConfidentLearning: \(probabilities.count) and \(given.count) rows")
        guard let labels = probabilities.first?.count else { return [] }
        var sums = [Double](repeating: 0, count: labels)
        var counts = [Int](repeating: 0, count: labels)
        for (row, label) in zip(probabilities, given) {
            sums[label] += row[label]
            counts[label] += 1
        }
        // Nothing is confident of a label that no row has.
        let thresholds = zip(sums, counts).map { $1 == 0 ? Double.infinity : $0 / Double($1) }
        var issues: [Issue] = []
        for (number, row) in probabilities.enumerated() {
            let confident = row.indices.filter { row[$0] >= thresholds[$0] }
            guard let best = confident.max(by: { (row[$0], $1) < (row[$1], $0) }), best != given[number] else {
                continue
            }
            let own = row[given[number]]
            issues.append(Issue(row: number, suggested: best, own: own, margin: own - row[best]))
        }
        return issues.sorted { ($0.margin, $0.row) < ($1.margin, $1.row) }
    }

    /// Rows must be judged by a model that has seen enough others.
    private static let leastRows = 20
    private static let folds = 5

    /// Likely errors in gold labels, judged by the linear baseline fitted to the other four of five parts.
    package static func issues(in gold: [Example], labels: [String], seed: UInt64) -> [Issue] {
        let places = Dictionary(zip(labels, labels.indices), uniquingKeysWith: { first, _ in first })
        guard gold.count >= leastRows, labels.count > 1 else { return [] }
        let rows = gold.indices.filter { places[gold[$0].output] != nil }
        let given = rows.map { places[gold[$0].output]! }
        var margins = [[Float]](repeating: [], count: rows.count)
        for fold in 0..<folds {
            let others = rows.indices.filter { $0 % folds != fold }.map { gold[rows[$0]] }
            let model = LinearClassifier(others, seed: seed)
            for row in stride(from: fold, to: rows.count, by: folds) {
                margins[row] = model.margins(gold[rows[row]].input, labels: labels)
            }
        }
        // Margins become probabilities at the temperature at which the labels are most likely.
        let powers = margins.map { row in
            let top = row.max() ?? 0
            return row.map { exp($0 - top) }
        }
        let temperature = TemperatureScaling.fit(
            zip(powers, given).map { ScoredAnswer(confidence: 0, probabilities: $0, right: $1, isRight: true) })
        let probabilities = powers.map { row in
            row.indices.map { TemperatureScaling.probability($0, of: row, temperature: temperature) }
        }
        return issues(probabilities, given: given).map {
            Issue(row: rows[$0.row], suggested: $0.suggested, own: $0.own, margin: $0.margin)
        }
    }
}
