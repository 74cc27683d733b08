internal import CKernels
internal import Foundation
package import Tensors

/// AdamW (Loshchilov & Hutter 2019) over a block of parameters, with clipping by the global norm.
package final class AdamW: Optimizer {
    package var beta1: Float = 0.9
    package var beta2: Float = 0.99
    package var epsilon: Float = 1e-8
    package var decay: Float
    /// First and second moments, laid out like the parameters.
    package let first: FloatBuffer
    package let second: FloatBuffer
    /// Updates made.
    package var step = 0
    private let parameters: Parameters
    private let covers: (ParameterSpecification) -> Bool

    /// - Parameter covers: which of the trained parameters it changes.
    package init(
        _ parameters: Parameters, decay: Float, covers: @escaping (ParameterSpecification) -> Bool = { _ in true }
    ) {
        self.covers = covers
        self.parameters = parameters
        self.decay = decay
        first = FloatBuffer(count: parameters.trainedCount)
        second = FloatBuffer(count: parameters.trainedCount)
    }

    /// One update. Gradients are scaled down to `clip` where their norm is above it.
    package func update(rate: Float, norm: Double, clip: Float, compute: Compute) {
        step += 1
        let scale = norm > Double(clip) ? Float(Double(clip) / norm) : 1
        let correction1 = Float(1 - pow(Double(beta1), Double(step)))
        let correction2 = Float(1 - pow(Double(beta2), Double(step)))
        let piece = 1 << 16
        var pieces: [(offset: Int, count: Int, decay: Float)] = []
        for entry in parameters.entries where entry.specification.trains && covers(entry.specification) {
            let count = entry.specification.count
            for start in stride(from: 0, to: count, by: piece) {
                pieces.append(
                    (entry.offset + start, min(piece, count - start), entry.specification.decays ? decay : 0))
            }
        }
        compute.pool.run(pieces.count) { index, _ in
            let (offset, count, decay) = pieces[index]
            uk_adamw(
                parameters.values.base + offset, parameters.gradients.base + offset, first.base + offset,
                second.base + offset, count, rate, beta1, beta2, epsilon, decay, correction1, correction2, scale)
        }
    }
}
