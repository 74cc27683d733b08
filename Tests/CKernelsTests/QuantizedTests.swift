import CKernels
import Foundation
import Testing

@Suite struct QuantizedTests {
    static let formats = [UK_PACKED_F32, UK_PACKED_P4_0, UK_PACKED_P4_1, UK_PACKED_P8_0, UK_PACKED_P8_1]
    static let types: [uk_type] = [
        UK_TYPE_F32, UK_TYPE_F16, UK_TYPE_BF16, UK_TYPE_Q4_0, UK_TYPE_Q4_1, UK_TYPE_Q5_0, UK_TYPE_Q5_1, UK_TYPE_Q8_0,
        UK_TYPE_Q4_K, UK_TYPE_Q5_K, UK_TYPE_Q6_K,
    ]

    // MARK: Packing

    /// A row of blocks with random levels and sensible scales.
    static func randomRow(_ type: uk_type, k: Int, _ random: inout TestRandom) -> [UInt8] {
        let number = Int32(type.rawValue)
        let bytes = uk_block_bytes(number)
        if uk_block_elements(number) == 1 {
            var row = [UInt8](repeating: 0, count: k * bytes)
            let values = random.normals(k)
            precondition(uk_quantize_row(number, values, k, &row))
            return row
        }
        var row = (0..<k / uk_block_elements(number) * bytes).map { _ in UInt8.random(in: 0...255, using: &random) }
        func setHalf(_ at: Int, _ value: Float) {
            let h = uk_f32_to_f16(value)
            row[at] = UInt8(h & 255)
            row[at + 1] = UInt8(h >> 8)
        }
        for block in stride(from: 0, to: row.count, by: bytes) {
            let step = Float.random(in: 0.01..<0.1, using: &random)
            let second = Float.random(in: -0.5..<0.1, using: &random)
            switch type {
            case UK_TYPE_Q4_0, UK_TYPE_Q5_0, UK_TYPE_Q8_0: setHalf(block, step)
            case UK_TYPE_Q4_1, UK_TYPE_Q5_1:
                setHalf(block, step)
                setHalf(block + 2, second)
            case UK_TYPE_Q4_K, UK_TYPE_Q5_K:
                setHalf(block, step / 32)
                setHalf(block + 2, -second / 32)
            default: setHalf(block + bytes - 2, step / 64)
            }
        }
        return row
    }

    /// Packs `rows` (row bytes) into whole tiles.
    static func pack(_ format: uk_packed, _ type: uk_type, _ rows: [[UInt8]], k: Int) -> AlignedBytes {
        let tiles = (rows.count + 15) / 16
        let tileBytes = uk_packed_tile_bytes(format, k)
        let packed = AlignedBytes(tiles * tileBytes)
        let storage = rows.map { row in
            let copy = UnsafeMutableRawPointer.allocate(byteCount: row.count + 1, alignment: 1)
            copy.copyMemory(from: row, byteCount: row.count)
            return copy
        }
        defer { for copy in storage { copy.deallocate() } }
        for tile in 0..<tiles {
            var pointers = [UnsafeRawPointer?](repeating: nil, count: 16)
            for row in 0..<16 where tile * 16 + row < rows.count {
                pointers[row] = UnsafeRawPointer(storage[tile * 16 + row])
            }
            uk_pack_tile(format, Int32(type.rawValue), pointers, k, packed.base + tile * tileBytes)
        }
        return packed
    }

    static func unpacked(_ format: uk_packed, _ packed: AlignedBytes, k: Int, row: Int) -> [Float] {
        var values = [Float](repeating: .nan, count: k)
        uk_unpack_row(format, packed.base, k, row, &values)
        return values
    }

    static func dequantized(_ type: uk_type, _ row: [UInt8], k: Int) -> [Float] {
        var values = [Float](repeating: .nan, count: k)
        uk_dequantize_row(Int32(type.rawValue), row, k, &values)
        return values
    }

    @Test(arguments: types) func packsEveryType(_ type: uk_type) {
        var random = TestRandom(UInt64(type.rawValue) + 1)
        let lossless: Set<UInt32> = [
            UK_TYPE_Q4_0.rawValue, UK_TYPE_Q4_1.rawValue, UK_TYPE_Q5_0.rawValue, UK_TYPE_Q5_1.rawValue,
            UK_TYPE_Q8_0.rawValue,
        ]
        for k in [256, 768] {
            let rows = (0..<19).map { _ in Self.randomRow(type, k: k, &random) }
            let format = uk_packed_for_type(Int32(type.rawValue))
            let packed = Self.pack(format, type, rows, k: k)
            let floats = Self.pack(UK_PACKED_F32, type, rows, k: k)
            for (index, row) in rows.enumerated() {
                let expected = Self.dequantized(type, row, k: k)
                #expect(Self.unpacked(UK_PACKED_F32, floats, k: k, row: index) == expected)
                let actual = Self.unpacked(format, packed, k: k, row: index)
                if lossless.contains(type.rawValue) {
                    #expect(actual == expected)
                    continue
                }
                for group in stride(from: 0, to: k, by: 32) {
                    let largest = expected[group..<group + 32].reduce(0) { max($0, abs($1)) }
                    // K blocks round their scales to f16 (levels up to 31); the rest get 8 bits a group.
                    let bound = format == UK_PACKED_P8_0 ? largest / 250 : largest / 500 + 1e-4
                    for i in group..<group + 32 { #expect(abs(actual[i] - expected[i]) <= bound, "element \(i)") }
                }
            }
            // Rows that do not exist are zeros.
            #expect(Self.unpacked(format, packed, k: k, row: 31).allSatisfy { $0 == 0 })
        }
    }

    @Test(arguments: [UK_PACKED_P4_0, UK_PACKED_P4_1, UK_PACKED_P8_0, UK_PACKED_P8_1])
    func roundsFloatsToAnyFormat(_ format: uk_packed) {
        var random = TestRandom(77)
        let k = 288
        // Groups of many sizes, so that steps fall below the normal range of f16, too.
        let rows: [[Float]] = (0..<16).map { row in
            var values = random.normals(k, deviation: powf(10, Float(row % 8) - 5))
            if row == 8 { values = values.map(abs) }
            if row == 9 { values = values.map { -abs($0) } }
            if row == 10 { values = [Float](repeating: 0, count: k) }
            if row == 11 { values = [Float](repeating: 0.25, count: k) }
            return values
        }
        let bytes = rows.map { row in row.withUnsafeBytes { [UInt8]($0) } }
        let packed = Self.pack(format, UK_TYPE_F32, bytes, k: k)
        for (index, row) in rows.enumerated() {
            let actual = Self.unpacked(format, packed, k: k, row: index)
            for group in stride(from: 0, to: k, by: 32) {
                let part = row[group..<group + 32]
                let largest = part.reduce(0) { max($0, abs($1)) }
                let range = part.max()! - part.min()!
                let step: Float =
                    switch format {
                    case UK_PACKED_P4_0: largest / 8
                    case UK_PACKED_P8_0: largest / 127
                    case UK_PACKED_P4_1: range / 15
                    default: range / 255
                    }
                // Half a step; in P4_0 the value opposite the largest may be clamped by a whole one.
                let bound = step * (format == UK_PACKED_P4_0 ? 1.02 : 0.55) + largest * 0.001 + 3e-6
                for i in group..<group + 32 { #expect(abs(actual[i] - row[i]) <= bound, "row \(index), element \(i)") }
            }
        }
    }

    @Test func packsHostileValuesWithoutTraps() {
        let k = 64
        var rows: [[Float]] = [Float.nan, .infinity, -.infinity, 3e38, -3e38, .leastNonzeroMagnitude].map { value in
            (0..<k).map { $0 % 3 == 0 ? value : Float($0) }
        }
        rows.append((0..<k).map { $0 % 2 == 0 ? 3e38 : -3e38 })
        let bytes = rows.map { row in row.withUnsafeBytes { [UInt8]($0) } }
        for format in Self.formats {
            let packed = Self.pack(format, UK_TYPE_F32, bytes, k: k)
            #expect(Self.unpacked(format, packed, k: k, row: 5)[1].isFinite)
        }
    }

    @Test func tileSizesAreMultiplesOf64() {
        for format in Self.formats {
            for k in stride(from: 0, through: 1536, by: 32) { #expect(uk_packed_tile_bytes(format, k) % 64 == 0) }
        }
        #expect(uk_packed_tile_bytes(UK_PACKED_P4_1, 64) == 640)
        #expect(uk_packed_tile_bytes(UK_PACKED_P8_0, 32) == 576)
        #expect(uk_packed_tile_bytes(UK_PACKED_F32, 3) == 192)
    }

    // MARK: Activations

    struct Activations: Equatable {
        var q: [Int8]
        var scale: [Float]
        var sum: [Float]

        init(_ x: [Float], k: Int) {
            let tokens = k == 0 ? 0 : x.count / k
            q = [Int8](repeating: 99, count: x.count)
            scale = [Float](repeating: .nan, count: x.count / 32)
            sum = scale
            for t in 0..<tokens {
                x.withUnsafeBufferPointer { x in
                    q.withUnsafeMutableBufferPointer { q in
                        scale.withUnsafeMutableBufferPointer { scale in
                            sum.withUnsafeMutableBufferPointer { sum in
                                uk_quantize_activations(
                                    x.baseAddress! + t * k, k, q.baseAddress! + t * k,
                                    scale.baseAddress! + t * (k / 32),
                                    sum.baseAddress! + t * (k / 32))
                            }
                        }
                    }
                }
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func quantizesActivations(_ isa: uk_isa) {
        var random = TestRandom(3)
        var x = random.normals(32 * 40)
        for i in 0..<32 { x[64 + i] = 0 }
        for i in 0..<32 { x[96 + i] = Float(i - 16) * 0x1p-110 }
        for i in 0..<32 { x[128 + i] = Float(i) - 15.5 }  // ties
        for i in 0..<32 { x[160 + i] *= 1e30 }
        let scalar = InstructionSets.using(UK_ISA_SCALAR) { Activations(x, k: x.count) }
        let result = InstructionSets.using(isa) { Activations(x, k: x.count) }
        #expect(result == scalar)
        for group in 0..<x.count / 32 {
            let values = x[group * 32..<group * 32 + 32]
            let largest = values.reduce(0) { max($0, abs($1)) }
            if largest < 0x1p-100 {
                #expect(result.scale[group] == 0 && result.sum[group] == 0)
                continue
            }
            #expect(abs(result.scale[group] - largest / 127) <= largest * 1e-6)
            var total = 0
            for (i, value) in values.enumerated() {
                let q = Int(result.q[group * 32 + i])
                total += q
                #expect(abs(value / result.scale[group] - Float(q)) <= 0.5001)
            }
            #expect(result.sum[group] == result.scale[group] * Float(total))
        }
    }

    @Test(arguments: InstructionSets.supported) func quantizesHostileActivations(_ isa: uk_isa) {
        for bad in [Float.nan, .infinity, -.infinity] {
            for at in [0, 15, 16, 31] {
                var x = [Float](repeating: 1, count: 96)
                x[32 + at] = bad
                let result = InstructionSets.using(isa) { Activations(x, k: 96) }
                #expect(result.scale[1].isNaN && result.sum[1].isNaN)
                #expect(result.q[32..<64].allSatisfy { $0 == 0 })
                #expect(result.scale[0] == Float(1) / 127 && result.scale[2] == result.scale[0])
                #expect(result.q[0..<32].allSatisfy { $0 == 127 })
            }
        }
        InstructionSets.using(isa) {
            var q: Int8 = 5
            var scale: Float = 5
            var sum: Float = 5
            uk_quantize_activations([1], 0, &q, &scale, &sum)
            #expect(q == 5 && scale == 5 && sum == 5)
        }
    }

    // MARK: Products

    struct Product {
        var format: uk_packed
        var rows: Int
        var k: Int
        var tokens: Int
        var x: [Float]
        var packed: AlignedBytes
        /// The weights as unpacked from the tiles.
        var w: [[Float]]

        init(_ format: uk_packed, rows: Int, k: Int, tokens: Int, seed: UInt64) {
            var random = TestRandom(seed)
            (self.format, self.rows, self.k, self.tokens) = (format, rows, k, tokens)
            x = random.normals(tokens * k)
            let type: uk_type =
                switch format {
                case UK_PACKED_P4_0: UK_TYPE_Q4_0
                case UK_PACKED_P4_1: UK_TYPE_Q4_1
                case UK_PACKED_P8_0: UK_TYPE_Q8_0
                case UK_PACKED_P8_1: UK_TYPE_Q5_1
                default: UK_TYPE_F32
                }
            // Half of the P8 tests use all 256 levels, which is where 16-bit sums would overflow.
            let full = format == UK_PACKED_P8_1 && seed % 2 == 0
            let data = (0..<rows).map { _ in
                full ? random.normals(k).withUnsafeBytes { [UInt8]($0) } : QuantizedTests.randomRow(type, k: k, &random)
            }
            let storage = QuantizedTests.pack(format, full ? UK_TYPE_F32 : type, data, k: k)
            packed = storage
            w = (0..<rows).map { QuantizedTests.unpacked(format, storage, k: k, row: $0) }
        }

        /// y for some tokens, in rows of `stride`, written at an odd offset; what surrounds it must stay.
        func run(tokens range: Range<Int>, tiles: Range<Int>? = nil, initial: Float? = nil) -> [Float] {
            let stride = rows + 3
            let guardValue: Float = 12345
            var y = [Float](repeating: guardValue, count: range.count * stride + 17)
            if let initial {
                for t in 0..<range.count { for r in 0..<rows { y[1 + t * stride + r] = initial } }
            }
            let activations = Activations(Array(x[range.lowerBound * k..<range.upperBound * k]), k: k)
            x.withUnsafeBufferPointer { x in
                y.withUnsafeMutableBufferPointer { y in
                    activations.q.withUnsafeBufferPointer { q in
                        activations.scale.withUnsafeBufferPointer { scale in
                            activations.sum.withUnsafeBufferPointer { sum in
                                var arguments = uk_matmul(
                                    format: format, weights: UnsafeRawPointer(packed.base), rows: rows, k: k,
                                    tokens: range.count, x: x.baseAddress.map { $0 + range.lowerBound * k },
                                    x_stride: k,
                                    q: q.baseAddress, scale: scale.baseAddress, sum: sum.baseAddress,
                                    y: y.baseAddress! + 1, y_stride: stride, accumulate: initial != nil)
                                let tiles = tiles ?? 0..<(rows + 15) / 16
                                uk_matmul_packed(&arguments, tiles.lowerBound, tiles.upperBound)
                            }
                        }
                    }
                }
            }
            #expect(y[0] == guardValue)
            for t in 0..<range.count {
                for i in rows..<stride { #expect(y[1 + t * stride + i] == guardValue, "written past the rows") }
            }
            return (0..<range.count).flatMap { t in y[1 + t * stride..<1 + t * stride + rows] }
        }

        /// The product in double, of the activations as quantised, and Σ |x · w| for error bounds.
        func exact() -> (values: [Double], sizes: [Double]) {
            var inputs = x.map(Double.init)
            if format != UK_PACKED_F32 {
                let a = Activations(x, k: k)
                for i in inputs.indices { inputs[i] = Double(a.q[i]) * Double(a.scale[i / 32]) }
            }
            var values: [Double] = []
            var sizes: [Double] = []
            for t in 0..<tokens {
                for row in w {
                    var value = 0.0
                    var size = 0.0
                    for i in 0..<k {
                        let term = inputs[t * k + i] * Double(row[i])
                        value += term
                        size += abs(term)
                    }
                    values.append(value)
                    sizes.append(size)
                }
            }
            return (values, sizes)
        }
    }

    @Test(arguments: InstructionSets.supported, formats)
    func multiplies(_ isa: uk_isa, _ format: uk_packed) {
        for (index, shape) in [
            (16, 32, 1), (1, 32, 1), (17, 64, 2), (48, 96, 3), (33, 576, 5), (64, 160, 17), (5, 1536, 4), (40, 288, 16),
            (80, 128, 8), (31, 64, 13),
        ].enumerated() {
            let product = Product(format, rows: shape.0, k: shape.1, tokens: shape.2, seed: UInt64(index))
            let result = InstructionSets.using(isa) { product.run(tokens: 0..<shape.2) }
            let (exact, sizes) = product.exact()
            for i in exact.indices {
                // The offset part (m · sum) is as large as Σ |w| and cancels: allow for it.
                #expect(abs(Double(result[i]) - exact[i]) <= sizes[i] * 4e-6 + 1e-4, "\(shape), output \(i)")
            }
            let scalar = InstructionSets.using(UK_ISA_SCALAR) { product.run(tokens: 0..<shape.2) }
            for i in exact.indices {
                #expect(
                    abs(result[i] - scalar[i]) <= Float(sizes[i]) * 8e-6 + 1e-4, "\(shape), output \(i) against scalar")
            }
        }
    }

    @Test(arguments: InstructionSets.supported, formats)
    func batchedEqualsSingle(_ isa: uk_isa, _ format: uk_packed) {
        let product = Product(format, rows: 77, k: 192, tokens: 40, seed: 9)
        InstructionSets.using(isa) {
            let single = (0..<40).map { product.run(tokens: $0..<$0 + 1) }
            for count in Array(1...19) + [24, 31, 32, 33, 40] {
                let batched = product.run(tokens: 0..<count)
                #expect(batched == Array(single[..<count].joined()), "\(count) tokens")
            }
            // Work split by tiles gives the same.
            let whole = product.run(tokens: 0..<7)
            var parts = [Float](repeating: 0, count: whole.count)
            for range in [0..<1, 1..<4, 4..<5] {
                let part = product.run(tokens: 0..<7, tiles: range)
                for t in 0..<7 {
                    for r in range.lowerBound * 16..<min(77, range.upperBound * 16) {
                        parts[t * 77 + r] = part[t * 77 + r]
                    }
                }
            }
            #expect(parts == whole)
        }
    }

    @Test(arguments: InstructionSets.supported, formats)
    func accumulates(_ isa: uk_isa, _ format: uk_packed) {
        let product = Product(format, rows: 21, k: 64, tokens: 5, seed: 11)
        InstructionSets.using(isa) {
            let plain = product.run(tokens: 0..<5)
            #expect(product.run(tokens: 0..<5, initial: 2.5) == plain.map { 2.5 + $0 })
        }
    }

    @Test(arguments: InstructionSets.supported, formats)
    func emptyProducts(_ isa: uk_isa, _ format: uk_packed) {
        InstructionSets.using(isa) {
            let product = Product(format, rows: 20, k: 32, tokens: 3, seed: 13)
            #expect(product.run(tokens: 0..<0).isEmpty)
            #expect(product.run(tokens: 0..<3, tiles: 1..<1).allSatisfy { $0 == 12345 })
            // Without inputs every output is an empty sum.
            let weights = AlignedBytes(128)
            var y = [Float](repeating: 7, count: 40)
            y.withUnsafeMutableBufferPointer { y in
                let zeros = UnsafeRawPointer(weights.base)
                let floats = zeros.assumingMemoryBound(to: Float.self)
                var inputs = uk_matmul(
                    format: format, weights: zeros, rows: 20, k: 0, tokens: 2, x: floats, x_stride: 0,
                    q: zeros.assumingMemoryBound(to: Int8.self), scale: floats, sum: floats,
                    y: y.baseAddress!, y_stride: 20, accumulate: false)
                uk_matmul_packed(&inputs, 0, 2)
            }
            #expect(y.allSatisfy { $0 == 0 })
        }
    }

    @Test(arguments: InstructionSets.supported, formats)
    func hostileActivationsStayInTheirToken(_ isa: uk_isa, _ format: uk_packed) {
        var product = Product(format, rows: 18, k: 96, tokens: 9, seed: 15)
        InstructionSets.using(isa) {
            let clean = product.run(tokens: 0..<9)
            product.x[4 * 96 + 40] = .nan
            product.x[6 * 96 + 3] = .infinity
            let result = product.run(tokens: 0..<9)
            for t in 0..<9 {
                let part = result[t * 18..<t * 18 + 18]
                if t == 4 || (t == 6 && format != UK_PACKED_F32) {
                    #expect(part.allSatisfy { $0.isNaN })
                } else if t != 6 {
                    #expect(part == clean[t * 18..<t * 18 + 18])
                }
            }
        }
    }
}
