internal import CKernels
internal import Foundation
package import Tensors

/// Cross-entropy of the vocabulary projection's softmax to soft targets, forward and backward in one pass.
///
/// For a target q over named tokens K and a tail t: `L = -Σ_K q·log p - t·log(1 - Σ_K p)`, so that
/// `dL/dz = p - q` on K and `p - t·p / (1 - Σ_K p)` elsewhere (the tail as one bucket).
/// With label smoothing ε (Szegedy et al. 2016) it is `(1 - ε)·L - ε/V·Σ log p`.
/// Logits exist only for rows that have a target, a block of rows at a time.
package struct SoftTargetLoss {
    /// Sums over rows.
    package struct Result: Sendable {
        /// Σ weight · loss.
        package var loss = 0.0
        /// Σ weight · -log p(right token).
        package var answerLoss = 0.0
        /// Rows whose most probable token is the right one.
        package var hits = 0
        package var rows = 0
        /// Σ weight.
        package var weight = 0.0
    }

    /// Rows of logits held at a time.
    static let block = 256

    /// - Parameters:
    ///   - hidden: [rows, W], normed rows.
    ///   - head: the projection [V, W].
    ///   - smoothing: ε.
    ///   - dHidden: [rows, W], written; nil: evaluation only.
    ///   - scale: what the gradient of the weighted sum is multiplied with, usually 1 / Σ weight.
    package static func run(
        hidden: Floats, rows: Int, width: Int, head: Floats, headGradient: Floats?, vocabulary: Int,
        batch: TrainingBatch, scale: Float, smoothing: Float = 0, dHidden: Floats?, logits: ScratchBuffer,
        compute: Compute
    ) -> Result {
        var total = Result()
        var first = 0
        while first < rows {
            let count = min(block, rows - first)
            let z = logits.floats(count * vocabulary)
            let x = hidden + first * width
            compute.run([.forward(x: x, w: head, y: z, rows: count, input: width, output: vocabulary)])
            var parts = [Result](repeating: Result(), count: count)
            parts.withUnsafeMutableBufferPointer { parts in
                let parts = Unshared(parts)
                compute.rows(count, grain: 4) { range in
                    for row in range {
                        parts.value[row] = one(z + row * vocabulary, vocabulary, batch, first + row, scale, smoothing)
                    }
                }
            }
            for part in parts {
                total.loss += part.loss
                total.answerLoss += part.answerLoss
                total.hits += part.hits
                total.rows += 1
                total.weight += part.weight
            }
            if let dHidden {
                var products: [uk_gemm] = [
                    .inputGradient(
                        dy: z, w: head, dx: dHidden + first * width, rows: count, input: width, output: vocabulary,
                        accumulate: false)
                ]
                if let headGradient {
                    products.append(
                        .weightGradient(
                            dy: z, x: x, dw: headGradient, rows: count, input: width, output: vocabulary))
                }
                compute.run(products)
            }
            first += count
        }
        return total
    }

    /// One row: logits become their gradient.
    private static func one(
        _ z: Floats, _ vocabulary: Int, _ batch: TrainingBatch, _ row: Int, _ scale: Float, _ smoothing: Float
    ) -> Result {
        var result = Result()
        let answer = Int(batch.answers[row])
        let target = batch.targets[row]
        let weight = batch.weights[row]
        let raw = target.tokens.map { z[Int($0)] }
        let right = z[answer]
        var isHit = true
        for token in 0..<vocabulary where z[token] > right || z[token].isNaN {
            isHit = false
            break
        }
        var mean = 0.0
        if smoothing > 0 {
            for token in 0..<vocabulary { mean += Double(z[token]) / Double(vocabulary) }
        }
        let lse = uk_softmax_row(z, vocabulary)
        result.hits = isHit ? 1 : 0
        result.weight = Double(weight)
        result.answerLoss = Double(weight) * Double(lse - right)
        var loss = 0.0
        var named: Float = 0
        for (place, token) in target.tokens.enumerated() {
            loss += Double(target.probabilities[place]) * Double(lse - raw[place])
            named += z[Int(token)]
        }
        let outside = max(1 - named, 1e-7)
        if target.tail > 0 { loss -= Double(target.tail) * log(Double(outside)) }
        if smoothing > 0 { loss += Double(smoothing) * (Double(lse) - mean - loss) }
        result.loss = Double(weight) * loss
        let factor = weight * scale
        let keep = target.tokens.map { z[Int($0)] }
        let kept = 1 - smoothing
        uk_scale(z, vocabulary, factor * (kept * (1 - target.tail / outside) + smoothing))
        for (place, token) in target.tokens.enumerated() {
            z[Int(token)] = factor * (keep[place] - kept * target.probabilities[place])
        }
        if smoothing > 0 {
            let spread = factor * smoothing / Float(vocabulary)
            for token in 0..<vocabulary { z[token] -= spread }
        }
        return result
    }
}

/// Lets threads write different elements of one buffer.
struct Unshared<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
