/// What the report shows of a run's mistakes.
extension TaskRun {
    /// Wrong answers, the surest first.
    func failures(_ run: SystemRun, scoring: Scoring) -> [ReportPage.Failure] {
        let wrong = data.test.indices.filter { !scoring.isRight(run.answers[$0], expected: data.test[$0].output) }
        return wrong.sorted { (run.confidences[$0], $1) > (run.confidences[$1], $0) }.prefix(20).map {
            ReportPage.Failure(
                input: data.test[$0].input, expected: data.test[$0].output, answered: run.answers[$0],
                confidence: run.confidences[$0])
        }
    }

    /// Which labels were taken for which, the most frequent first.
    func confusions(_ run: SystemRun, scoring: Scoring) -> [ReportPage.Confusion] {
        guard task.kind == .label else { return [] }
        var counts: [[String]: Int] = [:]
        for (index, row) in data.test.enumerated() where run.answers[index] != row.output {
            counts[[row.output, run.answers[index]], default: 0] += 1
        }
        return counts.sorted { ($0.value, $1.key[0]) > ($1.value, $0.key[0]) }.prefix(15).map {
            ReportPage.Confusion(expected: $0.key[0], answered: $0.key[1], count: $0.value)
        }
    }
}
