internal import CKernels
internal import Tensors

/// Times one product of training in each precision, on one thread.
package enum PrecisionTrial {
    /// The least seconds of a product in either precision, measured in turn.
    package struct Times: Sendable {
        package var float32: Double
        package var bfloat16: Double

        package init(float32: Double = .infinity, bfloat16: Double = .infinity) {
            self.float32 = float32
            self.bfloat16 = bfloat16
        }

        /// Chance must not decide: a product in bfloat16 has to take a tenth less time.
        package var isBfloat16Faster: Bool { bfloat16 < 0.9 * float32 }
    }

    /// About 5 ms.
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
        func seconds(_ multiply: (UnsafePointer<uk_gemm>, Int, Int, Int, Int, Floats) -> Void) -> Double {
            withUnsafePointer(to: product) { product in
                clock.measure { multiply(product, 0, rows, 0, output, scratch.base) } / .seconds(1)
            }
        }
        var times = Times()
        for _ in 0..<10 {
            times.float32 = min(times.float32, seconds(uk_gemm_f32))
            times.bfloat16 = min(times.bfloat16, seconds(uk_gemm_bf16))
        }
        return times
    }
}
