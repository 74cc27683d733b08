import CKernels
import Foundation
import LanguageModels
import Tensors
import Testing
import Tokenizers

/// Small random models of every family against Transformers (`Tests/Fixtures/families.py`).
struct FamilyTests {
    struct Fixture: Decodable {
        struct Family: Decodable, Sendable, CustomTestStringConvertible {
            var name: String
            /// `config.json`, as Transformers wrote it.
            var config: String
            var tensors: [Tensor]
            /// After token 9 and after the last.
            var logits: [[Float]]
            var testDescription: String { name }
        }

        struct Tensor: Decodable, Sendable {
            var name: String
            var shape: [Int]

            init(from decoder: any Decoder) throws {
                var list = try decoder.unkeyedContainer()
                name = try list.decode(String.self)
                shape = try list.decode([Int].self)
            }
        }

        var tokens: [Int32]
        var families: [Family]
    }

    static let fixture: Fixture = {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "families.json")
        return try! JSONDecoder().decode(Fixture.self, from: Data(contentsOf: file))
    }()

    private let pool = WorkerPool()

    /// The fixture script's formula: SplitMix64 of the name's FNV-1a hash plus the place.
    private func values(_ name: String, _ count: Int, gemma: Bool) -> [Float] {
        var seed: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in name.utf8 { seed = (seed ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let center: Float = name.hasSuffix("norm.weight") && !gemma ? 1 : 0
        return (1...UInt64(count)).map { place in
            var z = seed &+ place &* 0x9E37_79B9_7F4A_7C15
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            z ^= z >> 31
            return 0.25 * (Float(z >> 40) * 0x1p-23 - 1) + center
        }
    }

    private func definition() throws -> TokenizerDefinition {
        let bytes = (UInt8.min...UInt8.max).map { ByteAlphabet.text(of: [$0]) }
        let specials = (0..<16).map { "<\($0)>" }
        return try TokenizerDefinition(
            ggufTokens: specials + bytes, merges: [], types: specials.map { _ in 3 } + bytes.map { _ in 1 },
            preTokenizer: "smollm", bos: 1, eos: 2)
    }

    private func write(_ family: Fixture.Family, to folder: URL) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try Data(family.config.utf8).write(to: folder.appending(path: "config.json"))
        try definition().tokenizerJSON().write(to: folder.appending(path: "tokenizer.json"))
        // Two files, as large models have.
        for (index, half) in [
            family.tensors.prefix(family.tensors.count / 2), family.tensors.dropFirst(family.tensors.count / 2),
        ].enumerated() {
            var offset = 0
            var fields: [String] = []
            var data = Data()
            for tensor in half {
                let values = values(tensor.name, tensor.shape.reduce(1, *), gemma: family.name == "gemma3")
                fields.append(
                    "\"\(tensor.name)\":{\"dtype\":\"F32\",\"shape\":\(tensor.shape),\"data_offsets\":[\(offset),\(offset + values.count * 4)]}"
                )
                offset += values.count * 4
                values.withUnsafeBytes { data.append(contentsOf: $0) }
            }
            var file = Data()
            let header = Data("{\(fields.joined(separator: ","))}".utf8)
            withUnsafeBytes(of: UInt64(header.count).littleEndian) { file.append(contentsOf: $0) }
            file.append(header)
            file.append(data)
            try file.write(to: folder.appending(path: "model-0000\(index + 1)-of-00002.safetensors"))
        }
    }

    private func logits(_ path: String, tokens: [Int32], chunks: [Int]) throws -> [[Float]] {
        let model = try LanguageModel(contentsOf: path, precision: .float32, pool: pool)
        let pass = DecoderPass(model: model, pool: pool)
        let cache = SequenceCache(model.configuration, format: .float32)
        var rows: [[Float]] = []
        var start = 0
        let width = model.configuration.vocabularySize
        for count in chunks {
            let part = Array(tokens[start..<start + count])
            let result = pass.run([SequenceInput(cache: cache, tokens: part, rows: .all)])
            for row in 0..<count { rows.append(Array(result[row * width..<(row + 1) * width])) }
            start += count
        }
        return rows
    }

    private func compare(_ own: [[Float]], _ family: Fixture.Family, _ label: String, tolerance: Float = 1e-4) {
        for (place, expected) in zip([9, Self.fixture.tokens.count - 1], family.logits) {
            let off = zip(own[place], expected).map { abs($0 - $1) }.max()!
            #expect(off < tolerance, "\(label), after token \(place): off by \(off)")
        }
    }

    @Test(arguments: fixture.families) func agreesWithTransformers(_ family: Fixture.Family) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "understudy-family-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try write(family, to: folder)
        let tokens = Self.fixture.tokens
        let whole = try logits(folder.path, tokens: tokens, chunks: [tokens.count])
        compare(whole, family, "folder")
        // In pieces, the same bits.
        #expect(try logits(folder.path, tokens: tokens, chunks: [1, 8, 1, 12]) == whole)

        let source = try openModel(folder.path)
        let file = folder.path + "/model.gguf"
        try GGUFModelWriter.write(ModelContents(source), type: .f32, to: file)
        let fromGGUF = try openModel(file).configuration
        var expected = source.configuration
        expected.attentionScale = expected.attentionScale ?? fromGGUF.attentionScale
        #expect(fromGGUF.experts?.normalizesWeights == expected.experts?.normalizesWeights)
        compare(try logits(file, tokens: tokens, chunks: [tokens.count]), family, "gguf")

        // GGUF has Llama 3's scaling as factors, which the other layout has no words for.
        if family.name.contains("Llama 3") { return }
        let again = folder.appending(path: "again")
        try FileManager.default.createDirectory(at: again, withIntermediateDirectories: true)
        try HuggingFaceModelWriter.write(
            ModelContents(try openModel(file)), endToken: (2, "<2>"), type: .f32, to: again.path)
        let names = { (path: String) throws -> [String: [Int]] in
            try Dictionary(
                uniqueKeysWithValues: FileManager.default.contentsOfDirectory(atPath: path)
                    .filter { $0.hasSuffix(".safetensors") }.flatMap { try Self.header(path + "/" + $0) })
        }
        #expect(try names(again.path) == names(folder.path))
        compare(try logits(again.path, tokens: tokens, chunks: [tokens.count]), family, "folder again")
    }

    private static func header(_ path: String) throws -> [(String, [Int])] {
        struct Field: Decodable { var shape: [Int]? }
        let data = try Data(contentsOf: URL(filePath: path))
        let length = data.withUnsafeBytes { Int($0.loadUnaligned(as: UInt64.self)) }
        return try JSONDecoder().decode([String: Field].self, from: data[8..<8 + length])
            .filter { $0.key != "__metadata__" }.map { ($0.key, $0.value.shape ?? []) }
    }
}
