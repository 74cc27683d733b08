public import CKernels

/// A matrix of weights packed for the inference kernels: tiles of 16 rows, see `quantized.h`. Immutable.
public final class PackedMatrix: @unchecked Sendable {
    /// How values are stored.
    public let format: uk_packed
    /// Outputs.
    public let rows: Int
    /// Inputs: the columns.
    public let columns: Int
    /// Tiles of 16 rows, the last one filled up with zeros.
    public let tiles: Int
    /// The tiles' memory.
    public let base: UnsafeRawPointer
    /// Keeps the memory.
    private let owner: AnyObject

    /// Bytes held.
    public var byteCount: Int { tiles * uk_packed_tile_bytes(format, columns) }

    /// Bytes of a matrix of this shape.
    public static func byteCount(_ rows: Int, _ columns: Int, _ format: uk_packed) -> Int {
        let height = Int(UK_TILE_ROWS)
        return (rows + height - 1) / height * uk_packed_tile_bytes(format, columns)
    }

    /// A matrix that was packed before.
    ///
    /// - Parameters:
    ///   - memory: `byteCount` bytes, aligned to 64, as this type packed them.
    ///   - owner: keeps the memory as long as it lives.
    package init(rows: Int, columns: Int, format: uk_packed, memory: UnsafeRawPointer, owner: AnyObject) {
        self.rows = rows
        self.columns = columns
        self.format = format
        tiles = (rows + Int(UK_TILE_ROWS) - 1) / Int(UK_TILE_ROWS)
        base = memory
        self.owner = owner
    }

    /// Packs rows of one GGML element type.
    ///
    /// - Parameters:
    ///   - type: GGML's number of the rows' element type (`UK_TYPE_…`).
    ///   - format: the packed format; nil chooses the one that fits the type, or F32 where columns are no multiple of 32.
    ///   - row: the memory of row i; called once for each row, valid during the call only.
    public init(
        rows: Int, columns: Int, type: Int32, format: uk_packed? = nil,
        row: (_ index: Int) throws -> UnsafeRawPointer
    ) rethrows {
        precondition(rows > 0 && columns > 0, "PackedMatrix: empty shape [\(rows), \(columns)]")
        self.rows = rows
        self.columns = columns
        let wanted = format ?? uk_packed_for_type(type)
        self.format = columns % Int(UK_GROUP) == 0 ? wanted : UK_PACKED_F32
        let height = Int(UK_TILE_ROWS)
        tiles = (rows + height - 1) / height
        let tileBytes = uk_packed_tile_bytes(self.format, columns)
        let storage = AlignedBuffer(byteCount: tiles * tileBytes)
        base = UnsafeRawPointer(storage.base)
        owner = storage
        var pointers = [UnsafeRawPointer?](repeating: nil, count: height)
        for tile in 0..<tiles {
            for lane in 0..<height {
                let index = tile * height + lane
                pointers[lane] = index < rows ? try row(index) : nil
            }
            pointers.withUnsafeBufferPointer {
                uk_pack_tile(self.format, type, $0.baseAddress!, columns, storage.base + tile * tileBytes)
            }
        }
    }

    /// Packs floats laid out [rows, columns].
    public convenience init(
        rows: Int, columns: Int, values: UnsafePointer<Float>, format: uk_packed = UK_PACKED_P8_0
    ) {
        self.init(rows: rows, columns: columns, type: Int32(UK_TYPE_F32.rawValue), format: format) { index in
            UnsafeRawPointer(values + index * columns)
        }
    }

    /// output[columns] = row `index`, dequantised.
    public func unpackRow(_ index: Int, into output: UnsafeMutablePointer<Float>) {
        precondition(index >= 0 && index < rows, "row \(index) of a matrix of \(rows) rows")
        uk_unpack_row(format, base, columns, index, output)
    }
}
