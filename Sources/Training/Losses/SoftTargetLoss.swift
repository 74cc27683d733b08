internal import CKernels
internal import Foundation
package import Tensors

/// Cross-entropy of the vocabulary projection's softmax to soft targets, forward and backward in one pass.
///
/// For a target q over named tokens K and a tail t: `L = -Σ_K q·log p - t·log(1 - Σ_K p)`, so that
/// `dL/dz = p - q` on K and `p - t·p / (1 - Σ_K p)` elsewhere (the tail as one bucket).
/// With label smoothing ε (Szegedy et al. 2016) it is `(1 - ε)·L - ε/V·Σ log p`. A target that has a teacher's
/// distribution beside it counts `1 - w` of that, and w of the ``Divergence`` from the teacher.
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
        /// weight · -log p(right token) of each row.
        package var rowLosses: [Double] = []
    }

    /// Rows of logits held at a time.
    static let block = 256

    /// - Parameters:
    ///   - hidden: [rows, W], normed rows.
    ///   - head: the projection [V, W].
    ///   - smoothing: ε.
    ///   - divergence: of targets with a teacher's distribution beside them.
    ///   - dHidden: [rows, W], written; nil: evaluation only.
    ///   - scale: what the gradient of the weighted sum is multiplied with, usually 1 / Σ weight.
    package static func run(
        hidden: Floats, rows: Int, width: Int, head: Floats, headGradient: Floats?, vocabulary: Int,
        batch: TrainingBatch, scale: Float, smoothing: Float = 0, divergence: Divergence = Divergence(.forwardKL),
        dHidden: Floats?, logits: ScratchBuffer, compute: Compute
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
                        parts.value[row] = one(
                            z + row * vocabulary, vocabulary, batch, first + row, scale, smoothing, divergence)
                    }
                }
            }
            for part in parts {
                total.loss += part.loss
                total.answerLoss += part.answerLoss
                total.hits += part.hits
                total.rows += 1
                total.weight += part.weight
                total.rowLosses.append(part.answerLoss)
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
        _ z: Floats, _ vocabulary: Int, _ batch: TrainingBatch, _ row: Int, _ scale: Float, _ smoothing: Float,
        _ divergence: Divergence
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
        let teacherRaw = target.teacher?.tokens.map { z[Int($0)] } ?? []
        let lse = uk_softmax_row(z, vocabulary)
        result.hits = isHit ? 1 : 0
        result.weight = Double(weight)
        result.answerLoss = Double(weight) * Double(lse - right)
        var loss = 0.0
        var sum: Float = 0
        for (place, token) in target.tokens.enumerated() {
            loss += Double(target.probabilities[place]) * Double(lse - raw[place])
            sum += z[Int(token)]
        }
        let outside = max(1 - sum, 1e-7)
        if target.tail > 0 { loss -= Double(target.tail) * log(Double(outside)) }
        if smoothing > 0 { loss += Double(smoothing) * (Double(lse) - mean - loss) }
        let share = target.teacher?.weight ?? 0
        let apart = target.teacher.map { divide(z, vocabulary, $0, teacherRaw.map { Double($0 - lse) }, divergence) }
        if let apart { loss = Double(1 - share) * loss + Double(share) * apart.loss }
        result.loss = Double(weight) * loss
        let factor = weight * scale * (1 - share)
        let others = weight * scale * share * (apart?.others ?? 0)
        let named = target.teacher?.tokens.map { z[Int($0)] } ?? []
        let keep = target.tokens.map { z[Int($0)] }
        let kept = 1 - smoothing
        uk_scale(z, vocabulary, factor * (kept * (1 - target.tail / outside) + smoothing) + others)
        for (place, token) in target.tokens.enumerated() {
            z[Int(token)] = factor * (keep[place] - kept * target.probabilities[place]) + others * keep[place]
        }
        if let teacher = target.teacher, let apart {
            for (place, token) in teacher.tokens.enumerated() {
                z[Int(token)] += weight * scale * share * apart.named[place] - others * named[place]
            }
        }
        if smoothing > 0 {
            let spread = factor * smoothing / Float(vocabulary)
            for token in 0..<vocabulary { z[token] -= spread }
        }
        return result
    }

    /// The divergence of one row from its teacher: the loss, the gradient by the logits of the named tokens, and what the
    /// probabilities of all others are multiplied with to give theirs.
    private static func divide(
        _ p: Floats, _ vocabulary: Int, _ teacher: SoftTarget.Teacher, _ student: [Double], _ divergence: Divergence
    ) -> (loss: Double, named: [Float], others: Float) {
        var q = teacher.probabilities.map(Double.init)
        var student = student
        let outside = max(1 - teacher.tokens.reduce(0.0) { $0 + Double(p[Int($1)]) }, 1e-7)
        let hasTail = teacher.tokens.count < vocabulary
        if hasTail {
            q.append(Double(teacher.tail))
            student.append(log(outside))
        }
        let (loss, gradient) = divergence.evaluate(teacher: q, student: student)
        return (
            loss, gradient.prefix(teacher.tokens.count).map { Float($0) },
            hasTail ? Float(gradient[gradient.count - 1] / outside) : 0
        )
    }
}

/// Lets threads write different elements of one buffer.
struct Unshared<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
