import Foundation

/// A tensor's entry in a GGUF file.
public struct GGUFTensor: Sendable, Hashable {
    public let name: String
    /// One to four sizes, the contiguous dimension first (a matrix is [columns, rows]).
    public let dimensions: [Int]
    public let type: ElementType
    /// Where its data begins, in bytes from the beginning of the file.
    public let offset: Int
    /// The data's length in bytes.
    public let byteCount: Int
}

/// A GGUF file (version 2 or 3, little-endian), mapped into memory and checked against its size: whatever is reachable
/// through this type lies inside the file.
public struct GGUFFile: Sendable {
    public let file: MappedFile
    public let version: Int
    /// What every tensor's offset is a multiple of, in bytes.
    public let alignment: Int
    public let metadata: [String: GGUFValue]
    /// The metadata's keys in the file's order.
    public let metadataKeys: [String]
    /// In the file's order.
    public let tensors: [GGUFTensor]
    private let tensorIndices: [String: Int]

    static let magic: [UInt8] = Swift.Array("GGUF".utf8)
    static let defaultAlignment = 32
    /// The format's limits for keys and tensor names, in bytes; names are given some room over the customary 64.
    static let keyLimit = 65_535
    static let nameLimit = 256

    /// Opens and checks a file.
    ///
    /// - Throws: `ModelError` naming the file and the byte where it breaks the format, or the tensor whose type is not
    ///   supported.
    public init(path: String) throws {
        try self.init(file: MappedFile(path: path))
    }

    init(file: MappedFile) throws {
        self.file = file
        var reader = ByteReader(file.bytes, file: file.path)
        version = try Self.readVersion(&reader)

        // A tensor takes at least name length, one name byte, dimension count, one dimension, type and offset.
        let tensorCount = try reader.count(minimum: 8 + 1 + 4 + 8 + 4 + 8, "the number of tensors")
        // A metadata entry takes at least key length, one key byte, type and one byte.
        let metadataCount = try reader.count(minimum: 8 + 1 + 4 + 1, "the number of metadata entries")

        var metadata: [String: GGUFValue] = [:]
        var keys: [String] = []
        keys.reserveCapacity(metadataCount)
        for index in 0..<metadataCount {
            let start = reader.offset
            let key = try reader.string("the key of metadata entry \(index)", limit: Self.keyLimit)
            let value = try Self.readValue(&reader, key: key)
            guard metadata.updateValue(value, forKey: key) == nil else {
                throw reader.error("the metadata key \(ModelError.quoted(key)) occurs twice", at: start)
            }
            keys.append(key)
        }
        self.metadata = metadata
        metadataKeys = keys
        alignment = try Self.alignment(metadata, reader)

        var entries: [GGUFTensor] = []
        entries.reserveCapacity(tensorCount)
        var indices: [String: Int] = [:]
        for index in 0..<tensorCount {
            let start = reader.offset
            let entry = try Self.readTensor(&reader, index: index, alignment: alignment)
            guard indices.updateValue(index, forKey: entry.name) == nil else {
                throw reader.error("the tensor \(ModelError.quoted(entry.name)) occurs twice", at: start)
            }
            entries.append(entry)
        }
        tensorIndices = indices
        tensors = try Self.place(entries, afterHeader: reader, alignment: alignment)
    }

    /// The tensor of this name.
    public func tensor(named name: String) -> GGUFTensor? {
        tensorIndices[name].map { tensors[$0] }
    }

    private static func readVersion(_ reader: inout ByteReader) throws -> Int {
        guard reader.remaining >= 4, try reader.take(4, "the magic").elementsEqual(magic) else {
            throw reader.error("not a GGUF file: it does not begin with 'GGUF'", at: 0)
        }
        let version = try reader.integer(UInt32.self, "the version")
        if (2...3).contains(version.byteSwapped) {
            throw ModelError(
                .unsupported, "a big-endian GGUF file; only little-endian ones are supported", file: reader.file)
        }
        guard (2...3).contains(version) else {
            throw ModelError(
                .unsupported, "GGUF version \(version); versions 2 and 3 are supported", file: reader.file,
                byteOffset: 4)
        }
        return Int(version)
    }

    private static func alignment(_ metadata: [String: GGUFValue], _ reader: ByteReader) throws -> Int {
        guard let value = metadata["general.alignment"] else { return defaultAlignment }
        guard let alignment = value.intValue, alignment > 0, alignment <= 1 << 20, alignment.nonzeroBitCount == 1 else {
            throw reader.error("general.alignment must be a power of two up to 2^20")
        }
        return alignment
    }

    /// Reads one tensor's entry; its offset is still relative to the data section.
    private static func readTensor(_ reader: inout ByteReader, index: Int, alignment: Int) throws -> GGUFTensor {
        let name = try reader.string("the name of tensor \(index)", limit: nameLimit)
        let quoted = ModelError.quoted(name)
        let dimensionsStart = reader.offset
        let rank = try reader.integer(UInt32.self, "the dimension count of \(quoted)")
        guard (1...4).contains(rank) else {
            throw reader.error("the tensor \(quoted) has \(rank) dimensions; 1 to 4 are allowed", at: dimensionsStart)
        }
        var dimensions: [Int] = []
        var elements = 1
        for _ in 0..<rank {
            let start = reader.offset
            let size = try reader.integer(UInt64.self, "a dimension of \(quoted)")
            guard size > 0, let count = Int(exactly: size),
                case let product = elements.multipliedReportingOverflow(by: count),
                !product.overflow
            else {
                throw reader.error("the tensor \(quoted) has an impossible dimension of \(size)", at: start)
            }
            dimensions.append(count)
            elements = product.partialValue
        }
        let typeStart = reader.offset
        let identifier = try reader.integer(UInt32.self, "the type of \(quoted)")
        guard let type = Int32(exactly: identifier).flatMap(ElementType.init(rawValue:)) else {
            throw ModelError(
                .unsupported,
                "the tensor \(quoted) has type \(ElementType.foreignName(identifier)); "
                    + "supported are \(ElementType.supportedNames)",
                file: reader.file, byteOffset: typeStart)
        }
        guard dimensions[0] % type.blockElements == 0 else {
            throw reader.error(
                "the tensor \(quoted) has rows of \(dimensions[0]) elements, "
                    + "not a multiple of \(type.name)'s block of \(type.blockElements)", at: dimensionsStart)
        }
        let offsetStart = reader.offset
        let offset = try reader.integer(UInt64.self, "the offset of \(quoted)")
        guard let offset = Int(exactly: offset), offset % alignment == 0 else {
            throw reader.error(
                "the tensor \(quoted) begins at \(offset), not a multiple of \(alignment)", at: offsetStart)
        }
        guard let byteCount = type.bytes(forElements: elements) else {
            throw reader.error("the tensor \(quoted) is larger than any file", at: dimensionsStart)
        }
        return GGUFTensor(name: name, dimensions: dimensions, type: type, offset: offset, byteCount: byteCount)
    }

    /// Turns relative offsets into absolute ones and checks that every tensor's data lies in the file, none over another.
    private static func place(_ entries: [GGUFTensor], afterHeader reader: ByteReader, alignment: Int) throws
        -> [GGUFTensor]
    {
        guard !entries.isEmpty else { return [] }
        let dataStart = (reader.offset + alignment - 1) / alignment * alignment
        let dataCount = reader.bytes.count - dataStart
        for entry in entries {
            guard dataCount >= 0, entry.offset <= dataCount, entry.byteCount <= dataCount - entry.offset else {
                throw reader.error(
                    "the tensor \(ModelError.quoted(entry.name)) needs \(entry.byteCount) bytes at \(entry.offset) of "
                        + "the data section, which has \(max(dataCount, 0)); the file is cut short or damaged",
                    at: max(0, min(dataStart, reader.bytes.count)))
            }
        }
        let sorted = entries.sorted { $0.offset < $1.offset }
        for (first, second) in zip(sorted, sorted.dropFirst()) where first.offset + first.byteCount > second.offset {
            throw reader.error(
                "the tensors \(ModelError.quoted(first.name)) and \(ModelError.quoted(second.name)) overlap",
                at: dataStart + second.offset)
        }
        return entries.map {
            GGUFTensor(
                name: $0.name, dimensions: $0.dimensions, type: $0.type, offset: dataStart + $0.offset,
                byteCount: $0.byteCount)
        }
    }
}

extension GGUFFile {
    private static func readValue(_ reader: inout ByteReader, key: String) throws -> GGUFValue {
        let what = "the value of \(ModelError.quoted(key))"
        switch try readType(&reader, what) {
        case .uint8: return .uint8(try reader.integer(UInt8.self, what))
        case .int8: return .int8(try reader.integer(Int8.self, what))
        case .uint16: return .uint16(try reader.integer(UInt16.self, what))
        case .int16: return .int16(try reader.integer(Int16.self, what))
        case .uint32: return .uint32(try reader.integer(UInt32.self, what))
        case .int32: return .int32(try reader.integer(Int32.self, what))
        case .uint64: return .uint64(try reader.integer(UInt64.self, what))
        case .int64: return .int64(try reader.integer(Int64.self, what))
        case .float32: return .float32(Float(bitPattern: try reader.integer(UInt32.self, what)))
        case .float64: return .float64(Double(bitPattern: try reader.integer(UInt64.self, what)))
        case .bool: return .bool(try readBool(&reader, what))
        case .string: return .string(try reader.string(what))
        case .array: return .array(try readArray(&reader, what))
        }
    }

    private static func readType(_ reader: inout ByteReader, _ what: String) throws -> GGUFValueType {
        let start = reader.offset
        let number = try reader.integer(UInt32.self, "the type of \(what)")
        guard let type = GGUFValueType(rawValue: number) else {
            throw reader.error("\(what) has the unknown type \(number)", at: start)
        }
        return type
    }

    private static func readBool(_ reader: inout ByteReader, _ what: String) throws -> Bool {
        let start = reader.offset
        let byte = try reader.integer(UInt8.self, what)
        guard byte <= 1 else { throw reader.error("\(what) must be 0 or 1, is \(byte)", at: start) }
        return byte == 1
    }

    private static func readArray(_ reader: inout ByteReader, _ what: String) throws -> GGUFValue.Array {
        let start = reader.offset
        func integers<T: FixedWidthInteger>(_ reader: inout ByteReader, _: T.Type) throws -> [T] {
            let size = MemoryLayout<T>.size
            let count = try reader.count(minimum: size, "the element count of \(what)")
            let bytes = try reader.take(count * size, what)
            return (0..<count).map { T(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * size, as: T.self)) }
        }
        switch try readType(&reader, "the elements of \(what)") {
        case .uint8: return .uint8(try integers(&reader, UInt8.self))
        case .int8: return .int8(try integers(&reader, Int8.self))
        case .uint16: return .uint16(try integers(&reader, UInt16.self))
        case .int16: return .int16(try integers(&reader, Int16.self))
        case .uint32: return .uint32(try integers(&reader, UInt32.self))
        case .int32: return .int32(try integers(&reader, Int32.self))
        case .uint64: return .uint64(try integers(&reader, UInt64.self))
        case .int64: return .int64(try integers(&reader, Int64.self))
        case .float32: return .float32(try integers(&reader, UInt32.self).map(Float.init(bitPattern:)))
        case .float64: return .float64(try integers(&reader, UInt64.self).map(Double.init(bitPattern:)))
        case .bool:
            let count = try reader.count(minimum: 1, "the element count of \(what)")
            return .bool(try (0..<count).map { _ in try readBool(&reader, what) })
        case .string:
            let count = try reader.count(minimum: 8, "the element count of \(what)")
            return .string(try (0..<count).map { try reader.string("element \($0) of \(what)") })
        case .array:
            throw reader.error("\(what) is a list of lists, which no model file has", at: start)
        }
    }
}
