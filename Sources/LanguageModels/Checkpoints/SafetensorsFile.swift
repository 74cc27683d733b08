internal import Foundation

/// A safetensors file, mapped into memory: length of a JSON header, the header, the data.
struct SafetensorsFile: Sendable {
    struct Entry: Sendable {
        var type: ElementType
        var shape: [Int]
        /// Byte of the file where the data begins.
        var offset: Int
    }

    let file: MappedFile
    let entries: [String: Entry]

    private static let headerLimit = 100_000_000

    /// - Throws: `ModelError` naming what breaks the format. All tensors of supported types lie inside the file; others
    ///   are left out.
    init(path: String) throws {
        file = try MappedFile(path: path)
        guard file.count >= 8 else {
            throw ModelError(.malformed, "\(file.count) bytes are no safetensors file", file: path)
        }
        let length = file.bytes.loadUnaligned(as: UInt64.self).littleEndian
        guard length >= 2, length <= UInt64(min(Self.headerLimit, file.count - 8)) else {
            throw ModelError(
                .malformed, "the header has \(length) bytes, the file only \(file.count)", file: path, byteOffset: 0)
        }
        let start = 8 + Int(length)
        let room = file.count - start
        let header: [String: Field]
        do {
            header = try JSONDecoder().decode([String: Field].self, from: Data(file.bytes[8..<start]))
        } catch {
            throw ModelError(.malformed, "the header is not a table of tensors", file: path, byteOffset: 8)
        }
        var entries: [String: Entry] = [:]
        for (name, field) in header {
            guard let dtype = field.dtype, let shape = field.shape, let offsets = field.dataOffsets else { continue }
            let types: [String: ElementType] = ["F32": .f32, "F16": .f16, "BF16": .bf16]
            guard let type = types[dtype] else { continue }
            func fail(_ message: String) -> ModelError {
                ModelError(.malformed, "tensor \(ModelError.quoted(name)) \(message)", file: path)
            }
            guard offsets.count == 2, offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= room else {
                throw fail("lies outside the file")
            }
            var bytes = type.blockBytes
            for size in shape {
                let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
                guard size > 0, !overflow else { throw fail("has the shape \(shape)") }
                bytes = product
            }
            guard offsets[1] - offsets[0] == bytes else {
                throw fail("of shape \(shape) needs \(bytes) bytes, but has \(offsets[1] - offsets[0])")
            }
            entries[name] = Entry(type: type, shape: shape, offset: start + offsets[0])
        }
        self.entries = entries
    }

    private struct Field: Decodable {
        var dtype: String?
        var shape: [Int]?
        var dataOffsets: [Int]?

        enum CodingKeys: String, CodingKey {
            case dtype, shape
            case dataOffsets = "data_offsets"
        }
    }
}
