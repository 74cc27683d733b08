internal import Foundation
internal import Tokenizers

/// Judges answers against the gold.
package struct Scoring: Sendable {
    package let kind: TaskDefinition.OutputKind
    package let metric: TaskDefinition.Metric

    package init(_ task: TaskDefinition) {
        kind = task.kind
        metric = task.metric
    }

    /// Whether an answer equals the gold: as a label, as a set of labels, as text without outer spaces, or as a JSON
    /// value.
    package func isRight(_ answer: String, expected: String) -> Bool {
        switch kind {
        case .label: return answer == expected
        case .labels:
            // What is no list is no answer, not the empty set.
            return answer == expected
                || answer.hasPrefix("[") && Set(LabelSet.labels(answer)) == Set(LabelSet.labels(expected))
        case .text:
            return answer.trimmingCharacters(in: .whitespacesAndNewlines)
                == expected.trimmingCharacters(in: .whitespacesAndNewlines)
        case .json, .tool:
            if answer == expected { return true }
            guard let given = try? JSONParser.parse(answer.utf8), let wanted = try? JSONParser.parse(expected.utf8)
            else {
                return false
            }
            return given == wanted
        }
    }

    /// Answers beside the gold, taken apart once for a metric that is worked out again and again.
    package struct Comparison: Sendable {
        package let right: [Bool]
        /// The labels of each row; empty unless the metric needs them.
        fileprivate let given: [[String]]
        fileprivate let wanted: [[String]]
    }

    package func compare(_ answers: [String], _ expected: [String]) -> Comparison {
        let takesApart = metric == .macroF1
        return Comparison(
            right: zip(answers, expected).map { isRight($0, expected: $1) },
            given: takesApart ? answers.map(kind.labels) : [], wanted: takesApart ? expected.map(kind.labels) : [])
    }

    /// The metric over some rows.
    package func value(_ comparison: Comparison, rows: [Int]) -> Double {
        guard !rows.isEmpty else { return 0 }
        guard metric == .macroF1 else { return Double(rows.count { comparison.right[$0] }) / Double(rows.count) }
        var hits: [String: Int] = [:]
        var given: [String: Int] = [:]
        var wanted: [String: Int] = [:]
        for row in rows {
            for label in comparison.given[row] {
                given[label, default: 0] += 1
                if comparison.wanted[row].contains(label) { hits[label, default: 0] += 1 }
            }
            for label in comparison.wanted[row] { wanted[label, default: 0] += 1 }
        }
        let scores = Set(given.keys).union(wanted.keys).map { label in
            2 * Double(hits[label] ?? 0) / Double((given[label] ?? 0) + (wanted[label] ?? 0))
        }
        // Where nobody wants or gives a label, all is right.
        return scores.isEmpty ? 1 : scores.sorted().reduce(0, +) / Double(scores.count)
    }

    /// The metric over all rows with its interval: Wilson's for shares, the bootstrap's for macro F1.
    package func score(_ answers: [String], _ expected: [String], confidence: Double) -> Score {
        let comparison = compare(answers, expected)
        let right = comparison.right
        let all = Array(right.indices)
        let value = value(comparison, rows: all)
        let interval: (low: Double, high: Double)
        if metric == .macroF1 {
            let sorted = Statistics.bootstrap(count: all.count) {
                self.value(comparison, rows: $0)
            }
            interval = (
                Statistics.quantile(sorted, (1 - confidence) / 2), Statistics.quantile(sorted, (1 + confidence) / 2)
            )
        } else {
            interval = Statistics.wilson(hits: right.count { $0 }, of: right.count, confidence: confidence)
        }
        return Score(value: value, low: interval.low, high: interval.high, right: right)
    }

    package struct Score: Sendable {
        package var value: Double
        package var low: Double
        package var high: Double
        package var right: [Bool]
    }

    /// The lower end of the one-sided interval of `student − retain · reference`, on the same rows (paired bootstrap).
    package func retainedMargin(
        student: [String], reference: [String], expected: [String], retain: Double, confidence: Double
    ) -> Double {
        let own = compare(student, expected)
        let other = compare(reference, expected)
        let differences = Statistics.bootstrap(count: expected.count) { rows in
            value(own, rows: rows) - retain * value(other, rows: rows)
        }
        return Statistics.quantile(differences, 1 - confidence)
    }
}
