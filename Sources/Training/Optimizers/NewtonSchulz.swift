internal import CKernels
internal import Tensors

/// Brings the singular values of matrices near 1 and keeps their directions: five steps of
/// `X = a·X + (b·A + c·A²)·X` with `A = X·Xᵀ` and Jordan's coefficients, from X of norm 1 (Jordan et al. 2024).
///
/// They end between about 0.7 and 1.2, which is near enough. Tall matrices are multiplied from the right, with
/// `A = Xᵀ·X`: the same, without a transpose. All matrices take a step together: three rounds of products on the pool.
final class NewtonSchulz {
    static let steps = 5
    static let coefficients: (a: Float, b: Float, c: Float) = (3.4445, -4.7750, 2.0315)

    private struct Work {
        var rows: Int
        var columns: Int
        /// X [rows, columns], and the next one.
        var x: Floats
        var next: Floats
        /// A and b·A + c·A², [side, side].
        var gram: Floats
        var polynomial: Floats
        var side: Int { min(rows, columns) }
        var count: Int { rows * columns }
    }

    private let memory = ScratchBuffer()
    private var work: [Work] = []

    /// Where matrices of these shapes are to be written, row-major, before ``run(compute:)``.
    func room(_ shapes: [(rows: Int, columns: Int)]) -> [Floats] {
        let sizes = Self.sizes(shapes)
        var free = memory.floats(Self.roomCount(shapes))
        func take(_ count: Int) -> Floats {
            defer { free += count }
            return free
        }
        work = zip(shapes, sizes).map { shape, size in
            Work(
                rows: shape.rows, columns: shape.columns, x: take(size.matrix), next: take(size.matrix),
                gram: take(size.square), polynomial: take(size.square))
        }
        return work.map(\.x)
    }

    /// Floats of the room for such matrices.
    static func roomCount(_ shapes: [(rows: Int, columns: Int)]) -> Int {
        sizes(shapes).reduce(0) { $0 + 2 * $1.matrix + 2 * $1.square }
    }

    private static func sizes(_ shapes: [(rows: Int, columns: Int)]) -> [(matrix: Int, square: Int)] {
        let padded = { (count: Int) in (count + 15) / 16 * 16 }
        return shapes.map { shape in
            let side = min(shape.rows, shape.columns)
            return (matrix: padded(shape.rows * shape.columns), square: padded(side * side))
        }
    }

    /// The matrices, made orthogonal; valid until the next ``room(_:)``.
    func run(compute: Compute) -> [Floats] {
        let (a, b, c) = Self.coefficients
        each(compute) { matrix in
            let norm = uk_sum_of_squares(matrix.x, matrix.count).squareRoot()
            uk_scale(matrix.x, matrix.count, Float(1 / (norm + 1e-7)))
        }
        for _ in 0..<Self.steps {
            compute.run(work.map(gram))
            compute.run(
                work.map {
                    // A is symmetric: A · Aᵀ is its square.
                    .forward(
                        x: $0.gram, w: $0.gram, y: $0.polynomial, rows: $0.side, input: $0.side, output: $0.side)
                })
            each(compute) { matrix in
                uk_scale(matrix.polynomial, matrix.side * matrix.side, c)
                uk_axpy(b, matrix.gram, matrix.side * matrix.side, matrix.polynomial)
                matrix.next.update(from: matrix.x, count: matrix.count)
                uk_scale(matrix.next, matrix.count, a)
            }
            compute.run(work.map(product))
            for index in work.indices { (work[index].x, work[index].next) = (work[index].next, work[index].x) }
        }
        return work.map(\.x)
    }

    private func each(_ compute: Compute, _ body: (Work) -> Void) {
        compute.pool.run(work.count) { index, _ in body(self.work[index]) }
    }

    /// A = X · Xᵀ, or Xᵀ · X of a tall matrix.
    private func gram(_ matrix: Work) -> uk_gemm {
        if matrix.rows <= matrix.columns {
            return .forward(
                x: matrix.x, w: matrix.x, y: matrix.gram, rows: matrix.rows, input: matrix.columns, output: matrix.rows)
        }
        return uk_gemm(
            m: matrix.columns, n: matrix.columns, k: matrix.rows, a: matrix.x, a_row: 1, a_column: matrix.columns,
            b: matrix.x, b_row: matrix.columns, b_column: 1, c: matrix.gram, c_row: matrix.columns, accumulate: false)
    }

    /// next += P · X, or X · P of a tall matrix, with the symmetric polynomial P.
    private func product(_ matrix: Work) -> uk_gemm {
        if matrix.rows <= matrix.columns {
            return .inputGradient(
                dy: matrix.polynomial, w: matrix.x, dx: matrix.next, rows: matrix.rows, input: matrix.columns,
                output: matrix.rows, accumulate: true)
        }
        return .forward(
            x: matrix.x, w: matrix.polynomial, y: matrix.next, rows: matrix.rows, input: matrix.columns,
            output: matrix.columns, accumulate: true)
    }
}
