import CKernels

/// A tensor of a model file, read where it lies: the mapped file stays open as long as the value lives.
///
/// The shape is [rows, columns], row-major, rows being outputs; a vector has one row. Rows are numbered as in the
/// Hugging Face layout, whatever their order in the file.
public struct StoredTensor: Sendable {
    /// The name it was asked for by.
    public let name: String
    public let type: ElementType
    public let rows: Int
    public let columns: Int
    private let file: MappedFile
    private let offset: Int
    private let order: RowOrder

    /// How a file numbers the rows.
    package enum RowOrder: Sendable, Hashable {
        case straight
        /// Heads of `headDimension` rows in which rotated pairs lie side by side (2i, 2i + 1) instead of half a head apart
        /// (i, i + half): how llama-family GGUF files keep the query and key projections.
        case interleavedPairs(headDimension: Int)

        /// Where the file has row `row`.
        package func stored(_ row: Int) -> Int {
            switch self {
            case .straight: return row
            case .interleavedPairs(let headDimension):
                let within = row % headDimension
                let half = headDimension / 2
                return row - within + (within < half ? 2 * within : 2 * (within - half) + 1)
            }
        }
    }

    /// A view of `rows` × `columns` elements at byte `offset` of a file, which must hold them all.
    package init(
        name: String, type: ElementType, rows: Int, columns: Int, file: MappedFile, offset: Int,
        order: RowOrder = .straight
    ) {
        precondition(columns % type.blockElements == 0, "StoredTensor \(name): \(columns) columns as \(type.name)")
        self.name = name
        self.type = type
        self.rows = rows
        self.columns = columns
        self.file = file
        self.offset = offset
        self.order = order
        precondition(offset >= 0 && byteCount <= file.count - offset, "StoredTensor \(name): outside the file")
    }

    /// Bytes of a row.
    public var rowBytes: Int { columns / type.blockElements * type.blockBytes }

    /// Bytes of the tensor.
    public var byteCount: Int { rows * rowBytes }

    /// The address of a row, `rowBytes` long, of any alignment; valid as long as the tensor or a copy of it lives.
    package func rowPointer(_ row: Int) -> UnsafeRawPointer {
        precondition(row >= 0 && row < rows, "StoredTensor.rowPointer: row \(row) of \(rows)")
        return file.pointer(at: offset + order.stored(row) * rowBytes)
    }

    /// Calls `body` with a row's bytes: `rowBytes` of them, in blocks of the tensor's type, of any alignment.
    public func withRow<Result>(_ row: Int, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
        try withExtendedLifetime(file) {
            try body(UnsafeRawBufferPointer(start: rowPointer(row), count: rowBytes))
        }
    }

    /// Writes a row as `columns` floats.
    public func dequantizeRow(_ row: Int, into destination: UnsafeMutablePointer<Float>) {
        withExtendedLifetime(file) {
            uk_dequantize_row(type.rawValue, rowPointer(row), columns, destination)
        }
    }

    /// All elements as floats, [rows, columns].
    public func floats() -> [Float] {
        [Float](unsafeUninitializedCapacity: rows * columns) { buffer, count in
            if let base = buffer.baseAddress {
                for row in 0..<rows { dequantizeRow(row, into: base + row * columns) }
            }
            count = rows * columns
        }
    }

    /// Gives the memory of the tensor's pages back to the system, for weights that have been copied elsewhere. The tensor
    /// stays readable.
    package func release() {
        file.release(offset..<offset + byteCount)
    }
}
