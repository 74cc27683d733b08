internal import Tensors

/// Brings a student's last hidden states near a teacher's: `1 - cos` of the two in a random subspace, at rows with a target
/// (the cosine loss of DistilBERT, arXiv 1910.01108).
///
/// A random projection to 64 dimensions keeps cosines to about ± 1/8 (Johnson & Lindenstrauss 1984): a teacher's state is 64
/// bytes instead of its width in floats, and teacher and student may differ in width.
package struct HiddenStateLoss {
    /// Bytes that stand for a hidden state.
    package static let dimensions = 64

    private let width: Int
    /// [dimensions, width], of ones and minus ones: the same in every run.
    private let projection: FloatBuffer
    private let scratch = ScratchBuffer()
    private static let seed: UInt64 = 0x5EED

    package init(width: Int) {
        self.width = width
        var random = RandomNumbers(seed: Self.seed)
        projection = FloatBuffer(
            (0..<Self.dimensions * width).map { _ in random.next() & 1 == 0 ? 1 : -1 })
    }

    /// The directions of hidden states, each as `dimensions` bytes.
    ///
    /// - Parameter hidden: [rows, width].
    package func directions(_ hidden: Floats, rows: Int, compute: Compute) -> [[Int8]] {
        let projected = project(hidden, rows: rows, compute: compute)
        return (0..<rows).map { row in
            let own = UnsafeBufferPointer(start: projected + row * Self.dimensions, count: Self.dimensions)
            let largest = own.reduce(0) { max($0, abs($1)) }
            return own.map { largest > 0 ? Int8(($0 / largest * 127).rounded()) : 0 }
        }
    }

    /// - Parameters:
    ///   - hidden: [rows, width], normed rows.
    ///   - coefficient: what a row's `1 - cos` is multiplied with.
    ///   - scale: what the gradient of the weighted sum is multiplied with, usually 1 / Σ weight.
    ///   - dHidden: [rows, width], added to; nil: evaluation only.
    /// - Returns: Σ weight · coefficient · (1 - cos) over the rows whose target has a hidden state beside it.
    package func run(
        hidden: Floats, rows: Int, batch: TrainingBatch, coefficient: Float, scale: Float, dHidden: Floats?,
        compute: Compute
    ) -> Double {
        guard batch.targets.contains(where: { $0.hidden != nil }) else { return 0 }
        let projected = project(hidden, rows: rows, compute: compute)
        var loss = 0.0
        for row in 0..<rows {
            // The projection becomes its gradient.
            let own = UnsafeMutableBufferPointer(start: projected + row * Self.dimensions, count: Self.dimensions)
            let weight = coefficient * batch.weights[row]
            loss += Double(weight) * Self.one(own, batch.targets[row].hidden, factor: weight * scale)
        }
        if let dHidden {
            compute.run([
                .inputGradient(
                    dy: projected, w: projection.base, dx: dHidden, rows: rows, input: width, output: Self.dimensions,
                    accumulate: true)
            ])
        }
        return loss
    }

    private func project(_ hidden: Floats, rows: Int, compute: Compute) -> Floats {
        let projected = scratch.floats(rows * Self.dimensions)
        compute.run([
            .forward(
                x: hidden, w: projection.base, y: projected, rows: rows, input: width, output: Self.dimensions)
        ])
        return projected
    }

    /// `1 - cos` of a row; `own` becomes its gradient times `factor`, 0 where there is nothing to be near to.
    private static func one(_ own: UnsafeMutableBufferPointer<Float>, _ target: [Int8]?, factor: Float) -> Double {
        let length = own.reduce(0) { $0 + $1 * $1 }.squareRoot()
        let other = target ?? []
        let otherLength = other.reduce(Float(0)) { $0 + Float($1) * Float($1) }.squareRoot()
        guard length > 0, otherLength > 0 else {
            own.update(repeating: 0)
            return 0
        }
        var cosine: Float = 0
        for place in own.indices { cosine += own[place] / length * Float(other[place]) / otherLength }
        for place in own.indices {
            own[place] = factor * (cosine * own[place] / length - Float(other[place]) / otherLength) / length
        }
        return Double(1 - cosine)
    }
}
