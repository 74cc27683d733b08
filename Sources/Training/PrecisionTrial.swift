internal import CKernels
internal import Tensors

/// Times one product of training in each precision that the processor multiplies, on one thread.
package enum PrecisionTrial {
    /// The least seconds of a product in each precision, measured in turn.
    package struct Times: Sendable {
        package var seconds: [Precision: Double]

        package init(_ seconds: [Precision: Double]) { self.seconds = seconds }

        /// Chance must not decide: a product has to take a tenth less time than in fp32.
        package var fastest: Precision {
            let float32 = seconds[.float32] ?? 0
            let others = seconds.filter { $0.key != .float32 && $0.value < 0.9 * float32 }
            return others.min { $0.value < $1.value }?.key ?? .float32
        }
    }

    /// Ten products of 9 million multiply-adds in each.
    package static func run() -> Times {
        let (rows, input, output) = (96, 384, 256)
        let x = FloatBuffer(count: rows * input)
        let w = FloatBuffer(count: output * input)
        let y = FloatBuffer(count: rows * output)
        let scratch = FloatBuffer(count: uk_gemm_scratch())
        for index in 0..<rows * input { x.base[index] = Float(index % 7) - 3 }
        for index in 0..<output * input { w.base[index] = Float(index % 5) - 2 }
        let product = uk_gemm.forward(x: x.base, w: w.base, y: y.base, rows: rows, input: input, output: output)
        let clock = ContinuousClock()
        var seconds: [Precision: Double] = [:]
        for _ in 0..<10 {
            for precision in Precision.allCases where precision.isNative {
                let time = withUnsafePointer(to: product) { product in
                    clock.measure { precision.multiply(product, 0, rows, 0, output, scratch.base) } / .seconds(1)
                }
                seconds[precision] = min(seconds[precision] ?? .infinity, time)
            }
        }
        return Times(seconds)
    }
}
