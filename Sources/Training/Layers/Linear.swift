internal import CKernels
package import Tensors

extension Compute {
    /// y[rows, out] (+)= x[rows, in] · Wᵀ + bias, with the adapter's part added.
    package func linearForward(
        _ linear: LinearView, x: Floats, y: Floats, rows: Int, accumulate: Bool = false, scratch: ScratchBuffer
    ) {
        var products: [uk_gemm] = [
            .forward(
                x: x, w: linear.weight, y: y, rows: rows, input: linear.input, output: linear.output,
                accumulate: accumulate)
        ]
        let projected = scratch.floats(rows * (linear.adapter?.rank ?? 0))
        if let adapter = linear.adapter {
            products.append(
                .forward(x: x, w: adapter.a, y: projected, rows: rows, input: linear.input, output: adapter.rank))
        }
        run(products)
        if let bias = linear.bias {
            self.rows(rows, grain: 64) { range in
                for row in range { uk_add(y + row * linear.output, bias, linear.output) }
            }
        }
        guard let adapter = linear.adapter else { return }
        uk_scale(projected, rows * adapter.rank, adapter.scale)
        run([
            .forward(
                x: projected, w: adapter.b, y: y, rows: rows, input: adapter.rank, output: linear.output,
                accumulate: true)
        ])
    }

    /// dx[rows, in] (+)= dy · W, and the gradients of what trains. dx nil: nobody below needs it.
    package func linearBackward(
        _ linear: LinearView, x: Floats, dy: Floats, dx: Floats?, rows: Int, accumulate: Bool, scratch: ScratchBuffer
    ) {
        var products: [uk_gemm] = []
        if let gradient = linear.gradient {
            products.append(
                .weightGradient(dy: dy, x: x, dw: gradient, rows: rows, input: linear.input, output: linear.output))
        }
        if let dx {
            products.append(
                .inputGradient(
                    dy: dy, w: linear.weight, dx: dx, rows: rows, input: linear.input, output: linear.output,
                    accumulate: accumulate))
        }
        // With p = scale · x · Aᵀ: dB += dyᵀ · p, dp = dy · B, dA += scale · dpᵀ · x, dx += scale · dp · A.
        let projected = scratch.floats(2 * rows * (linear.adapter?.rank ?? 0))
        if let adapter = linear.adapter {
            products += [
                .forward(x: x, w: adapter.a, y: projected, rows: rows, input: linear.input, output: adapter.rank),
                .inputGradient(
                    dy: dy, w: adapter.b, dx: projected + rows * adapter.rank, rows: rows, input: adapter.rank,
                    output: linear.output, accumulate: false),
            ]
        }
        run(products)
        if let biasGradient = linear.biasGradient {
            addColumnSums(dy, rows: rows, width: linear.output, into: biasGradient)
        }
        guard let adapter = linear.adapter else { return }
        let gradient = projected + rows * adapter.rank
        uk_scale(projected, 2 * rows * adapter.rank, adapter.scale)
        var second: [uk_gemm] = [
            .weightGradient(
                dy: dy, x: projected, dw: adapter.bGradient, rows: rows, input: adapter.rank, output: linear.output),
            .weightGradient(
                dy: gradient, x: x, dw: adapter.aGradient, rows: rows, input: linear.input, output: adapter.rank),
        ]
        if let dx {
            second.append(
                .inputGradient(
                    dy: gradient, w: adapter.a, dx: dx, rows: rows, input: linear.input, output: adapter.rank,
                    accumulate: true))
        }
        run(second)
    }
}
