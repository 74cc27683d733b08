import Foundation

/// Writes GGUF files (version 3, little-endian). The data of one tensor at a time is in memory.
public struct GGUFWriter: Sendable {
    private var entries: [(key: String, value: GGUFValue)] = []
    private var tensors: [(name: String, dimensions: [Int], type: ElementType, byteCount: Int)] = []

    public init() {}

    /// Adds a metadata entry; keys are distinct.
    public mutating func set(_ key: String, _ value: GGUFValue) {
        precondition(!entries.contains { $0.key == key }, "GGUFWriter.set: \(key) twice")
        entries.append((key, value))
    }

    /// Announces a tensor: names are distinct, dimensions begin with the contiguous one, a multiple of the type's block.
    public mutating func addTensor(_ name: String, dimensions: [Int], type: ElementType) {
        precondition(
            (1...4).contains(dimensions.count) && dimensions.allSatisfy { $0 > 0 }, "GGUFWriter: \(dimensions)")
        precondition(dimensions[0] % type.blockElements == 0, "GGUFWriter: \(name) \(dimensions) as \(type.name)")
        let byteCount = dimensions.reduce(1, *) / type.blockElements * type.blockBytes
        tensors.append((name, dimensions, type, byteCount))
    }

    /// Writes the file atomically. `data` is asked for the tensors in the order they were added; it hands each one's bytes,
    /// in any number of pieces, to the closure it is given.
    ///
    /// - Throws: what `data` throws, or `ModelError` when the file cannot be written; the destination is then untouched.
    public func write(
        to path: String,
        data: (_ name: String, _ append: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        let file = try AtomicFile(path: path)
        try file.write(header())
        try file.pad(to: GGUFFile.defaultAlignment)
        for tensor in tensors {
            let start = file.count
            try data(tensor.name) { try file.write($0) }
            precondition(
                file.count - start == tensor.byteCount, "GGUFWriter: \(tensor.name) got \(file.count - start) bytes")
            try file.pad(to: GGUFFile.defaultAlignment)
        }
        try file.commit()
    }

    private func header() -> [UInt8] {
        var bytes = GGUFFile.magic
        Self.append(UInt32(3), to: &bytes)
        Self.append(UInt64(tensors.count), to: &bytes)
        Self.append(UInt64(entries.count), to: &bytes)
        for entry in entries {
            Self.append(entry.key, to: &bytes)
            Self.append(entry.value, to: &bytes)
        }
        var offset = 0
        for tensor in tensors {
            Self.append(tensor.name, to: &bytes)
            Self.append(UInt32(tensor.dimensions.count), to: &bytes)
            for dimension in tensor.dimensions { Self.append(UInt64(dimension), to: &bytes) }
            Self.append(UInt32(tensor.type.rawValue), to: &bytes)
            Self.append(UInt64(offset), to: &bytes)
            let alignment = GGUFFile.defaultAlignment
            offset += (tensor.byteCount + alignment - 1) / alignment * alignment
        }
        return bytes
    }
}

extension GGUFWriter {
    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private static func append(_ text: String, to bytes: inout [UInt8]) {
        append(UInt64(text.utf8.count), to: &bytes)
        bytes.append(contentsOf: text.utf8)
    }

    private static func append(_ type: GGUFValueType, to bytes: inout [UInt8]) {
        append(type.rawValue, to: &bytes)
    }

    private static func append(_ value: GGUFValue, to bytes: inout [UInt8]) {
        func scalar(_ type: GGUFValueType, _ value: some FixedWidthInteger) {
            append(type, to: &bytes)
            append(value, to: &bytes)
        }
        switch value {
        case .uint8(let value): scalar(.uint8, value)
        case .int8(let value): scalar(.int8, value)
        case .uint16(let value): scalar(.uint16, value)
        case .int16(let value): scalar(.int16, value)
        case .uint32(let value): scalar(.uint32, value)
        case .int32(let value): scalar(.int32, value)
        case .uint64(let value): scalar(.uint64, value)
        case .int64(let value): scalar(.int64, value)
        case .float32(let value): scalar(.float32, value.bitPattern)
        case .float64(let value): scalar(.float64, value.bitPattern)
        case .bool(let value): scalar(.bool, UInt8(value ? 1 : 0))
        case .string(let value):
            append(.string, to: &bytes)
            append(value, to: &bytes)
        case .array(let array):
            append(GGUFValueType.array, to: &bytes)
            append(array, to: &bytes)
        }
    }

    private static func append(_ array: GGUFValue.Array, to bytes: inout [UInt8]) {
        func list<T>(_ type: GGUFValueType, _ values: [T], _ element: (T) -> Void) {
            append(type, to: &bytes)
            append(UInt64(values.count), to: &bytes)
            values.forEach(element)
        }
        func integers(_ type: GGUFValueType, _ values: [some FixedWidthInteger]) {
            list(type, values) { append($0, to: &bytes) }
        }
        switch array {
        case .uint8(let values): integers(.uint8, values)
        case .int8(let values): integers(.int8, values)
        case .uint16(let values): integers(.uint16, values)
        case .int16(let values): integers(.int16, values)
        case .uint32(let values): integers(.uint32, values)
        case .int32(let values): integers(.int32, values)
        case .uint64(let values): integers(.uint64, values)
        case .int64(let values): integers(.int64, values)
        case .float32(let values): integers(.float32, values.map(\.bitPattern))
        case .float64(let values): integers(.float64, values.map(\.bitPattern))
        case .bool(let values): integers(.bool, values.map { UInt8($0 ? 1 : 0) })
        case .string(let values): list(.string, values) { append($0, to: &bytes) }
        }
    }
}
