/// Validation, and which weights a run ends with.
extension Trainer {
    /// Makes the result of the run the weights: the mean over the last updates, where asked for, and the best
    /// validation's, where it was better.
    func finish() {
        let isAveraged = average?.apply() ?? false
        // An early end comes right after a validation.
        if !record.endedEarly || isAveraged { withoutBias(validate) }
        record.keptStep = best?.restore()
    }

    /// A validation before the end, which may become the end.
    func validateBetween() {
        withoutBias(validate)
        guard let best else { return }
        if best.shouldEnd { record.endedEarly = true } else { loads = [] }
    }

    private func validate() {
        guard !validation.isEmpty else { return }
        var loss = SoftTargetLoss.Result()
        var exact = 0
        for sequence in validation {
            let pass = model.run(TrainingBatch(CollectionOfOne(sequence)), backward: false).loss
            loss.answerLoss += pass.answerLoss
            loss.hits += pass.hits
            loss.rows += pass.rows
            loss.weight += pass.weight
            if pass.hits == pass.rows { exact += 1 }
        }
        let result = TrainingRecord.Validation(
            step: record.steps, answerLoss: loss.answerLoss / max(loss.weight, 1e-9),
            accuracy: Double(loss.hits) / Double(max(loss.rows, 1)), exact: Double(exact) / Double(validation.count))
        record.validations.append(result)
        best?.add(result)
    }
}
