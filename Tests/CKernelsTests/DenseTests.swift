import CKernels
import Testing

/// The training kernels of every instruction set against their scalar twins.
struct DenseTests {
    private static let vectors = InstructionSets.supported.filter { $0 != UK_ISA_SCALAR }

    private func expectClose(_ a: [Float], _ b: [Float], _ tolerance: Float, _ what: String) {
        #expect(a.count == b.count)
        for (index, (x, y)) in zip(a, b).enumerated() where !(abs(x - y) <= tolerance * (1 + abs(y))) {
            Issue.record("\(what): element \(index) is \(x), the scalar twin has \(y)")
            return
        }
    }

    private typealias Multiply =
        (UnsafePointer<uk_gemm>, Int, Int, Int, Int, UnsafeMutablePointer<Float>) -> Void

    /// One product in the orientation asked for, cut at `cut` along m or n.
    private func product(
        _ isa: uk_isa, _ multiply: Multiply = uk_gemm_f32, m: Int, n: Int, k: Int, a: [Float], b: [Float], c: [Float],
        aTransposed: Bool, bTransposed: Bool,
        accumulate: Bool, cut: (m: Int, n: Int) = (0, 0)
    ) -> [Float] {
        var c = c
        let scratch = AlignedBytes(uk_gemm_scratch() * 4)
        InstructionSets.using(isa) {
            a.withUnsafeBufferPointer { a in
                b.withUnsafeBufferPointer { b in
                    c.withUnsafeMutableBufferPointer { c in
                        var g = uk_gemm(
                            m: m, n: n, k: k, a: a.baseAddress!, a_row: aTransposed ? 1 : k,
                            a_column: aTransposed ? m : 1, b: b.baseAddress!, b_row: bTransposed ? 1 : n,
                            b_column: bTransposed ? k : 1, c: c.baseAddress!, c_row: n, accumulate: accumulate)
                        let floats = scratch.base.assumingMemoryBound(to: Float.self)
                        for rows in [0..<cut.m, cut.m..<m] {
                            for columns in [0..<cut.n, cut.n..<n] where !rows.isEmpty && !columns.isEmpty {
                                multiply(
                                    &g, rows.lowerBound, rows.upperBound, columns.lowerBound, columns.upperBound, floats
                                )
                            }
                        }
                    }
                }
            }
        }
        return c
    }

    @Test(arguments: vectors) func products(_ isa: uk_isa) {
        var random = TestRandom(1)
        let shapes = [
            (1, 1, 1), (3, 17, 5), (12, 32, 8), (13, 33, 384), (25, 300, 7), (64, 64, 385), (31, 257, 1000), (2, 8, 0),
        ]
        for (m, n, k) in shapes {
            let (a, b, c) = (random.floats(max(m * k, 1)), random.floats(max(k * n, 1)), random.floats(m * n))
            for variant in 0..<8 {
                let (aT, bT, accumulate) = (variant & 1 != 0, variant & 2 != 0, variant & 4 != 0)
                func run(_ isa: uk_isa, _ cut: (Int, Int) = (0, 0)) -> [Float] {
                    product(
                        isa, m: m, n: n, k: k, a: a, b: b, c: c, aTransposed: aT, bTransposed: bT,
                        accumulate: accumulate, cut: cut)
                }
                let whole = run(isa)
                expectClose(whole, run(UK_ISA_SCALAR), 1e-4, "[\(m), \(n), \(k)] \(variant)")
                // A cut anywhere changes nothing, bit for bit.
                #expect(run(isa, (m / 3, n / 2)) == whole, "[\(m), \(n), \(k)] \(variant), cut")
            }
        }
    }

    /// Against a sum in double precision of operands that were rounded here.
    @Test(arguments: InstructionSets.supported) func productsOfBFloat16(_ isa: uk_isa) {
        func rounded(_ x: Float) -> Double {
            let spacing = Double(Float(sign: .plus, exponent: x.exponent, significand: 1)) / 128
            return x.isNormal ? (Double(x) / spacing).rounded(.toNearestOrEven) * spacing : 0
        }
        var random = TestRandom(5)
        let shapes = [
            (1, 1, 1), (3, 17, 5), (12, 32, 8), (13, 33, 384), (25, 300, 7), (64, 64, 385), (31, 257, 1001), (2, 8, 0),
        ]
        for (m, n, k) in shapes {
            var (a, b, c) = (random.floats(max(m * k, 1)), random.floats(max(k * n, 1)), random.floats(m * n))
            // Half-way between two bfloat16, a subnormal number, and one that rounds up to the next power of two.
            a[0] = 1.0078125 + 0.00390625
            b[0] = 1 - 0x1p-10
            if k > 2 { (a[1], b[1], c[0]) = (.leastNormalMagnitude / 2, 0, 0) }
            for variant in 0..<8 {
                let (aT, bT, accumulate) = (variant & 1 != 0, variant & 2 != 0, variant & 4 != 0)
                func run(_ cut: (Int, Int) = (0, 0)) -> [Float] {
                    product(
                        isa, uk_gemm_bf16, m: m, n: n, k: k, a: a, b: b, c: c, aTransposed: aT, bTransposed: bT,
                        accumulate: accumulate, cut: cut)
                }
                let (left, right) = (a.map(rounded), b.map(rounded))
                let expected = (0..<m * n).map { place -> Float in
                    let (i, j) = place.quotientAndRemainder(dividingBy: n)
                    var sum = accumulate ? Double(c[place]) : 0
                    for p in 0..<k { sum += left[aT ? p * m + i : i * k + p] * right[bT ? j * k + p : p * n + j] }
                    return Float(sum)
                }
                let whole = run()
                expectClose(whole, expected, 2e-5, "[\(m), \(n), \(k)] \(variant)")
                #expect(run((m / 3, n / 2)) == whole, "[\(m), \(n), \(k)] \(variant), cut")
            }
        }
    }

    /// Against sums in double precision, by the bound dense.h gives and by the mean that independent roundings have, for
    /// elements alike, with one that exceeds all others, and of very different sizes.
    @Test(arguments: InstructionSets.supported, ["alike", "outliers", "sizes"])
    func productsOfIntegers(_ isa: uk_isa, _ kind: String) {
        var random = TestRandom(6)
        func floats(_ count: Int) -> [Float] {
            random.normals(max(count, 1)).enumerated().map { index, x in
                switch kind {
                case "outliers": index % 97 == 0 ? 1000 * x : x
                case "sizes": x * Float(sign: .plus, exponent: index % 40 - 20, significand: 1)
                default: x
                }
            }
        }
        let shapes = [
            (1, 1, 1), (3, 17, 5), (12, 32, 8), (13, 33, 384), (25, 300, 7), (64, 64, 386), (100, 40, 770),
            (31, 800, 1001), (2, 8, 0),
        ]
        for (m, n, k) in shapes {
            let (a, b, c) = (floats(m * k), floats(k * n), random.normals(m * n))
            for variant in 0..<8 {
                let (aT, bT, accumulate) = (variant & 1 != 0, variant & 2 != 0, variant & 4 != 0)
                func run(_ cut: (Int, Int) = (0, 0)) -> [Float] {
                    product(
                        isa, uk_gemm_int16, m: m, n: n, k: k, a: a, b: b, c: c, aTransposed: aT, bTransposed: bT,
                        accumulate: accumulate, cut: cut)
                }
                let whole = run()
                var (worst, squares) = (0.0, 0.0)
                for place in 0..<m * n {
                    let (i, j) = place.quotientAndRemainder(dividingBy: n)
                    var (sum, aSquares, bSquares) = (accumulate ? Double(c[place]) : 0, 0.0, 0.0)
                    for p in 0..<k {
                        let (x, y) = (Double(a[aT ? p * m + i : i * k + p]), Double(b[bT ? j * k + p : p * n + j]))
                        sum += x * y
                        aSquares += x * x
                        bSquares += y * y
                    }
                    // The norms of the whole bound the sum over blocks of the products of theirs.
                    let unit = (aSquares * bSquares).squareRoot() * Double(min(k, 384)).squareRoot() / 32_766
                    let off = abs(Double(whole[place]) - sum) / (unit + 1e-6 * abs(sum) + 1e-30)
                    worst = max(worst, off)
                    squares += off * off
                }
                let mean = (squares / Double(m * n)).squareRoot()
                #expect(worst <= 1 && mean < 0.6, "\(kind) [\(m), \(n), \(k)] \(variant): \(worst), \(mean)")
                if k >= 300 { #expect(mean < 0.05 && mean > 1e-4, "\(kind) [\(m), \(n), \(k)] \(variant): \(mean)") }
                #expect(run((m / 3, n / 2)) == whole, "\(kind) [\(m), \(n), \(k)] \(variant), cut")
            }
        }
    }

    /// Sums of a block that are as large as they can be, elements at the ends of fp32's range, and what is not finite.
    @Test(arguments: InstructionSets.supported) func productsOfExtremeIntegers(_ isa: uk_isa) {
        func value(_ a: [Float], _ b: [Float]) -> Float {
            // Rows and columns beside it are ones.
            let k = a.count
            let ones = [Float](repeating: 1, count: k)
            let c = product(
                isa, uk_gemm_int16, m: 3, n: 3, k: k, a: ones + a + ones, b: ones + b + ones,
                c: [Float](repeating: 0, count: 9), aTransposed: false, bTransposed: true, accumulate: false)
            for place in [0, 2, 6, 8] { #expect(abs(c[place] - Float(k)) < 1e-3 * Float(k)) }
            return c[4]
        }
        for size in [1e-25, 1e-16, 1, 1e14, 1e17] as [Float] {
            for count in [1, 2, 31, 384] {
                for signs in [1, -1] as [Float] {
                    let a = (0..<count).map { $0 % 2 == 0 ? size : -size }
                    let expected = signs * size * size * Float(count)
                    let sum = value(a, a.map { signs * $0 })
                    #expect(abs(sum - expected) <= 2e-3 * abs(expected), "\(size) \(count): \(sum)")
                }
            }
            // One element beside nothing.
            let single = [size] + [Float](repeating: 0, count: 383)
            #expect(abs(value(single, single) - size * size) <= 1e-3 * size * size)
        }
        let largest = [Float](repeating: .greatestFiniteMagnitude, count: 2)
        #expect(abs(value(largest, [1e-38, 1e-38])) < 7)
        #expect(abs(value(largest, [1e-20, 1e-20]) / 6.8e18 - 1) < 0.01)
        #expect(abs(value([1e-20, 1e-20], largest) / 6.8e18 - 1) < 0.01)
        #expect(value([0, 0], [3, 4]) == 0 && value([.leastNonzeroMagnitude, 1e-35], [3, 4]) == 0)
        for strange in [Float.nan, .infinity, -.infinity] {
            #expect(!value([1, strange, 2], [3, 4, 5]).isFinite)
            #expect(!value([3, 4, 5], [strange, 1, 2]).isFinite)
            #expect(!value([0, 0, 0], [strange, 1, 2]).isFinite)
        }
    }

    @Test(arguments: vectors) func attention(_ isa: uk_isa) {
        var random = TestRandom(2)
        for (tokens, queries, heads, keyHeads, d) in [
            (1, 1, 2, 1, 8), (7, 7, 4, 2, 20), (48, 48, 3, 3, 16), (130, 130, 6, 2, 64), (130, 51, 6, 2, 64),
            (9, 1, 2, 2, 16),
        ] {
            let (qWidth, kWidth) = (heads * d, keyHeads * d)
            let width = qWidth + 2 * kWidth
            let qkv = random.normals(tokens * width)
            let dOut = random.normals(queries * qWidth)
            func run(_ isa: uk_isa) -> (out: [Float], lse: [Float], gradients: [Float]) {
                var out = [Float](repeating: .nan, count: queries * qWidth)
                var lse = [Float](repeating: .nan, count: queries * heads)
                // Tokens that don't ask have no gradient of a query.
                var gradients = (0..<tokens * width).map {
                    $0 / width < queries || $0 % width >= qWidth ? Float.nan : 0
                }
                let scratch = AlignedBytes(uk_sequence_attention_scratch(tokens, d) * 4)
                let floats = scratch.base.assumingMemoryBound(to: Float.self)
                InstructionSets.using(isa) {
                    qkv.withUnsafeBufferPointer { qkv in
                        out.withUnsafeMutableBufferPointer { out in
                            lse.withUnsafeMutableBufferPointer { lse in
                                let base = qkv.baseAddress!
                                var a = uk_sequence_attention(
                                    tokens: tokens, queries: queries, heads: heads, kv_heads: keyHeads,
                                    head_dimension: d, q: base,
                                    k: base + qWidth, v: base + qWidth + kWidth, q_stride: width, kv_stride: width,
                                    scale: 0.3, out: out.baseAddress!, out_stride: qWidth, lse: lse.baseAddress!)
                                uk_sequence_attention_forward(&a, 0, heads, floats)
                                gradients.withUnsafeMutableBufferPointer { gradients in
                                    let g = gradients.baseAddress!
                                    for head in 0..<keyHeads {
                                        uk_sequence_attention_backward(
                                            &a, dOut, head, g, g + qWidth, g + qWidth + kWidth, floats)
                                    }
                                }
                            }
                        }
                    }
                }
                return (out, lse, gradients)
            }
            let (a, b) = (run(isa), run(UK_ISA_SCALAR))
            expectClose(a.out, b.out, 1e-4, "attention of \(queries) of \(tokens)")
            expectClose(a.lse, b.lse, 1e-4, "log-sum of \(queries) of \(tokens)")
            expectClose(a.gradients, b.gradients, 5e-4, "gradients of \(queries) of \(tokens)")
        }
    }

    @Test(arguments: vectors) func optimizerAndSums(_ isa: uk_isa) {
        var random = TestRandom(3)
        for n in [1, 15, 16, 100, 577] {
            let (p, g, m) = (random.normals(n), random.normals(n), random.normals(n))
            let v = random.floats(n).map { abs($0) }
            func update(_ isa: uk_isa) -> [Float] {
                var (p, m, v) = (p, m, v)
                InstructionSets.using(isa) {
                    uk_adamw(&p, g, &m, &v, n, 1e-2, 0.9, 0.99, 1e-8, 0.05, 0.3, 0.2, 0.5)
                }
                return p + m + v
            }
            expectClose(update(isa), update(UK_ISA_SCALAR), 1e-5, "AdamW of \(n)")
            let x = random.normals(5 * n)
            func sums(_ isa: uk_isa) -> [Float] {
                var y = p
                InstructionSets.using(isa) { uk_column_sums(x, 5, n, n, &y) }
                return y
            }
            #expect(sums(isa) == sums(UK_ISA_SCALAR))
            let squares = InstructionSets.using(isa) { uk_sum_of_squares(x, 5 * n) }
            let twin = InstructionSets.using(UK_ISA_SCALAR) { uk_sum_of_squares(x, 5 * n) }
            #expect(abs(squares - twin) <= 1e-12 * twin)
        }
    }

    @Test(arguments: InstructionSets.supported) func thePeakLoopStaysANumber(_ isa: uk_isa) {
        InstructionSets.using(isa) {
            #expect(uk_multiply_adds_count() >= 8)
            // Every sum goes to its fixed point, one.
            let sums = Float(uk_multiply_adds_count())
            #expect(abs(uk_multiply_adds(20_000) - sums) < 0.01 * sums)
        }
    }
}
