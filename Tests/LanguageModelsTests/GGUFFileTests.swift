import Foundation
import LanguageModels
import Testing

@Suite struct GGUFFileTests {
    /// A file with every value type and a few tensors, and its bytes.
    static func tinyFile(_ folder: TemporaryFolder) throws -> (path: String, bytes: [UInt8]) {
        var writer = GGUFWriter()
        for (key, value) in values { writer.set(key, value) }
        writer.addTensor("a", dimensions: [4], type: .f32)
        writer.addTensor("b", dimensions: [32, 3], type: .q8_0)
        writer.addTensor("c.weight", dimensions: [2, 3, 2], type: .f16)
        let path = folder.file("tiny.gguf")
        try writer.write(to: path) { name, append in
            let count = ["a": 16, "b": 102, "c.weight": 24][name] ?? 0
            try (0..<count).map { UInt8($0) }.withUnsafeBytes { try append($0) }
        }
        return (path, Array(try Data(contentsOf: URL(fileURLWithPath: path))))
    }

    static let values: [(String, GGUFValue)] = [
        ("general.architecture", .string("llama")), ("u8", .uint8(200)), ("i8", .int8(-3)), ("u16", .uint16(65_535)),
        ("i16", .int16(-300)), ("u32", .uint32(4_000_000_000)), ("i32", .int32(-5)), ("u64", .uint64(.max)),
        ("i64", .int64(.min)), ("f32", .float32(1.5)), ("f64", .float64(-2.25)), ("bool", .bool(true)),
        ("a.u8", .array(.uint8([1, 2]))), ("a.i8", .array(.int8([-1]))), ("a.u16", .array(.uint16([3]))),
        ("a.i16", .array(.int16([-4, 4]))), ("a.u32", .array(.uint32([7]))), ("a.i32", .array(.int32([-1, 2, 3]))),
        ("a.u64", .array(.uint64([9]))), ("a.i64", .array(.int64([-9]))), ("a.f32", .array(.float32([0.5, 1]))),
        ("a.f64", .array(.float64([0.25]))), ("a.bool", .array(.bool([true, false]))),
        ("a.string", .array(.string(["", "Ġthe", "ß\n"]))), ("a.empty", .array(.string([]))),
    ]

    @Test func readsWhatWasWritten() throws {
        let folder = try TemporaryFolder()
        let (path, bytes) = try Self.tinyFile(folder)
        let file = try GGUFFile(path: path)
        #expect(file.version == 3)
        #expect(file.alignment == 32)
        #expect(file.metadataKeys == Self.values.map(\.0))
        for (key, value) in Self.values { #expect(file.metadata[key] == value) }
        #expect(file.tensors.map(\.name) == ["a", "b", "c.weight"])
        #expect(file.tensor(named: "b")?.dimensions == [32, 3])
        #expect(file.tensor(named: "b")?.type == .q8_0)
        #expect(file.tensor(named: "d") == nil)
        for tensor in file.tensors {
            #expect(tensor.offset % 32 == 0)
            #expect(
                Array(bytes[tensor.offset..<tensor.offset + tensor.byteCount])
                    == (0..<tensor.byteCount).map { UInt8($0) })
        }
        #expect(folder.contents == ["tiny.gguf"], "no temporary file stays")
    }

    @Test func aFailedWriteLeavesTheOldFile() throws {
        struct Stop: Error {}
        let folder = try TemporaryFolder()
        let path = try folder.write([1, 2, 3], "model.gguf")
        var writer = GGUFWriter()
        writer.addTensor("a", dimensions: [1 << 20], type: .f32)
        #expect(throws: Stop.self) { try writer.write(to: path) { _, _ in throw Stop() } }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data([1, 2, 3]))
        #expect(folder.contents == ["model.gguf"])
    }

    /// A header by hand: what the writer refuses to write.
    struct Header {
        var bytes: [UInt8] = Array("GGUF".utf8)

        mutating func add(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }

        mutating func add(_ text: String) {
            add(UInt64(text.utf8.count))
            bytes.append(contentsOf: text.utf8)
        }

        init(version: UInt32 = 3, tensors: UInt64 = 0, entries: UInt64 = 0) {
            add(version)
            add(tensors)
            add(entries)
        }

        mutating func tensor(_ name: String, _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64 = 0) {
            add(name)
            add(UInt32(dimensions.count))
            for dimension in dimensions { add(dimension) }
            add(type)
            add(offset)
        }
    }

    @Test func refusesDamagedHeaders() throws {
        let folder = try TemporaryFolder()
        func expect(
            _ text: String, _ header: Header, code: ModelError.Code = .malformed,
            location: SourceLocation = #_sourceLocation
        ) throws {
            let path = try folder.write(header.bytes, "x.gguf")
            expectModelError(code, containing: text, sourceLocation: location) { _ = try GGUFFile(path: path) }
            expectModelError(code, containing: "x.gguf", sourceLocation: location) { _ = try GGUFFile(path: path) }
        }
        func header(tensors: UInt64 = 0, entries: UInt64 = 0, _ body: (inout Header) -> Void) -> Header {
            var header = Header(tensors: tensors, entries: entries)
            body(&header)
            return header
        }
        try expect("version 1", Header(version: 1), code: .unsupported)
        try expect("big-endian", Header(version: UInt32(3).byteSwapped), code: .unsupported)
        try expect("byte 8: the number of tensors is 18446744073709551615", Header(tensors: .max))
        try expect("byte 16: the number of metadata entries is 1", Header(entries: 1))
        try expect("is larger than", header(tensors: 1) { $0.tensor("t", [1 << 62, 1]) })
        try expect("needs 16 bytes", header(tensors: 1) { $0.tensor("t", [4]) })
        try expect("impossible dimension of 0", header(tensors: 1) { $0.tensor("t", [0]) })
        try expect("impossible dimension", header(tensors: 1) { $0.tensor("t", [1 << 40, 1 << 40]) })
        try expect("5 dimensions", header(tensors: 1) { $0.tensor("t", [1, 1, 1, 1, 1]) })
        try expect("block of 32", header(tensors: 1) { $0.tensor("t", [33], type: 8) })
        try expect("'t' has type IQ4_XS", header(tensors: 1) { $0.tensor("t", [256], type: 23) }, code: .unsupported)
        try expect("number 4294967295", header(tensors: 1) { $0.tensor("t", [256], type: .max) }, code: .unsupported)
        try expect("not a multiple of 32", header(tensors: 1) { $0.tensor("t", [1], offset: 4) })
        try expect(
            "'t' occurs twice",
            header(tensors: 2) {
                $0.tensor("t", [1])
                $0.tensor("t", [1], offset: 32)
            })
        try expect(
            "overlap",
            header(tensors: 2) {
                $0.tensor("t", [9])
                $0.tensor("u", [1], offset: 32)
                $0.bytes += [UInt8](repeating: 0, count: 200)
            })
        try expect(
            "list of lists",
            header(entries: 1) {
                $0.add("k")
                for number: UInt32 in [9, 9, 0] { $0.add(number) }
            })
        try expect(
            "element count",
            header(entries: 1) {
                $0.add("k")
                for number: UInt32 in [9, 8] { $0.add(number) }
                $0.add(UInt64(1) << 60)
            })
        try expect(
            "unknown type 13",
            header(entries: 1) {
                $0.add("k")
                $0.add(UInt32(13))
                $0.add(UInt32(0))
            })
        try expect(
            "power of two",
            header(entries: 1) {
                $0.add("general.alignment")
                $0.add(UInt32(4))
                $0.add(UInt32(24))
            })
        let path = try folder.write([UInt8]("GGML".utf8), "y.gguf")
        expectModelError(.malformed, containing: "y.gguf, byte 0: not a GGUF file") { _ = try GGUFFile(path: path) }
        let empty = try folder.write([UInt8](), "empty.gguf")
        expectModelError(.malformed, containing: "not a GGUF file") { _ = try GGUFFile(path: empty) }
        expectModelError(.notFound, containing: "none.gguf") { _ = try GGUFFile(path: folder.file("none.gguf")) }
        expectModelError(.inputOutput, containing: "regular file") { _ = try GGUFFile(path: folder.path) }
    }

    @Test func everyCutIsNoticed() throws {
        let folder = try TemporaryFolder()
        let (_, bytes) = try Self.tinyFile(folder)
        let whole = try GGUFFile(path: try folder.write(bytes, "cut.gguf"))
        let end = try #require(whole.tensors.map { $0.offset + $0.byteCount }.max())
        for count in 0..<end {
            let path = try folder.write(bytes[..<count], "cut.gguf")
            #expect(throws: ModelError.self, "cut at \(count)") { try GGUFFile(path: path) }
        }
    }

    @Test func damagedFilesAreReadInsideTheirBoundsOrRefused() throws {
        let folder = try TemporaryFolder()
        let (_, bytes) = try Self.tinyFile(folder)
        var mutator = Mutator(seed: 1)
        var refused = 0
        var read = 0
        let rounds = max(12_000, Int(ProcessInfo.processInfo.environment["UNDERSTUDY_FUZZ"] ?? "") ?? 0)
        for _ in 0..<rounds {
            let path = try folder.write(mutator.mutate(bytes), "fuzz.gguf")
            do {
                let file = try GGUFFile(path: path)
                for tensor in file.tensors {
                    let rows = tensor.dimensions.dropFirst().reduce(1, *)
                    let stored = StoredTensor(
                        name: tensor.name, type: tensor.type, rows: rows, columns: tensor.dimensions[0],
                        file: file.file,
                        offset: tensor.offset)
                    #expect(stored.floats().count == rows * tensor.dimensions[0])
                }
                read += 1
            } catch is ModelError {
                refused += 1
            }
        }
        #expect(refused > rounds / 4 && read > rounds / 24, "\(refused) refused, \(read) read")
    }
}
