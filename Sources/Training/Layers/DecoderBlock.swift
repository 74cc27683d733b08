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

    /// What the backward pass needs: the residual stream before each half, the norms' outputs, and the layers' own.
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

    /// Floats that one layer keeps for `tokens` tokens.
    package static func savedCount(_ c: ModelConfiguration, tokens: Int) -> Int {
        let feedForward =
            if let e = c.experts {
                MixtureOfExpertsLayer.savedCount(
                    width: c.width, experts: e.routedCount, active: e.activeCount, expertWidth: e.width,
                    sharedWidth: e.sharedWidth, tokens: tokens)
            } else {
                tokens * 3 * c.feedForwardWidth
            }
        return tokens * (4 * c.width + 2) + AttentionLayer.savedCount(c, tokens: tokens) + feedForward
    }

    /// Floats of work space that forward and backward share, beside the stream's gradients.
    package func workCount(tokens: Int) -> Int {
        let attentionWork = tokens * (2 * attention.queryWidth + 2 * attention.keyWidth)
        return switch feedForward {
        case .dense(let layer): max(attentionWork, tokens * 3 * layer.width)
        case .experts(let layer): max(attentionWork, layer.workCount(tokens: tokens))
        }
    }

    /// Lays the saved parts out in memory of `savedCount` floats.
    package func makeSaved(_ base: Floats, tokens: Int) -> Saved {
        var next = base
        func take(_ count: Int) -> Floats {
            defer { next += count }
            return next
        }
        let input = take(tokens * width)
        let inputNormed = take(tokens * width)
        let middle = take(tokens * width)
        let middleNormed = take(tokens * width)
        let inputInverse = take(tokens)
        let middleInverse = take(tokens)
        let attentionSaved = AttentionLayer.Saved(
            qkv: take(tokens * attention.qkvWidth), mixed: take(tokens * attention.queryWidth),
            lse: take(tokens * attention.heads))
        var dense: FeedForwardLayer.Saved?
        var room: MixtureOfExpertsLayer.Room?
        switch feedForward {
        case .dense(let layer):
            dense = .init(gateUp: take(tokens * 2 * layer.width), hidden: take(tokens * layer.width))
        case .experts(let layer):
            room = layer.room(next, tokens: tokens)
        }
        return Saved(
            input: input, inputInverse: inputInverse, inputNormed: inputNormed, attention: attentionSaved,
            middle: middle, middleInverse: middleInverse, middleNormed: middleNormed, dense: dense, room: room,
            experts: nil)
    }

    /// Carries the stream x[T, W] through the layer, in place.
    package func forward(
        _ x: Floats, batch: TrainingBatch, rope: RotaryTable, saved: inout Saved, work: Floats, compute: Compute,
        scratch: ScratchBuffer
    ) {
        let tokens = batch.tokens.count
        saved.input.update(from: x, count: tokens * width)
        norm(saved.input, inputNorm, saved.inputInverse, into: saved.inputNormed, tokens, compute)
        attention.forward(
            x: saved.inputNormed, residual: x, batch: batch, rope: rope, saved: saved.attention, compute: compute,
            scratch: scratch)
        saved.middle.update(from: x, count: tokens * width)
        norm(saved.middle, middleNorm, saved.middleInverse, into: saved.middleNormed, tokens, compute)
        switch feedForward {
        case .dense(let layer):
            guard let dense = saved.dense else { preconditionFailure("saved values of another layer") }
            layer.forward(
                x: saved.middleNormed, residual: x, tokens: tokens, saved: dense, compute: compute, scratch: scratch)
        case .experts(let layer):
            guard let room = saved.room else { preconditionFailure("saved values of another layer") }
            saved.experts = layer.forward(
                x: saved.middleNormed, residual: x, tokens: tokens, room: room, work: work, compute: compute)
        }
    }

    /// Carries the stream's gradient dx[T, W] back through the layer, in place; `dNormed` has room for T · W.
    ///
    /// - Parameter needsInput: whether anything below trains; without it the last product is left out.
    package func backward(
        _ dx: Floats, dNormed: Floats, batch: TrainingBatch, rope: RotaryTable, saved: Saved, balance: Float, z: Float,
        needsInput: Bool, work: Floats, compute: Compute, scratch: ScratchBuffer
    ) -> Router.Extra {
        let tokens = batch.tokens.count
        var extra = Router.Extra()
        switch feedForward {
        case .dense(let layer):
            guard let dense = saved.dense else { preconditionFailure("saved values of another layer") }
            layer.backward(
                x: saved.middleNormed, dResidual: dx, dx: dNormed, tokens: tokens, saved: dense, work: work,
                compute: compute, scratch: scratch)
        case .experts(let layer):
            guard let experts = saved.experts else { preconditionFailure("backward before forward") }
            extra = layer.backward(
                x: saved.middleNormed, dResidual: dx, dx: dNormed, tokens: tokens, saved: experts, balance: balance,
                z: z, work: work, compute: compute)
        }
        compute.normBackward(
            x: saved.middle, weight: middleNorm, inverse: saved.middleInverse, dy: dNormed, rows: tokens, width: width,
            dx: dx, dw: middleNormGradient)
        attention.backward(
            x: saved.inputNormed, dResidual: dx, dx: needsInput || inputNormGradient != nil ? dNormed : nil,
            batch: batch, rope: rope, saved: saved.attention, work: work, compute: compute, scratch: scratch)
        if needsInput || inputNormGradient != nil {
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
