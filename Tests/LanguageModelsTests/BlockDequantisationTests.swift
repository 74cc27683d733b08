import CKernels
import Foundation
import LanguageModels
import Testing

@Suite struct BlockDequantisationTests {
    @Test func valuesAreThoseOfTheFormatsDescriptions() throws {
        #expect(Set(BlockFixtures.all.map(\.type)) == Set(ElementType.allCases))
        let folder = try TemporaryFolder()
        for fixture in BlockFixtures.all {
            let stored = try #require(Data(base64Encoded: fixture.bytes))
            let values = try #require(Data(base64Encoded: fixture.values))
            // One byte in front, so that nothing is aligned.
            let path = try folder.write([0] + stored, fixture.type.name)
            let count = values.count / 4
            let tensor = StoredTensor(
                name: "t", type: fixture.type, rows: 2, columns: count / 2, file: try MappedFile(path: path), offset: 1)
            let expected = values.withUnsafeBytes { raw in
                (0..<count).map {
                    Float(bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
                }
            }
            #expect(stored.count == tensor.byteCount)
            let floats = tensor.floats()
            for (index, (got, want)) in zip(floats, expected).enumerated() {
                #expect(
                    abs(got - want) <= 1e-6 * max(abs(want), 1),
                    "\(fixture.type.name), element \(index): \(got), not \(want)")
            }
        }
    }

    @Test func blockSizesAreTheKernels() {
        for type in ElementType.allCases {
            #expect(uk_block_elements(type.rawValue) == type.blockElements)
            #expect(uk_block_bytes(type.rawValue) == type.blockBytes)
        }
    }
}
