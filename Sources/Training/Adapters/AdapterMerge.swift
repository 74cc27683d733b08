internal import CKernels
package import LanguageModels
internal import Tensors

extension Parameters {
    /// Adds every low-rank adapter to the weights it stands beside: W += scale · B · A (Hu et al. 2021).
    ///
    /// The adapters' B are set to zero, so that the model computes the same as before.
    package func mergeAdapters(_ c: ModelConfiguration, scale: Float, compute: Compute) {
        for layer in 0..<c.layerCount {
            let p = "model.layers.\(layer)."
            let places = [
                ("qkv", "self_attn.q_proj.weight"), ("output", "self_attn.o_proj.weight"),
                ("gate_up", "mlp.gate_proj.weight"), ("down", "mlp.down_proj.weight"),
            ]
            for (name, first) in places where has(p + "adapter.\(name).a") {
                let a = entry(p + "adapter.\(name).a").specification
                let b = entry(p + "adapter.\(name).b").specification
                let (rank, input, output) = (a.shape[0], a.shape[1], b.shape[0])
                let bValues = value(b.name)
                uk_scale(bValues, output * rank, scale)
                // Fused projections lie side by side: one product covers q, k and v, or gate and up.
                compute.run([
                    uk_gemm(
                        m: output, n: input, k: rank, a: bValues, a_row: rank, a_column: 1, b: value(a.name),
                        b_row: input, b_column: 1, c: value(p + first), c_row: input, accumulate: true)
                ])
                bValues.update(repeating: 0, count: output * rank)
            }
        }
    }
}
