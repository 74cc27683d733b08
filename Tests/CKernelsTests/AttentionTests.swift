import CKernels
import Foundation
import Testing

@Suite struct AttentionTests {
    // MARK: Attention

    struct Problem {
        var heads: Int
        var keyValueHeads: Int
        var dimension: Int
        var start: Int
        var tokens: Int
        var capacity: Int
        var q: [Float]
        var keys: [UInt16]
        var values: [UInt16]
        var format = UK_CACHE_F16
        var window = 0

        init(heads: Int, keyValueHeads: Int, dimension: Int, start: Int, tokens: Int, seed: UInt64, size: Float = 2) {
            var random = TestRandom(seed)
            (self.heads, self.keyValueHeads, self.dimension) = (heads, keyValueHeads, dimension)
            (self.start, self.tokens) = (start, tokens)
            capacity = start + tokens + 5
            q = random.normals(tokens * heads * dimension, deviation: size)
            keys = random.normals(keyValueHeads * capacity * dimension).map(uk_f32_to_f16)
            values = random.normals(keyValueHeads * capacity * dimension).map(uk_f32_to_f16)
            // Rows after the last token are not filled: whatever they hold must not matter.
            for head in 0..<keyValueHeads {
                for i in (head * capacity + start + tokens) * dimension..<(head + 1) * capacity * dimension {
                    keys[i] = 0x7e00
                    values[i] = 0x7e00
                }
            }
        }

        private var rowsBytes: Int { (uk_cache_rows_bytes(format, dimension) + 63) / 64 * 64 }

        /// Keys and values in pages, every other page from the other end of the memory.
        private func paged() -> (memory: UnsafeMutableRawPointer, pages: [UnsafeRawPointer]) {
            let count = (capacity + 15) / 16
            let pageBytes = 2 * keyValueHeads * rowsBytes
            let memory = UnsafeMutableRawPointer.allocate(byteCount: count * pageBytes, alignment: 64)
            memory.initializeMemory(as: UInt8.self, repeating: 0x7f, count: count * pageBytes)
            let pages = (0..<count).map { memory + ($0 % 2 == 0 ? $0 / 2 : count - 1 - $0 / 2) * pageBytes }
            for head in 0..<keyValueHeads {
                for row in 0..<start + tokens {
                    let from = (head * capacity + row) * dimension
                    let place = pages[row / 16] + head * rowsBytes
                    uk_cache_store_key(
                        format, keys[from..<from + dimension].map(uk_f16_to_f32), dimension, place, row % 16)
                    uk_cache_store_value(
                        format, values[from..<from + dimension].map(uk_f16_to_f32), dimension,
                        place + keyValueHeads * rowsBytes, row % 16)
                }
            }
            return (memory, pages.map { UnsafeRawPointer($0) })
        }

        /// Outputs of tokens `range`, worked on in one call for each kv head.
        func run(_ range: Range<Int>, only count: Int? = nil) -> [Float] {
            let stride = heads * dimension + 3
            var out = [Float](repeating: 12345, count: tokens * stride + 1)
            let (memory, pages) = paged()
            defer { memory.deallocate() }
            q.withUnsafeBufferPointer { q in
                pages.withUnsafeBufferPointer { pages in
                    out.withUnsafeMutableBufferPointer { out in
                        var a = uk_attention(
                            heads: heads, kv_heads: keyValueHeads, head_dimension: dimension, tokens: count ?? tokens,
                            start: start, q: q.baseAddress!, q_stride: heads * dimension, format: format,
                            pages: pages.baseAddress!, key_offset: 0, value_offset: keyValueHeads * rowsBytes,
                            head_stride: rowsBytes, window: window, scale: 1 / Float(dimension).squareRoot(),
                            out: out.baseAddress! + 1, out_stride: stride)
                        let needed = uk_attention_scratch(&a)
                        var scratch = [Float](repeating: .nan, count: needed + 1)
                        scratch[needed] = 777
                        for head in 0..<keyValueHeads {
                            uk_attention_forward(&a, head, range.lowerBound, range.upperBound, &scratch)
                        }
                        #expect(scratch[needed] == 777)
                    }
                }
            }
            for t in 0..<tokens {
                for i in 0..<3 where 1 + t * stride + heads * dimension + i < out.count {
                    #expect(out[1 + t * stride + heads * dimension + i] == 12345)
                }
            }
            return range.flatMap { t in out[1 + t * stride..<1 + t * stride + heads * dimension] }
        }

        /// Plain softmax attention in double.
        func exact() -> [Double] {
            var result: [Double] = []
            let group = heads / keyValueHeads
            for t in 0..<tokens {
                for head in 0..<heads {
                    let base = head / group * capacity * dimension
                    var scores: [Double] = []
                    let first = window > 0 ? max(0, start + t + 1 - window) : 0
                    for j in first...start + t {
                        var dot = 0.0
                        for i in 0..<dimension {
                            dot +=
                                Double(q[(t * heads + head) * dimension + i])
                                * Double(uk_f16_to_f32(keys[base + j * dimension + i]))
                        }
                        scores.append(dot * Double(1 / Float(dimension).squareRoot()))
                    }
                    let largest = scores.max()!
                    let weights = scores.map { exp($0 - largest) }
                    let total = weights.reduce(0, +)
                    for i in 0..<dimension {
                        var sum = 0.0
                        let first = window > 0 ? max(0, start + t + 1 - window) : 0
                        for (j, weight) in weights.enumerated() {
                            sum += weight * Double(uk_f16_to_f32(values[base + (first + j) * dimension + i]))
                        }
                        result.append(sum / total)
                    }
                }
            }
            return result
        }
    }

    @Test(arguments: InstructionSets.supported) func attends(_ isa: uk_isa) {
        for (index, shape) in [
            (1, 1, 8, 0, 1), (9, 3, 64, 0, 13), (4, 4, 24, 3, 5), (6, 2, 40, 70, 3), (8, 1, 128, 63, 2),
            (9, 3, 64, 200, 1),
            (2, 2, 72, 64, 1), (7, 1, 96, 0, 130), (5, 5, 256, 10, 4),
        ].enumerated() {
            let problem = Problem(
                heads: shape.0, keyValueHeads: shape.1, dimension: shape.2, start: shape.3, tokens: shape.4,
                seed: UInt64(index), size: index % 2 == 0 ? 1 : 8)
            let result = InstructionSets.using(isa) { problem.run(0..<shape.4) }
            let exact = problem.exact()
            for i in exact.indices { #expect(abs(Double(result[i]) - exact[i]) <= 2e-5, "\(shape), element \(i)") }
        }
    }

    @Test(arguments: InstructionSets.supported) func attendsWithinAWindow(_ isa: uk_isa) {
        for (start, tokens, window) in [(0, 40, 7), (100, 3, 64), (130, 90, 33), (5, 20, 1), (10, 9, 1000)] {
            var problem = Problem(heads: 4, keyValueHeads: 2, dimension: 40, start: start, tokens: tokens, seed: 77)
            problem.window = window
            let exact = problem.exact()
            InstructionSets.using(isa) {
                let result = problem.run(0..<tokens)
                for i in exact.indices { #expect(abs(Double(result[i]) - exact[i]) <= 2e-5) }
                let width = 4 * 40
                for t in stride(from: 0, to: tokens, by: 7) {
                    #expect(problem.run(t..<t + 1) == Array(result[t * width..<(t + 1) * width]))
                }
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func attendsOverEightBits(_ isa: uk_isa) {
        for (dimension, start, tokens) in [(64, 70, 5), (40, 0, 33), (128, 15, 2)] {
            var problem = Problem(
                heads: 6, keyValueHeads: 2, dimension: dimension, start: start, tokens: tokens, seed: 78, size: 1)
            let exact = problem.exact()
            problem.format = UK_CACHE_Q8
            InstructionSets.using(isa) {
                let result = problem.run(0..<tokens)
                // A step of 1/127 of the largest of some normal numbers: about 0.03.
                for i in exact.indices { #expect(abs(Double(result[i]) - exact[i]) <= 0.05) }
            }
            let scalar = InstructionSets.using(UK_ISA_SCALAR) { problem.run(0..<tokens) }
            let own = InstructionSets.using(isa) { problem.run(0..<tokens) }
            for i in own.indices { #expect(abs(own[i] - scalar[i]) <= 2e-5) }
        }
    }

    @Test func eightBitRowsKeepTheirValues() {
        var random = TestRandom(5)
        for values in [random.normals(64), [Float](repeating: 0, count: 64), [Float](repeating: -3, count: 64)] {
            let rows = UnsafeMutableRawPointer.allocate(byteCount: uk_cache_rows_bytes(UK_CACHE_Q8, 64), alignment: 64)
            defer { rows.deallocate() }
            uk_cache_store_value(UK_CACHE_Q8, values, 64, rows, 9)
            let scale = (rows + 16 * 64).loadUnaligned(fromByteOffset: 9 * 4, as: Float.self)
            let largest = values.map(abs).max()!
            #expect(scale == largest / 127)
            for i in 0..<64 {
                let back = scale * Float(rows.load(fromByteOffset: 9 * 64 + i, as: Int8.self))
                #expect(abs(back - values[i]) <= scale * 0.5001)
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func gegluAndWeights(_ isa: uk_isa) {
        for n in Self.lengths {
            var random = TestRandom(UInt64(n) + 3)
            let gate = random.normals(n + 1, deviation: 4)
            let up = random.normals(n + 1)
            InstructionSets.using(isa) {
                var y = [Float](repeating: 12345, count: n + 1)
                uk_geglu(gate, up, n, &y)
                #expect(y[n] == 12345)
                for i in 0..<n {
                    let g = Double(gate[i])
                    let exact = 0.5 * g * (1 + tanh(0.7978845608028654 * (g + 0.044715 * g * g * g))) * Double(up[i])
                    #expect(abs(Double(y[i]) - exact) <= 2e-6 * (1 + abs(exact)))
                }
                var weights = [Float](repeating: 12345, count: n + 1)
                let total = uk_exp_weights(gate, n, 2, 0.5, &weights)
                #expect(weights[n] == 12345)
                let exact = gate[..<n].map { exp((Double($0) - 2) / 2) }
                for i in 0..<n { #expect(abs(Double(weights[i]) - exact[i]) <= 1e-6 * exact[i]) }
                #expect(abs(Double(total) - exact.reduce(0, +)) <= 1e-5 * (1 + exact.reduce(0, +)))
                var best = 99
                let logarithm = uk_log_sum_exp(gate, n, &best)
                if n == 0 {
                    #expect(logarithm == -.infinity)
                } else {
                    #expect(best == gate[..<n].indices.max { (gate[$0], $1) < (gate[$1], $0) })
                    let sum = gate[..<n].reduce(0.0) { $0 + exp(Double($1)) }
                    #expect(abs(Double(logarithm) - log(sum)) <= 1e-5)
                }
            }
        }
        InstructionSets.using(isa) {
            var weights = [Float](repeating: 1, count: 20)
            var x = [Float](repeating: 0, count: 20)
            x[3] = .nan
            x[7] = -.infinity
            x[18] = .nan
            #expect(uk_exp_weights(x, 20, 0, 1, &weights) == 17)
            #expect(weights[3] == 0 && weights[7] == 0 && weights[18] == 0)
        }
    }

    @Test(arguments: InstructionSets.supported) func aTokensResultIsItsOwn(_ isa: uk_isa) {
        for (heads, keyValueHeads, dimension, start) in [(9, 3, 64, 0), (4, 4, 24, 57), (8, 2, 80, 120)] {
            let problem = Problem(
                heads: heads, keyValueHeads: keyValueHeads, dimension: dimension, start: start, tokens: 75, seed: 31)
            InstructionSets.using(isa) {
                let all = problem.run(0..<75)
                let width = heads * dimension
                for t in 0..<75 {
                    #expect(problem.run(t..<t + 1) == Array(all[t * width..<(t + 1) * width]), "token \(t)")
                }
                for range in [0..<2, 3..<10, 10..<75, 60..<67] {
                    #expect(problem.run(range) == Array(all[range.lowerBound * width..<range.upperBound * width]))
                }
                // With fewer tokens in the request, too.
                #expect(problem.run(0..<20, only: 20) == Array(all[..<(20 * width)]))
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func hostileKeysTouchOnlyLaterTokens(_ isa: uk_isa) {
        var problem = Problem(heads: 6, keyValueHeads: 2, dimension: 32, start: 10, tokens: 12, seed: 41)
        InstructionSets.using(isa) {
            let clean = problem.run(0..<12)
            for i in 0..<32 {
                problem.values[(10 + 5) * 32 + i] = 0x7e00
                problem.keys[(10 + 5) * 32 + i] = i % 2 == 0 ? 0x7c00 : 0x7e00
                problem.keys[(10 + 9) * 32 + i] = 0x7c00
            }
            let result = problem.run(0..<12)
            #expect(Array(result[..<(5 * 6 * 32)]) == Array(clean[..<(5 * 6 * 32)]))
            for t in 5..<12 {
                for head in 0..<6 {
                    for i in 0..<32 {
                        let at = (t * 6 + head) * 32 + i
                        if head < 3 { #expect(result[at].isNaN) } else { #expect(result[at] == clean[at]) }
                    }
                }
            }
            #expect(problem.run(4..<4).isEmpty)
        }
    }

    @Test(arguments: InstructionSets.supported) func extremeScores(_ isa: uk_isa) {
        // A huge score takes everything; the online maximum rises block after block.
        var problem = Problem(heads: 1, keyValueHeads: 1, dimension: 8, start: 199, tokens: 1, seed: 51)
        problem.q = [Float](repeating: 60, count: 8)
        for j in 0..<200 {
            for i in 0..<8 { problem.keys[j * 8 + i] = uk_f32_to_f16(Float(j)) }
        }
        InstructionSets.using(isa) {
            let result = problem.run(0..<1)
            for i in 0..<8 { #expect(abs(result[i] - uk_f16_to_f32(problem.values[199 * 8 + i])) < 1e-6) }
        }
    }

    // MARK: Small layers

    static let lengths = Array(0...70) + [576, 1000, 1536]

    @Test(arguments: InstructionSets.supported) func rmsNorm(_ isa: uk_isa) {
        for n in Self.lengths {
            var random = TestRandom(UInt64(n))
            let x = random.normals(n + 1)
            let w = random.normals(n + 1)
            InstructionSets.using(isa) {
                var y = [Float](repeating: 12345, count: n + 1)
                uk_rms_norm(x, w, n, 1e-5, &y)
                #expect(y[n] == 12345)
                let mean = x[..<n].reduce(0.0) { $0 + Double($1) * Double($1) } / Double(max(n, 1))
                for i in 0..<n {
                    let exact = Double(x[i]) / (mean + 1e-5).squareRoot() * Double(w[i])
                    #expect(abs(Double(y[i]) - exact) <= 1e-6 * (1 + abs(exact)))
                }
                var inPlace = x
                inPlace.withUnsafeMutableBufferPointer { uk_rms_norm($0.baseAddress!, w, n, 1e-5, $0.baseAddress!) }
                #expect(Array(inPlace[..<n]) == Array(y[..<n]))
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func rope(_ isa: uk_isa) {
        for dimension in stride(from: 2, through: 130, by: 2) {
            var random = TestRandom(UInt64(dimension))
            let half = dimension / 2
            let angles = random.floats(half, size: 3)
            let cosines = angles.map { cosf($0) }
            let sines = angles.map { sinf($0) }
            let x = random.normals(3 * dimension + 1)
            InstructionSets.using(isa) {
                var y = x
                uk_rope(&y, 3, dimension, cosines, sines)
                #expect(y[3 * dimension] == x[3 * dimension])
                for head in 0..<3 {
                    for i in 0..<half {
                        let a = x[head * dimension + i]
                        let b = x[head * dimension + half + i]
                        #expect(abs(y[head * dimension + i] - (a * cosines[i] - b * sines[i])) < 2e-6)
                        #expect(abs(y[head * dimension + half + i] - (b * cosines[i] + a * sines[i])) < 2e-6)
                    }
                }
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func swiglu(_ isa: uk_isa) {
        for n in Self.lengths {
            var random = TestRandom(UInt64(n) + 7)
            let gate = random.normals(n + 1, deviation: 6)
            let up = random.normals(n + 1)
            InstructionSets.using(isa) {
                var y = [Float](repeating: 12345, count: n + 1)
                uk_swiglu(gate, up, n, &y)
                #expect(y[n] == 12345)
                for i in 0..<n {
                    let g = Double(gate[i])
                    let exact = g / (1 + exp(-g)) * Double(up[i])
                    #expect(abs(Double(y[i]) - exact) <= 1e-6 * abs(exact) + 1e-12, "\(gate[i])")
                }
                var inPlace = gate
                inPlace.withUnsafeMutableBufferPointer { uk_swiglu($0.baseAddress!, up, n, $0.baseAddress!) }
                #expect(Array(inPlace[..<n]) == Array(y[..<n]))
            }
        }
        InstructionSets.using(isa) {
            let gate: [Float] = [-1000, -100, -88, 0, 88, 100, 1000, .infinity, .nan, -3e38, 3e38]
            for offset in 0..<16 {
                let padded = [Float](repeating: 0.5, count: offset) + gate
                var y = [Float](repeating: 0, count: padded.count)
                uk_swiglu(padded, [Float](repeating: 1, count: padded.count), padded.count, &y)
                let tail = Array(y[offset...])
                #expect(abs(tail[0]) < 1e-30 && abs(tail[1]) < 1e-30 && tail[3] == 0)
                #expect(tail[4] == 88 && tail[5] == 100 && tail[6] == 1000 && tail[7] == .infinity)
                #expect(tail[8].isNaN && abs(tail[9]) < 1e-30 && tail[10] == 3e38)
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func addAndAxpy(_ isa: uk_isa) {
        for n in Self.lengths {
            var random = TestRandom(UInt64(n) + 9)
            let x = random.normals(n + 1)
            let y = random.normals(n + 1)
            InstructionSets.using(isa) {
                var sum = x
                uk_add(&sum, y, n)
                var scaled = x
                uk_axpy(0.3, y, n, &scaled)
                for i in 0..<n {
                    #expect(sum[i] == x[i] + y[i])
                    #expect(abs(scaled[i] - (x[i] + 0.3 * y[i])) <= 1e-6)
                }
                #expect(sum[n] == x[n] && scaled[n] == x[n])
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func softmax(_ isa: uk_isa) {
        for n in Self.lengths {
            var random = TestRandom(UInt64(n) + 11)
            let x = random.normals(n + 1, deviation: 10)
            InstructionSets.using(isa) {
                var y = x
                let log = uk_softmax(&y, n)
                #expect(y[n] == x[n])
                guard n > 0 else {
                    #expect(log == -.infinity)
                    return
                }
                let largest = Double(x[..<n].max()!)
                let total = x[..<n].reduce(0.0) { $0 + exp(Double($1) - largest) }
                #expect(abs(Double(log) - (largest + Foundation.log(total))) <= 1e-5)
                for i in 0..<n {
                    let exact = exp(Double(x[i]) - largest) / total
                    #expect(abs(Double(y[i]) - exact) <= 3e-6 * exact + 1e-30)
                }
            }
        }
        InstructionSets.using(isa) {
            for n in [3, 8, 19, 40] {
                var masked = [Float](repeating: -.infinity, count: n)
                masked[1] = 2
                #expect(uk_softmax(&masked, n) == 2)
                #expect(masked[1] == 1 && masked[0] == 0 && masked[2] == 0)
                for at in [0, 1, n - 1] {
                    var bad = [Float](repeating: 1, count: n)
                    bad[at] = .nan
                    #expect(uk_softmax(&bad, n).isNaN)
                    #expect(bad.allSatisfy { $0.isNaN })
                }
            }
        }
    }

    @Test(arguments: InstructionSets.supported) func convertsToF16(_ isa: uk_isa) {
        var random = TestRandom(13)
        var x: [Float] = [
            0, -0.0, 1, 65504, 65519.9, 65520, 1e30, -.infinity, 5.96e-8, 2.98e-8, 2.99e-8, 1e-10, 6.1e-5, 0.1,
        ]
        x += random.normals(500)
        x += random.normals(500).map { $0 * 1e-5 }
        for n in [0, 1, 7, 8, 15, 16, 17, x.count] {
            InstructionSets.using(isa) {
                var y = [UInt16](repeating: 0xabcd, count: n + 1)
                uk_convert_f16(x, n, &y)
                #expect(y[n] == 0xabcd)
                #expect(Array(y[..<n]) == x[..<n].map(uk_f32_to_f16))
            }
        }
        InstructionSets.using(isa) {
            var y: UInt16 = 0
            uk_convert_f16([Float.nan], 1, &y)
            #expect(y & 0x7c00 == 0x7c00 && y & 0x3ff != 0)
        }
    }
}
