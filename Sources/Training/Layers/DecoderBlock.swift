internal import CKernels
package import LanguageModels
package import Tensors

/// One decoder layer for training: norm → attention → residual, norm → feed-forward or experts → residual.
package struct TrainableBlock {
    package enum FeedForward {
        case dense(FeedForwardLayer)
        case experts(MixtureOfExpertsLayer)
    }

    package var inputNorm: Floats
    package var inputNormGradient: Floats?
    package var attention: AttentionLayer
    package var middleNorm: Floats
    package var middleNormGradient: Floats?
    package var feedForward: FeedForward
    package var width: Int
    package var epsilon: Float

    /// What the backward pass needs, for T tokens and the R rows that are carried on behind the attention: the residual stream before each half, the norms' outputs, and the layers' own.
    package struct Saved {
        var input: Floats
        var inputInverse: Floats
        var inputNormed: Floats
        var attention: AttentionLayer.Saved
        var middle: Floats
        var middleInverse: Floats
        var middleNormed: Floats
        var dense: FeedForwardLayer.Saved?
        var room: MixtureOfExpertsLayer.Room?
        var experts: MixtureOfExpertsLayer.Saved?
    }

    /// Floats that one layer keeps beside its input for `tokens` tokens, of which `rows` are carried on.
    package static func savedCount(_ c: ModelConfiguration, tokens: Int, rows: Int) -> Int {
        let feedForward =
            if let e = c.experts {
                MixtureOfExpertsLayer.savedCount(
                    width: c.width, experts: e.routedCount, active: e.activeCount, expertWidth: e.width,
                    sharedWidth: e.sharedWidth, tokens: rows)
            } else {
                rows * 3 * c.feedForwardWidth
            }
        return tokens * (c.width + 1) + rows * (2 * c.width + 1)
            + AttentionLayer.savedCount(c, tokens: tokens, rows: rows) + feedForward
    }

    /// Floats of work space that forward and backward share, beside the stream's gradients.
    package static func workCount(_ c: ModelConfiguration, tokens: Int, rows: Int) -> Int {
        let feedForward =
            if let e = c.experts {
                MixtureOfExpertsLayer.workCount(
                    width: c.width, experts: e.routedCount, active: e.activeCount, expertWidth: e.width,
                    sharedWidth: e.sharedWidth, tokens: rows)
            } else {
                rows * 3 * c.feedForwardWidth
            }
        // What lies behind it begins at a multiple of 64 bytes.
        return (max(AttentionLayer.workCount(c, tokens: tokens, rows: rows), feedForward) + 15) / 16 * 16
    }

    /// Lays the saved parts out: the input [T, W], and the rest in memory of `savedCount` floats.
    package func makeSaved(input: Floats, _ base: Floats, tokens: Int, rows: Int) -> Saved {
        var next = base
        func take(_ count: Int) -> Floats {
            defer { next += count }
            return next
        }
        let inputNormed = take(tokens * width)
        let middle = take(rows * width)
        let middleNormed = take(rows * width)
        let inputInverse = take(tokens)
        let middleInverse = take(rows)
        let attentionSaved = attention.makeSaved(tokens: tokens, rows: rows, take)
        var dense: FeedForwardLayer.Saved?
        var room: MixtureOfExpertsLayer.Room?
        switch feedForward {
        case .dense(let layer):
            dense = .init(gateUp: take(rows * 2 * layer.width), hidden: take(rows * layer.width))
        case .experts(let layer):
            room = layer.room(next, tokens: rows)
        }
        return Saved(
            input: input, inputInverse: inputInverse, inputNormed: inputNormed, attention: attentionSaved,
            middle: middle, middleInverse: middleInverse, middleNormed: middleNormed, dense: dense, room: room,
            experts: nil)
    }

    /// Carries the stream x[T, W] through the layer, in place.
    ///
    /// - Parameter targets: where the stream of the rows with a target goes, [R, W], when only these are carried on, as
    ///   in a last layer; x is then left alone.
    package func forward(
        _ x: Floats, targets: Floats? = nil, batch: TrainingBatch, rope: RotaryTable, saved: inout Saved, work: Floats,
        compute: Compute, scratch: ScratchBuffer
    ) {
        let stream = targets ?? x
        saved.input.update(from: x, count: batch.tokens.count * width)
        let rows = attend(batch, targetsOnly: targets != nil, rope, saved, work, compute, scratch)
        stream.update(from: saved.middle, count: rows * width)
        feed(stream, rows: rows, &saved, work, compute, scratch)
    }

    /// Computes what the backward pass needs again, from the kept input alone (Chen et al. 2016): the same bit for bit.
    package func recompute(
        batch: TrainingBatch, rope: RotaryTable, saved: inout Saved, work: Floats, compute: Compute,
        scratch: ScratchBuffer
    ) {
        let rows = attend(batch, targetsOnly: false, rope, saved, work, compute, scratch)
        feed(nil, rows: rows, &saved, work, compute, scratch)
    }

    /// The first half, from `saved.input` to `saved.middle`; returns the rows carried on.
    private func attend(
        _ batch: TrainingBatch, targetsOnly: Bool, _ rope: RotaryTable, _ saved: Saved, _ work: Floats,
        _ compute: Compute, _ scratch: ScratchBuffer
    ) -> Int {
        let tokens = batch.tokens.count
        norm(saved.input, inputNorm, saved.inputInverse, into: saved.inputNormed, tokens, compute)
        if targetsOnly {
            batch.gatherTargets(saved.input, into: saved.middle, width: width)
            batch.gatherTargets(saved.inputNormed, into: work, width: width)
            attention.forwardTargets(
                x: saved.inputNormed, rows: work, residual: saved.middle, batch: batch, rope: rope,
                saved: saved.attention, compute: compute, scratch: scratch)
        } else {
            saved.middle.update(from: saved.input, count: tokens * width)
            attention.forward(
                x: saved.inputNormed, residual: saved.middle, batch: batch, rope: rope, saved: saved.attention,
                compute: compute, scratch: scratch)
        }
        return targetsOnly ? batch.rows.count : tokens
    }

    /// The second half, from `saved.middle`: added to `residual`; nil: only what the backward pass needs.
    private func feed(
        _ residual: Floats?, rows: Int, _ saved: inout Saved, _ work: Floats, _ compute: Compute,
        _ scratch: ScratchBuffer
    ) {
        norm(saved.middle, middleNorm, saved.middleInverse, into: saved.middleNormed, rows, compute)
        switch feedForward {
        case .dense(let layer):
            guard let dense = saved.dense else { preconditionFailure("saved values of another layer") }
            layer.forward(
                x: saved.middleNormed, residual: residual, tokens: rows, saved: dense, compute: compute,
                scratch: scratch)
        case .experts(let layer):
            guard let room = saved.room else { preconditionFailure("saved values of another layer") }
            saved.experts = layer.forward(
                x: saved.middleNormed, residual: residual, tokens: rows, room: room, work: work, compute: compute)
        }
    }

    /// Carries the stream's gradient dx[T, W] back through the layer, in place; `dNormed` has room for T · W.
    ///
    /// - Parameters:
    ///   - targets: the gradient of the rows with a target, [R, W], when only these were carried on; dx is then written.
    ///   - needsInput: whether anything below trains; without it the last product is left out.
    package func backward(
        _ dx: Floats, targets: Floats? = nil, dNormed: Floats, batch: TrainingBatch, rope: RotaryTable, saved: Saved,
        balance: Float, z: Float,
        needsInput: Bool, work: Floats, compute: Compute, scratch: ScratchBuffer
    ) -> Router.Extra {
        let tokens = batch.tokens.count
        let rows = targets == nil ? tokens : batch.rows.count
        let stream = targets ?? dx
        var extra = Router.Extra()
        switch feedForward {
        case .dense(let layer):
            guard let dense = saved.dense else { preconditionFailure("saved values of another layer") }
            layer.backward(
                x: saved.middleNormed, dResidual: stream, dx: dNormed, tokens: rows, saved: dense, work: work,
                compute: compute, scratch: scratch)
        case .experts(let layer):
            guard let experts = saved.experts else { preconditionFailure("backward before forward") }
            extra = layer.backward(
                x: saved.middleNormed, dResidual: stream, dx: dNormed, tokens: rows, saved: experts, balance: balance,
                z: z, work: work, compute: compute)
        }
        compute.normBackward(
            x: saved.middle, weight: middleNorm, inverse: saved.middleInverse, dy: dNormed, rows: rows, width: width,
            dx: stream, dw: middleNormGradient)
        let needsNormed = needsInput || inputNormGradient != nil
        if let targets {
            attention.backwardTargets(
                x: saved.inputNormed, dResidual: targets, dx: needsNormed ? dNormed : nil, batch: batch, rope: rope,
                saved: saved.attention, work: work, compute: compute, scratch: scratch)
            batch.spreadTargets(targets, over: dx, width: width)
        } else {
            attention.backward(
                x: saved.inputNormed, dResidual: dx, dx: needsNormed ? dNormed : nil, batch: batch, rope: rope,
                saved: saved.attention, work: work, compute: compute, scratch: scratch)
        }
        if needsNormed {
            compute.normBackward(
                x: saved.input, weight: inputNorm, inverse: saved.inputInverse, dy: dNormed, rows: tokens, width: width,
                dx: dx, dw: inputNormGradient)
        }
        return extra
    }

    private func norm(_ x: Floats, _ w: Floats, _ inverse: Floats, into y: Floats, _ tokens: Int, _ compute: Compute) {
        compute.rows(tokens, grain: 64) { rows in
            let offset = rows.lowerBound * width
            uk_rms_norm_forward(x + offset, w, rows.count, width, epsilon, y + offset, inverse + rows.lowerBound)
        }
    }
}
