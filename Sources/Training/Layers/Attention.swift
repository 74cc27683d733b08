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

    /// What the backward pass needs of the forward pass, for R rows that ask (all T, or those with a target).
    package struct Saved {
        /// [R, Q] after RoPE, rows `queryStride` apart.
        var queries: Floats
        var queryStride: Int
        /// [T, 2K], keys after RoPE and values, rows `keyStride` apart.
        var keys: Floats
        var keyStride: Int
        /// [R, Q], the heads' outputs.
        var mixed: Floats
        /// [heads, rows that ask] for each sequence, one behind the other.
        var lse: Floats
    }

    static func savedCount(_ c: ModelConfiguration, tokens: Int, rows: Int) -> Int {
        let q = c.headCount * c.headDimension
        let k = c.keyValueHeadCount * c.headDimension
        return tokens * 2 * k + rows * (2 * q + c.headCount)
    }

    /// Floats of work space of the backward pass.
    static func workCount(_ c: ModelConfiguration, tokens: Int, rows: Int) -> Int {
        let gathered = rows < tokens ? 2 * rows * c.width : 0
        return 2 * c.headDimension * (tokens * c.keyValueHeadCount + rows * c.headCount) + gathered
    }

    /// Lays the saved parts out: side by side where all rows ask, so that one product makes them.
    func makeSaved(tokens: Int, rows: Int, _ take: (Int) -> Floats) -> Saved {
        let isWhole = rows == tokens
        let queries = take(rows * queryWidth + (isWhole ? tokens * 2 * keyWidth : 0))
        return Saved(
            queries: queries, queryStride: isWhole ? qkvWidth : queryWidth,
            keys: isWhole ? queries + queryWidth : take(tokens * 2 * keyWidth),
            keyStride: isWhole ? qkvWidth : 2 * keyWidth, mixed: take(rows * queryWidth), lse: take(rows * heads))
    }

    private func sequence(_ saved: Saved, _ tokens: Range<Int>, _ rows: Range<Int>) -> uk_sequence_attention {
        let keys = saved.keys + tokens.lowerBound * saved.keyStride
        return uk_sequence_attention(
            tokens: tokens.count, queries: rows.count, heads: heads, kv_heads: keyValueHeads,
            head_dimension: headDimension, q: saved.queries + rows.lowerBound * saved.queryStride, k: keys,
            v: keys + keyWidth, q_stride: saved.queryStride, kv_stride: saved.keyStride,
            scale: 1 / Float(headDimension).squareRoot(), out: saved.mixed + rows.lowerBound * queryWidth,
            out_stride: queryWidth, lse: saved.lse + rows.lowerBound * heads)
    }

    /// residual[T, W] += attention(x[T, W]).
    package func forward(
        x: Floats, residual: Floats, batch: TrainingBatch, rope: RotaryTable, saved: Saved, compute: Compute,
        scratch: ScratchBuffer
    ) {
        let tokens = batch.tokens.count
        compute.linearForward(qkv, x: x, y: saved.queries, rows: tokens, scratch: scratch)
        rotate(
            saved.queries, qkvWidth, heads: heads + keyValueHeads, batch.positions, rope, inverse: false, compute)
        attend(saved, batch, rowStarts: batch.starts, compute)
        compute.linearForward(output, x: saved.mixed, y: residual, rows: tokens, accumulate: true, scratch: scratch)
    }

    /// residual[R, W] += attention(x[T, W]) of the R rows with a target; `rows` is x of these.
    package func forwardTargets(
        x: Floats, rows: Floats, residual: Floats, batch: TrainingBatch, rope: RotaryTable, saved: Saved,
        compute: Compute, scratch: ScratchBuffer
    ) {
        let count = batch.rows.count
        compute.linearForward(
            qkv.outputs(queryWidth..<qkvWidth), x: x, y: saved.keys, rows: batch.tokens.count, scratch: scratch)
        compute.linearForward(qkv.outputs(0..<queryWidth), x: rows, y: saved.queries, rows: count, scratch: scratch)
        rotate(saved.keys, saved.keyStride, heads: keyValueHeads, batch.positions, rope, inverse: false, compute)
        rotate(
            saved.queries, saved.queryStride, heads: heads, batch.rows.map { batch.positions[$0] }, rope,
            inverse: false, compute)
        attend(saved, batch, rowStarts: batch.rowStarts, compute)
        compute.linearForward(output, x: saved.mixed, y: residual, rows: count, accumulate: true, scratch: scratch)
    }

    /// dx[T, W] (written) from dResidual[T, W]; `work` has room for `workCount`.
    package func backward(
        x: Floats, dResidual: Floats, dx: Floats?, batch: TrainingBatch, rope: RotaryTable, saved: Saved, work: Floats,
        compute: Compute, scratch: ScratchBuffer
    ) {
        let tokens = batch.tokens.count
        let dMixed = work
        let dQKV = work + tokens * queryWidth
        compute.linearBackward(
            output, x: saved.mixed, dy: dResidual, dx: dMixed, rows: tokens, accumulate: false, scratch: scratch)
        attendBackward(
            saved, batch, rowStarts: batch.starts, dMixed: dMixed, dQueries: dQKV, dKeys: dQKV + queryWidth, compute)
        rotate(dQKV, qkvWidth, heads: heads + keyValueHeads, batch.positions, rope, inverse: true, compute)
        compute.linearBackward(qkv, x: x, dy: dQKV, dx: dx, rows: tokens, accumulate: false, scratch: scratch)
    }

    /// dx[T, W] (written) from dResidual[R, W] of the rows with a target; `work` has room for `workCount`.
    package func backwardTargets(
        x: Floats, dResidual: Floats, dx: Floats?, batch: TrainingBatch, rope: RotaryTable, saved: Saved, work: Floats,
        compute: Compute, scratch: ScratchBuffer
    ) {
        let (tokens, count, width) = (batch.tokens.count, batch.rows.count, qkv.input)
        let dMixed = work
        let dQueries = dMixed + count * queryWidth
        let dKeys = dQueries + count * queryWidth
        let rows = dKeys + tokens * 2 * keyWidth
        let dRows = rows + count * width
        compute.linearBackward(
            output, x: saved.mixed, dy: dResidual, dx: dMixed, rows: count, accumulate: false, scratch: scratch)
        attendBackward(
            saved, batch, rowStarts: batch.rowStarts, dMixed: dMixed, dQueries: dQueries, dKeys: dKeys, compute)
        rotate(dKeys, saved.keyStride, heads: keyValueHeads, batch.positions, rope, inverse: true, compute)
        rotate(
            dQueries, saved.queryStride, heads: heads, batch.rows.map { batch.positions[$0] }, rope, inverse: true,
            compute)
        batch.gatherTargets(x, into: rows, width: width)
        compute.linearBackward(
            qkv.outputs(queryWidth..<qkvWidth), x: x, dy: dKeys, dx: dx, rows: tokens, accumulate: false,
            scratch: scratch)
        compute.linearBackward(
            qkv.outputs(0..<queryWidth), x: rows, dy: dQueries, dx: dx == nil ? nil : dRows, rows: count,
            accumulate: false, scratch: scratch)
        if let dx {
            for (index, row) in batch.rows.enumerated() { uk_add(dx + row * width, dRows + index * width, width) }
        }
    }

    private func attend(_ saved: Saved, _ batch: TrainingBatch, rowStarts: [Int], _ compute: Compute) {
        let group = heads / keyValueHeads
        let sequences = batch.starts.count - 1
        compute.tasks(sequences * keyValueHeads, scratch: scratchCount(batch)) { task, scratch in
            let (index, head) = task.quotientAndRemainder(dividingBy: keyValueHeads)
            var a = sequence(
                saved, batch.starts[index]..<batch.starts[index + 1], rowStarts[index]..<rowStarts[index + 1])
            uk_sequence_attention_forward(&a, head * group, (head + 1) * group, scratch)
        }
    }

    /// dQueries and dKeys (with the values' behind them) are laid out like the saved ones.
    private func attendBackward(
        _ saved: Saved, _ batch: TrainingBatch, rowStarts: [Int], dMixed: Floats, dQueries: Floats, dKeys: Floats,
        _ compute: Compute
    ) {
        let sequences = batch.starts.count - 1
        compute.tasks(sequences * keyValueHeads, scratch: scratchCount(batch)) { task, scratch in
            let (index, head) = task.quotientAndRemainder(dividingBy: keyValueHeads)
            let (start, row) = (batch.starts[index], rowStarts[index])
            var a = sequence(saved, start..<batch.starts[index + 1], row..<rowStarts[index + 1])
            let keys = dKeys + start * saved.keyStride
            uk_sequence_attention_backward(
                &a, dMixed + row * queryWidth, head, dQueries + row * saved.queryStride, keys, keys + keyWidth,
                scratch)
        }
    }

    private func scratchCount(_ batch: TrainingBatch) -> Int {
        let longest = zip(batch.starts.dropFirst(), batch.starts).map { $0 - $1 }.max() ?? 0
        return uk_sequence_attention_scratch(longest, headDimension)
    }

    /// Rotates the first `heads` heads of rows that lie `stride` apart.
    private func rotate(
        _ x: Floats, _ stride: Int, heads: Int, _ positions: [Int32], _ rope: RotaryTable, inverse: Bool,
        _ compute: Compute
    ) {
        positions.withUnsafeBufferPointer { positions in
            compute.rows(positions.count, grain: 64) { rows in
                uk_rope_rows(
                    x + rows.lowerBound * stride, rows.count, stride, heads, headDimension,
                    positions.baseAddress! + rows.lowerBound, rope.cosines.base, rope.sines.base, inverse)
            }
        }
    }
}
