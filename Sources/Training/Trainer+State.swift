internal import Foundation
internal import Tensors

/// Checkpoints, and the way back to one.
///
/// Beside the newest checkpoint lies the last good one (`….good`): that of the last multiple of the interval at which
/// no loss was suspicious and all weights were finite. Where a run goes back to therefore depends on its updates alone,
/// never on when it was killed.
extension Trainer {
    private var goodFile: URL? { checkpoint?.appendingPathExtension("good") }

    private var blocks: [FloatBuffer] {
        let kept = [average?.values, best?.values].compactMap { $0 }
        return [model.parameters.values, optimizer.first, optimizer.second] + kept
    }

    /// Goes on where the checkpoint is; a run without one keeps its start, so that there is something to go back to.
    func resume() throws {
        guard let checkpoint else { return }
        if let header = read(checkpoint) {
            restore(header)
            // The run may have been killed between writing the checkpoint and keeping it.
            try keepIfGood()
        } else {
            try save()
        }
    }

    /// Whether there is a checkpoint to go on from, so that the weights it begins with don't matter.
    package var hasCheckpoint: Bool {
        guard let checkpoint else { return false }
        return TrainingCheckpoint.open(
            key: key, count: model.parameters.trainedCount, blocks: blocks.count, from: checkpoint) != nil
    }

    func save() throws {
        guard let checkpoint else { return }
        try TrainingCheckpoint.write(
            .init(
                key: key, step: optimizer.step, count: model.parameters.trainedCount, record: record, pending: window,
                loads: loads, watch: watch, averaged: average?.count ?? 0, best: best?.state,
                bias: options.biasSpeed > 0 ? model.selectionBias.values : nil),
            blocks: blocks, to: checkpoint)
        try keepIfGood()
    }

    /// Goes back to the last good state with half of the learning rate; the fault is put on record.
    ///
    /// - Throws: `TrainingError` the second time, or where no state is kept.
    func rollBack(_ fault: TrainingFault) throws {
        let before = record
        guard before.rollbacks.isEmpty, let goodFile, let header = read(goodFile) else { throw error(fault) }
        restore(header)
        record.rollbacks.append(
            .init(
                step: fault.step, resumedFrom: record.steps, reason: fault.description(of: steps),
                parameter: fault.parameter, sequences: fault.sequences, rateScale: Self.rollbackScale))
        // Kept at once, so that a run killed now does not forget it.
        try save()
    }

    func error(_ fault: TrainingFault) -> TrainingError {
        let advice =
            record.rollbacks.isEmpty
            ? "lower the learning rate (\(options.rate))"
            : "it had been rolled back from update \(record.rollbacks[0].step) to \(record.rollbacks[0].resumedFrom) with half of the learning rate before; lower it (\(options.rate)), or look at these sequences"
        return TrainingError(.diverged, fault.description(of: steps) + "; " + advice)
    }

    /// Removes what only an unfinished run needs.
    func forgetGoodState() {
        if let goodFile { try? FileManager.default.removeItem(at: goodFile) }
    }

    private func keepIfGood() throws {
        guard let checkpoint, let goodFile, record.steps % options.checkpointInterval == 0, watch.suspicious == 0,
            model.parameters.valueNorm(compute: model.compute).isFinite
        else { return }
        let files = FileManager.default
        do {
            try? files.removeItem(at: goodFile)
            // A second name of the same file where the file system knows that; checkpoints are replaced, never changed.
            do { try files.linkItem(at: checkpoint, to: goodFile) } catch {
                try files.copyItem(at: checkpoint, to: goodFile)
            }
        } catch {
            throw TrainingError(
                .checkpoint, "\(goodFile.path): cannot keep the checkpoint: \(error.localizedDescription)")
        }
    }

    private func read(_ file: URL) -> TrainingCheckpoint.Header? {
        TrainingCheckpoint.read(key: key, count: model.parameters.trainedCount, blocks: blocks, from: file)
    }

    private func restore(_ header: TrainingCheckpoint.Header) {
        record = header.record
        window = header.pending
        loads = header.loads
        watch = header.watch
        optimizer.step = header.step
        average?.count = header.averaged
        if let state = header.best { best?.state = state }
        if let bias = header.bias, bias.count == model.selectionBias.count {
            model.selectionBias.base.update(from: bias, count: bias.count)
        }
    }
}
