internal import CKernels
package import Tensors

/// Muon (Jordan et al. 2024): momentum, made orthogonal, for the matrices of the blocks; AdamW for everything else.
///
/// For a matrix W [rows, columns] with gradient G: `M = μ·M + G`, `U = G + μ·M` (Nesterov),
/// `O = NewtonSchulz(U / ‖U‖)`, `W = W·(1 - rate·decay) - rate·0.2·sqrt(max(rows, columns))·O`. The last factor gives O
/// the size of an update of AdamW's (Moonlight, arXiv 2502.16982, eq. 4), so that rates and decay carry over.
/// Query, key and value, gate and up, and the experts are matrices of their own, though they lie side by side.
package final class Muon: Optimizer {
    package var momentum: Float = 0.95
    package var decay: Float
    /// Momenta of its matrices, and AdamW's first moments of the rest.
    package var first: FloatBuffer { rest.first }
    /// AdamW's second moments; zero for its own matrices.
    package var second: FloatBuffer { rest.second }
    package var step: Int {
        get { rest.step }
        set { rest.step = newValue }
    }

    private struct Matrix {
        var offset: Int
        var rows: Int
        var columns: Int
        var count: Int { rows * columns }
    }

    /// Floats of matrices that are made orthogonal together, which bounds the memory for it.
    private static let groupSize = 1 << 21

    private let parameters: Parameters
    private let rest: AdamW
    private let groups: [[Matrix]]
    private let newtonSchulz = NewtonSchulz()

    package init(_ parameters: Parameters, decay: Float) {
        self.parameters = parameters
        self.decay = decay
        rest = AdamW(parameters, decay: decay, covers: { !Self.covers($0) })
        groups = Self.groups(
            parameters.entries.filter { $0.specification.trains && Self.covers($0.specification) }.map {
                Matrix(offset: $0.offset, rows: $0.specification.shape[0], columns: $0.specification.shape[1])
            })
    }

    private static func groups(_ matrices: [Matrix]) -> [[Matrix]] {
        var groups: [[Matrix]] = []
        var size = 0
        for matrix in matrices {
            if groups.isEmpty || size + matrix.count > groupSize {
                groups.append([])
                size = 0
            }
            groups[groups.count - 1].append(matrix)
            size += matrix.count
        }
        return groups
    }

    /// Floats of the work space of an update of these parameters.
    static func workCount(_ specifications: [ParameterSpecification]) -> Int {
        let matrices = specifications.filter { $0.trains && covers($0) }.map {
            Matrix(offset: 0, rows: $0.shape[0], columns: $0.shape[1])
        }
        return groups(matrices).map { NewtonSchulz.roomCount($0.map { ($0.rows, $0.columns) }) }.max() ?? 0
    }

    /// Whether it changes a parameter: the blocks' projections and experts, but not routers, gates and adapters.
    package static func covers(_ specification: ParameterSpecification) -> Bool {
        let name = specification.name
        return specification.shape.count == 2 && (specification.shape.min() ?? 0) > 1
            && name.hasPrefix("model.layers.") && name.hasSuffix("_proj.weight")
    }

    package func update(rate: Float, norm: Double, clip: Float, compute: Compute) {
        rest.update(rate: rate, norm: norm, clip: clip, compute: compute)
        let scale = norm > Double(clip) ? Float(Double(clip) / norm) : 1
        for group in groups {
            let targets = newtonSchulz.room(group.map { ($0.rows, $0.columns) })
            compute.pool.run(group.count) { index, _ in
                let matrix = group[index]
                let gradient = self.parameters.gradients.base + matrix.offset
                let held = self.first.base + matrix.offset
                uk_scale(held, matrix.count, self.momentum)
                uk_axpy(scale, gradient, matrix.count, held)
                targets[index].update(from: held, count: matrix.count)
                uk_scale(targets[index], matrix.count, self.momentum)
                uk_axpy(scale, gradient, matrix.count, targets[index])
            }
            let orthogonal = newtonSchulz.run(compute: compute)
            compute.pool.run(group.count) { index, _ in
                let matrix = group[index]
                let values = self.parameters.values.base + matrix.offset
                uk_scale(values, matrix.count, 1 - rate * self.decay)
                let size = 0.2 * Float(max(matrix.rows, matrix.columns)).squareRoot()
                uk_axpy(-rate * size, orthogonal[index], matrix.count, values)
            }
        }
    }
}
