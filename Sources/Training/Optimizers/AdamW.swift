internal import CKernels
internal import Foundation
package import Tensors

/// AdamW (Loshchilov & Hutter 2019) over a block of parameters, with clipping by the global norm.
package final class AdamW {
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

    package init(_ parameters: Parameters, decay: Float) {
        self.parameters = parameters
        self.decay = decay
        first = FloatBuffer(count: parameters.trainedCount)
        second = FloatBuffer(count: parameters.trainedCount)
    }

    /// The gradient's norm over all trained parameters; sums are in Double, over pieces of fixed size.
    package func gradientNorm(compute: Compute) -> Double {
        let piece = 1 << 16
        let count = parameters.trainedCount
        let pieces = (count + piece - 1) / piece
        var sums = [Double](repeating: 0, count: pieces)
        sums.withUnsafeMutableBufferPointer { sums in
            let sums = Unshared(sums)
            compute.pool.run(pieces) { index, _ in
                let start = index * piece
                sums.value[index] = uk_sum_of_squares(parameters.gradients.base + start, min(piece, count - start))
            }
        }
        return sums.reduce(0, +).squareRoot()
    }

    /// One update. Gradients are scaled down to `clip` where their norm is above it.
    package func update(rate: Float, norm: Double, clip: Float, compute: Compute) {
        step += 1
        let scale = norm > Double(clip) ? Float(Double(clip) / norm) : 1
        let correction1 = Float(1 - pow(Double(beta1), Double(step)))
        let correction2 = Float(1 - pow(Double(beta2), Double(step)))
        let piece = 1 << 16
        var pieces: [(offset: Int, count: Int, decay: Float)] = []
        for entry in parameters.entries where entry.specification.trains {
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
