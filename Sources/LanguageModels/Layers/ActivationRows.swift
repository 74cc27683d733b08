internal import CKernels
internal import Tensors

/// Rows of activations as products want them: floats, and int8 in groups of 32 with their scales.
///
/// Grows to the largest number of rows asked for; one owner.
final class ActivationRows {
    private(set) var floats: UnsafeMutablePointer<Float>
    private(set) var integers: UnsafeMutablePointer<Int8>
    private(set) var scales: UnsafeMutablePointer<Float>
    private(set) var sums: UnsafeMutablePointer<Float>
    let width: Int
    private var capacity = 0
    private var storage: AlignedBuffer

    init(width: Int) {
        self.width = width
        storage = AlignedBuffer(byteCount: 64)
        floats = storage.base.assumingMemoryBound(to: Float.self)
        integers = storage.base.assumingMemoryBound(to: Int8.self)
        scales = floats
        sums = floats
    }

    /// Groups of 32 in a row.
    var groups: Int { width / Int(UK_GROUP) }

    /// Makes room; what was there is lost when it grows.
    func reserve(_ rows: Int) {
        if rows <= capacity { return }
        capacity = max(rows, 8)
        func aligned(_ bytes: Int) -> Int { (bytes + 63) / 64 * 64 }
        let floatBytes = aligned(capacity * width * 4)
        let integerBytes = aligned(capacity * width)
        let groupBytes = aligned(capacity * groups * 4)
        storage = AlignedBuffer(byteCount: floatBytes + integerBytes + 2 * groupBytes)
        floats = storage.base.assumingMemoryBound(to: Float.self)
        integers = (storage.base + floatBytes).assumingMemoryBound(to: Int8.self)
        scales = (storage.base + floatBytes + integerBytes).assumingMemoryBound(to: Float.self)
        sums = (storage.base + floatBytes + integerBytes + groupBytes).assumingMemoryBound(to: Float.self)
    }

    /// The floats of a row.
    func row(_ index: Int) -> UnsafeMutablePointer<Float> { floats + index * width }

    /// Fills in the int8 form of a row from its floats. Widths that are no multiple of 32 have only floats.
    func quantize(_ index: Int) {
        if width % Int(UK_GROUP) != 0 { return }
        uk_quantize_activations(
            floats + index * width, width, integers + index * width, scales + index * groups, sums + index * groups)
    }

    /// Copies a row over another in all its forms.
    func moveRow(to index: Int, from source: Int) { copyRow(index, from: self, row: source) }

    /// Copies row `source` of `other` (of the same width) in all its forms.
    func copyRow(_ index: Int, from other: ActivationRows, row source: Int) {
        (floats + index * width).update(from: other.floats + source * width, count: width)
        (integers + index * width).update(from: other.integers + source * width, count: width)
        (scales + index * groups).update(from: other.scales + source * groups, count: groups)
        (sums + index * groups).update(from: other.sums + source * groups, count: groups)
    }
}

/// One product of a group that the worker pool runs together: output[t, n] (+)= Σ_k rows[t, k] · matrix[n, k].
struct PackedProduct {
    var matrix: PackedMatrix
    var rows: ActivationRows
    /// First row of `rows`, and how many.
    var first = 0
    var count: Int
    var output: UnsafeMutablePointer<Float>
    var stride: Int
    var accumulate = false

    /// Rows of one task: so many that their int8 form stays in the second-level cache.
    private static let rowBlock = 128

    /// Computes all the products' outputs, each with a fixed order of its sums.
    static func run(_ products: [PackedProduct], on pool: WorkerPool) {
        var total = 0
        for product in products { total += product.matrix.tiles }
        // Four pieces a thread: short enough to level out, long enough to stream.
        let piece = max(1, (total + pool.threadCount * 4 - 1) / (pool.threadCount * 4))
        var tasks = 0
        for product in products { tasks += product.taskCount(piece) }
        pool.run(tasks) { task, _ in
            var rest = task
            for product in products {
                let own = product.taskCount(piece)
                if rest < own {
                    product.run(task: rest, piece: piece)
                    return
                }
                rest -= own
            }
        }
    }

    private func pieces(_ piece: Int) -> Int { (matrix.tiles + piece - 1) / piece }
    private func taskCount(_ piece: Int) -> Int {
        pieces(piece) * ((count + Self.rowBlock - 1) / Self.rowBlock)
    }

    private func run(task: Int, piece: Int) {
        let (block, part) = task.quotientAndRemainder(dividingBy: pieces(piece))
        let start = block * Self.rowBlock
        let rowCount = min(Self.rowBlock, count - start)
        let row = first + start
        var arguments = uk_matmul(
            format: matrix.format, weights: matrix.base, rows: matrix.rows, k: matrix.columns, tokens: rowCount,
            x: rows.row(row), x_stride: rows.width, q: rows.integers + row * rows.width,
            scale: rows.scales + row * rows.groups, sum: rows.sums + row * rows.groups,
            y: output + start * stride, y_stride: stride, accumulate: accumulate)
        uk_matmul_packed(&arguments, part * piece, min((part + 1) * piece, matrix.tiles))
    }
}
