package import CKernels
package import Tensors

/// Memory of floats that a layer reads or writes.
package typealias Floats = UnsafeMutablePointer<Float>

/// What the operands of training's matrix products are rounded to; weights, gradients and what an optimiser keeps are fp32
/// with each (mixed precision, Micikevicius et al., arXiv 1710.03740; Kalamkar et al., arXiv 1905.12322).
public enum Precision: String, Sendable, Hashable, Codable, CaseIterable {
    case float32 = "fp32"
    /// Sums are fp32.
    case bfloat16 = "bf16"
    /// Block floating point: integers of 16 bits with one scale for a row or column in each block of the sum, which is exact
    /// within a block and fp32 across them (Das et al., arXiv 1802.00930).
    case int16

    /// The fastest on this processor, found by trial: of those that multiply bfloat16 (AVX512-BF16) some take longer for it
    /// than for fp32.
    public static let fastest: Precision =
        allCases.contains { $0 != .float32 && $0.isNative } ? PrecisionTrial.run().fastest : .float32

    /// Whether this processor multiplies it.
    public var isNative: Bool {
        switch self {
        case .float32: true
        case .bfloat16: uk_has_bf16_products()
        case .int16: uk_has_int16_products()
        }
    }

    /// The kernel of a product's piece: rows and columns from and to, scratch of uk_gemm_scratch() floats.
    package var multiply: (UnsafePointer<uk_gemm>, Int, Int, Int, Int, Floats) -> Void {
        switch self {
        case .float32: uk_gemm_f32
        case .bfloat16: uk_gemm_bf16
        case .int16: uk_gemm_int16
        }
    }
}

/// Runs training's matrix products and row-wise work on a worker pool.
///
/// Results do not depend on the number of threads, bit for bit: products are split along rows and columns only, never
/// along the sum, and sums across rows are cut in a way that depends on the number of rows alone.
package final class Compute {
    /// The threads.
    package let pool: WorkerPool
    /// Of the products that don't say otherwise.
    package let precision: Precision
    private let scratch: [FloatBuffer]
    private let attentionScratch: [ScratchBuffer]
    private let sums = ScratchBuffer()

    package init(pool: WorkerPool, precision: Precision = .float32) {
        self.pool = pool
        self.precision = precision
        scratch = (0..<pool.threadCount).map { _ in FloatBuffer(count: uk_gemm_scratch()) }
        attentionScratch = (0..<pool.threadCount).map { _ in ScratchBuffer() }
    }

    /// Runs independent products together: one fork and join for all of them.
    ///
    /// - Parameter precision: nil: that of this object.
    package func run(_ products: [uk_gemm], precision: Precision? = nil) {
        let multiply = (precision ?? self.precision).multiply
        var pieces: [(product: Int, m: Range<Int>, n: Range<Int>)] = []
        let work = products.reduce(0) { $0 + $1.m * $1.n * $1.k }
        // One piece of at least half a million multiply-adds, at most three pieces a thread in all.
        let share = max(1 << 19, work / (pool.threadCount * 3))
        for (index, g) in products.enumerated() where g.m > 0 && g.n > 0 {
            let wanted = min(pool.threadCount * 3, max(1, g.m * g.n * max(g.k, 1) / share))
            // Every piece of rows packs all of b: columns are split where there are enough of them, and few rows.
            if g.n >= 32 * wanted, g.m < 384 * wanted || g.n >= g.m {
                for range in Compute.split(g.n, into: wanted, multipleOf: 32) { pieces.append((index, 0..<g.m, range)) }
            } else {
                for range in Compute.split(g.m, into: wanted, multipleOf: 12) { pieces.append((index, range, 0..<g.n)) }
            }
        }
        // The long ones first, so that no thread waits for one that began last.
        let lengths = pieces.map { $0.m.count * $0.n.count * products[$0.product].k }
        let order = pieces.indices.sorted { (lengths[$1], $0) < (lengths[$0], $1) }
        let execute = { (piece: Int, thread: Int) in
            let (product, m, n) = pieces[order[piece]]
            withUnsafePointer(to: products[product]) {
                multiply($0, m.lowerBound, m.upperBound, n.lowerBound, n.upperBound, self.scratch[thread].base)
            }
        }
        if pieces.count == 1 { execute(0, 0) } else { pool.run(pieces.count, execute) }
    }

    /// Runs `body(rows)` over 0 ..< count in pieces of at least `grain` rows.
    package func rows(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
        let pieces = Compute.split(count, into: min(pool.threadCount * 2, max(1, count / grain)), multipleOf: 1)
        if pieces.count == 1 { return body(pieces[0]) }
        pool.run(pieces.count) { piece, _ in body(pieces[piece]) }
    }

    /// y[n] += Σ of the rows of x[rows, n], row after row; columns are split between the threads.
    package func addColumnSums(_ x: Floats, rows count: Int, width: Int, into y: Floats) {
        let pieces = Compute.split(width, into: count * width < 1 << 14 ? 1 : pool.threadCount, multipleOf: 16)
        pool.run(pieces.count) { piece, _ in
            uk_column_sums(
                x + pieces[piece].lowerBound, count, width, pieces[piece].count, y + pieces[piece].lowerBound)
        }
    }

    /// Adds the gradient of a norm over x[rows, width] to dx and, where wanted, its weight's to dw.
    ///
    /// The weight's gradient is summed over blocks of 64 rows first, so that it does not depend on who did which.
    package func normBackward(
        x: Floats, weight: Floats, inverse: Floats, dy: Floats, rows count: Int, width: Int, dx: Floats, dw: Floats?
    ) {
        let block = 64
        let blocks = (count + block - 1) / block
        let sums = dw == nil ? nil : sums.floats(blocks * width)
        pool.run(blocks) { index, _ in
            let first = index * block
            let rows = min(block, count - first)
            let partial = sums.map { $0 + index * width }
            partial?.update(repeating: 0, count: width)
            uk_rms_norm_backward(
                x + first * width, weight, inverse + first, dy + first * width, rows, width, dx + first * width, partial
            )
        }
        if let dw, let sums { addColumnSums(sums, rows: blocks, width: width, into: dw) }
    }

    /// Runs `body(task, scratch)` for every task, each with `floats` floats of scratch of its thread.
    package func tasks(_ count: Int, scratch floats: Int, _ body: (Int, Floats) -> Void) {
        pool.run(count) { task, thread in body(task, self.attentionScratch[thread].floats(floats)) }
    }

    /// 0 ..< count cut into at most `parts` ranges of about equal length, borders at multiples of `step`.
    package static func split(_ count: Int, into parts: Int, multipleOf step: Int) -> [Range<Int>] {
        if count <= 0 { return [] }
        let steps = (count + step - 1) / step
        let parts = min(max(parts, 1), steps)
        return (0..<parts).map { part in
            let low = steps * part / parts * step
            let high = min(count, steps * (part + 1) / parts * step)
            return low..<high
        }
    }
}

extension uk_gemm {
    /// y[rows, out] (+)= x[rows, in] · w[out, in]ᵀ
    package static func forward(
        x: Floats, w: Floats, y: Floats, rows: Int, input: Int, output: Int, accumulate: Bool = false,
        xStride: Int? = nil, yStride: Int? = nil
    ) -> uk_gemm {
        uk_gemm(
            m: rows, n: output, k: input, a: x, a_row: xStride ?? input, a_column: 1, b: w, b_row: 1, b_column: input,
            c: y, c_row: yStride ?? output, accumulate: accumulate)
    }

    /// dx[rows, in] (+)= dy[rows, out] · w[out, in]
    package static func inputGradient(
        dy: Floats, w: Floats, dx: Floats, rows: Int, input: Int, output: Int, accumulate: Bool,
        dyStride: Int? = nil, dxStride: Int? = nil
    ) -> uk_gemm {
        uk_gemm(
            m: rows, n: input, k: output, a: dy, a_row: dyStride ?? output, a_column: 1, b: w, b_row: input,
            b_column: 1,
            c: dx, c_row: dxStride ?? input, accumulate: accumulate)
    }

    /// dw[out, in] += dy[rows, out]ᵀ · x[rows, in]
    package static func weightGradient(
        dy: Floats, x: Floats, dw: Floats, rows: Int, input: Int, output: Int,
        dyStride: Int? = nil, xStride: Int? = nil
    ) -> uk_gemm {
        uk_gemm(
            m: output, n: input, k: rows, a: dy, a_row: 1, a_column: dyStride ?? output, b: x, b_row: xStride ?? input,
            b_column: 1, c: dw, c_row: input, accumulate: true)
    }
}
