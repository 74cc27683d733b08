internal import CKernels
package import LanguageModels
package import Tensors

/// Causal self-attention with RoPE: forward and backward over packed sequences.
///
/// Shapes: T tokens, W width, Q = heads · headDimension, K = keyValueHeads · headDimension.
package struct AttentionLayer {
    /// Rows q, k, v in one matrix: [Q + 2K, W].
    package var qkv: LinearView
    /// [W, Q].
    package var output: LinearView
    package var heads: Int
    package var keyValueHeads: Int
    package var headDimension: Int

    var queryWidth: Int { heads * headDimension }
    var keyWidth: Int { keyValueHeads * headDimension }
    var qkvWidth: Int { queryWidth + 2 * keyWidth }

    /// What the backward pass needs of the forward pass.
    package struct Saved {
        /// [T, Q + 2K] after RoPE.
        var qkv: Floats
        /// [T, Q], the heads' outputs.
        var mixed: Floats
        /// [heads, tokens] for each sequence, one behind the other.
        var lse: Floats
    }

    static func savedCount(_ c: ModelConfiguration, tokens: Int) -> Int {
        let q = c.headCount * c.headDimension
        let k = c.keyValueHeadCount * c.headDimension
        return tokens * (q + 2 * k) + tokens * q + tokens * c.headCount
    }

    private func sequence(_ saved: Saved, _ start: Int, _ end: Int) -> uk_sequence_attention {
        let base = saved.qkv + start * qkvWidth
        return uk_sequence_attention(
            tokens: end - start, heads: heads, kv_heads: keyValueHeads, head_dimension: headDimension,
            q: base, k: base + queryWidth, v: base + queryWidth + keyWidth, q_stride: qkvWidth, kv_stride: qkvWidth,
            scale: 1 / Float(headDimension).squareRoot(), out: saved.mixed + start * queryWidth, out_stride: queryWidth,
            lse: saved.lse + start * heads)
    }

    /// residual[T, W] += attention(x[T, W]).
    package func forward(
        x: Floats, residual: Floats, batch: TrainingBatch, rope: RotaryTable, saved: Saved, compute: Compute,
        scratch: ScratchBuffer
    ) {
        let tokens = batch.tokens.count
        compute.linearForward(qkv, x: x, y: saved.qkv, rows: tokens, scratch: scratch)
        rotate(saved.qkv, batch: batch, rope: rope, inverse: false, compute: compute)
        let sequences = batch.starts.count - 1
        compute.tasks(sequences * keyValueHeads, scratch: scratchCount(batch)) { task, scratch in
            let (index, head) = task.quotientAndRemainder(dividingBy: keyValueHeads)
            var a = sequence(saved, batch.starts[index], batch.starts[index + 1])
            let group = heads / keyValueHeads
            uk_sequence_attention_forward(&a, head * group, (head + 1) * group, scratch)
        }
        compute.linearForward(output, x: saved.mixed, y: residual, rows: tokens, accumulate: true, scratch: scratch)
    }

    /// dx[T, W] (written) from dResidual[T, W]; `work` has room for T · (Q + Q + 2K).
    package func backward(
        x: Floats, dResidual: Floats, dx: Floats?, batch: TrainingBatch, rope: RotaryTable, saved: Saved, work: Floats,
        compute: Compute, scratch: ScratchBuffer
    ) {
        let tokens = batch.tokens.count
        let dMixed = work
        let dQKV = work + tokens * queryWidth
        compute.linearBackward(
            output, x: saved.mixed, dy: dResidual, dx: dMixed, rows: tokens, accumulate: false, scratch: scratch)
        let sequences = batch.starts.count - 1
        compute.tasks(sequences * keyValueHeads, scratch: scratchCount(batch)) { task, scratch in
            let (index, head) = task.quotientAndRemainder(dividingBy: keyValueHeads)
            let start = batch.starts[index]
            var a = sequence(saved, start, batch.starts[index + 1])
            let base = dQKV + start * qkvWidth
            uk_sequence_attention_backward(
                &a, dMixed + start * queryWidth, head, base, base + queryWidth, base + queryWidth + keyWidth, scratch)
        }
        rotate(dQKV, batch: batch, rope: rope, inverse: true, compute: compute)
        compute.linearBackward(qkv, x: x, dy: dQKV, dx: dx, rows: tokens, accumulate: false, scratch: scratch)
    }

    private func scratchCount(_ batch: TrainingBatch) -> Int {
        let longest = zip(batch.starts.dropFirst(), batch.starts).map { $0 - $1 }.max() ?? 0
        return uk_sequence_attention_scratch(longest, headDimension)
    }

    private func rotate(_ x: Floats, batch: TrainingBatch, rope: RotaryTable, inverse: Bool, compute: Compute) {
        batch.positions.withUnsafeBufferPointer { positions in
            compute.rows(batch.tokens.count, grain: 64) { rows in
                uk_rope_rows(
                    x + rows.lowerBound * qkvWidth, rows.count, qkvWidth, heads + keyValueHeads, headDimension,
                    positions.baseAddress! + rows.lowerBound, rope.cosines.base, rope.sines.base, inverse)
            }
        }
    }
}
