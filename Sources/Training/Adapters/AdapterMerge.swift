internal import CKernels
package import LanguageModels
internal import Tensors

extension Parameters {
    /// Adds every low-rank adapter to the weights it stands beside: W += scale · B · A (Hu et al. 2021).
    ///
    /// The adapters' B are set to zero, so that the model computes the same as before.
    package func mergeAdapters(_ c: ModelConfiguration, scale: Float, compute: Compute) {
        for layer in 0..<c.layerCount {
            mergeAdapters(ofLayer: layer, scale: scale, compute: compute)
            for name in Self.adapted.map(\.adapter) {
                let b = "model.layers.\(layer).adapter.\(name).b"
                if has(b) { value(b).update(repeating: 0, count: entry(b).specification.count) }
            }
        }
    }

    /// Adds one layer's adapters to the weights they stand beside; the adapters stay as they are.
    func mergeAdapters(ofLayer layer: Int, scale: Float, compute: Compute) {
        let p = "model.layers.\(layer)."
        for (name, first) in Self.adapted where has(p + "adapter.\(name).a") {
            let a = entry(p + "adapter.\(name).a").specification
            let b = entry(p + "adapter.\(name).b").specification
            let (rank, input, output) = (a.shape[0], a.shape[1], b.shape[0])
            let scaled = FloatBuffer(array(b.name))
            uk_scale(scaled.base, output * rank, scale)
            // Fused projections lie side by side: one product covers q, k and v, or gate and up.
            let product = uk_gemm(
                m: output, n: input, k: rank, a: scaled.base, a_row: rank, a_column: 1, b: value(a.name),
                b_row: input, b_column: 1, c: value(p + first), c_row: input, accumulate: true)
            compute.run([product], precision: .float32)
        }
    }

    /// Adapters with the first of the tensors each stands beside.
    private static let adapted = [
        (adapter: "qkv", first: "self_attn.q_proj.weight"), (adapter: "output", first: "self_attn.o_proj.weight"),
        (adapter: "gate_up", first: "mlp.gate_proj.weight"), (adapter: "down", first: "mlp.down_proj.weight"),
    ]
}
