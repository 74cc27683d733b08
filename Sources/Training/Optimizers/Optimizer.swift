internal import CKernels
internal import Foundation
package import Tensors

/// Changes the trained parameters along their gradients.
package protocol Optimizer: AnyObject {
    /// Its state, laid out like the trained parameters.
    var first: FloatBuffer { get }
    var second: FloatBuffer { get }
    /// Updates made.
    var step: Int { get set }
    /// One update. Gradients are scaled down to `clip` where their norm is above it.
    func update(rate: Float, norm: Double, clip: Float, compute: Compute)
}

extension Parameters {
    /// The gradient's norm over all trained parameters.
    package func gradientNorm(compute: Compute) -> Double { norm(of: gradients, compute: compute) }

    /// The norm of all trained parameters; not finite where one of them isn't.
    package func valueNorm(compute: Compute) -> Double { norm(of: values, compute: compute) }

    /// Sums are in Double, over pieces of fixed size.
    private func norm(of buffer: FloatBuffer, compute: Compute) -> Double {
        let piece = 1 << 16
        let count = trainedCount
        let pieces = (count + piece - 1) / piece
        var sums = [Double](repeating: 0, count: pieces)
        sums.withUnsafeMutableBufferPointer { sums in
            let sums = Unshared(sums)
            compute.pool.run(pieces) { index, _ in
                let start = index * piece
                sums.value[index] = uk_sum_of_squares(buffer.base + start, min(piece, count - start))
            }
        }
        return sums.reduce(0, +).squareRoot()
    }
}
