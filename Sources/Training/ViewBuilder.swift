internal import LanguageModels
internal import Tensors

/// Makes the layers' views over a block of parameters.
struct ViewBuilder {
    let configuration: ModelConfiguration
    let parameters: Parameters
    let adapterScale: Float
    /// [layers, E]: what is added to the routers' probabilities for choosing; empty for dense models.
    let selectionBias: FloatBuffer

    func block(_ layer: Int) -> TrainableBlock {
        let c = configuration
        let p = "model.layers.\(layer)."
        let q = c.headCount * c.headDimension
        let k = c.keyValueHeadCount * c.headDimension
        var qkv = fused(
            [p + "self_attn.q_proj.weight", p + "self_attn.k_proj.weight", p + "self_attn.v_proj.weight"],
            input: c.width, output: q + 2 * k)
        if c.attentionBias {
            let names = ["q", "k", "v"].map { p + "self_attn.\($0)_proj.bias" }
            qkv.bias = adjacent(names)
            qkv.biasGradient = parameters.gradient(names[0])
        }
        qkv.adapter = adapter(p + "adapter.qkv")
        var output = fused([p + "self_attn.o_proj.weight"], input: q, output: c.width)
        output.adapter = adapter(p + "adapter.output")
        let attention = AttentionLayer(
            qkv: qkv, output: output, heads: c.headCount, keyValueHeads: c.keyValueHeadCount,
            headDimension: c.headDimension)
        let norms = (p + "input_layernorm.weight", p + "post_attention_layernorm.weight")
        return TrainableBlock(
            inputNorm: parameters.value(norms.0), inputNormGradient: parameters.gradient(norms.0), attention: attention,
            middleNorm: parameters.value(norms.1), middleNormGradient: parameters.gradient(norms.1),
            feedForward: feedForward(layer, p + "mlp.", adapters: p + "adapter."), width: c.width,
            epsilon: c.normEpsilon)
    }

    private func feedForward(_ layer: Int, _ p: String, adapters: String) -> TrainableBlock.FeedForward {
        let c = configuration
        guard let e = c.experts else {
            var gateUp = fused(
                [p + "gate_proj.weight", p + "up_proj.weight"], input: c.width, output: 2 * c.feedForwardWidth)
            gateUp.adapter = adapter(adapters + "gate_up")
            var down = fused([p + "down_proj.weight"], input: c.feedForwardWidth, output: c.width)
            down.adapter = adapter(adapters + "down")
            return .dense(FeedForwardLayer(gateUp: gateUp, down: down))
        }
        let router = Router(
            weight: parameters.value(p + "gate.weight"), gradient: parameters.gradient(p + "gate.weight"),
            width: c.width, experts: e.routedCount, active: e.activeCount, normalizes: e.normalizesWeights,
            bias: selectionBias.base + layer * e.routedCount)
        var shared: MixtureOfExpertsLayer.Shared?
        if e.sharedWidth > 0 {
            let gate = p + "shared_expert_gate.weight"
            shared = MixtureOfExpertsLayer.Shared(
                expert: expert(p + "shared_expert.", width: e.sharedWidth), width: e.sharedWidth,
                gate: e.gatesShared ? parameters.value(gate) : nil,
                gateGradient: e.gatesShared ? parameters.gradient(gate) : nil)
        }
        return .experts(
            MixtureOfExpertsLayer(
                router: router, experts: (0..<e.routedCount).map { expert(p + "experts.\($0).", width: e.width) },
                shared: shared, expertWidth: e.width, width: c.width))
    }

    private func expert(_ p: String, width: Int) -> MixtureOfExpertsLayer.Expert {
        let gateUp = fused(
            [p + "gate_proj.weight", p + "up_proj.weight"], input: configuration.width, output: 2 * width)
        return MixtureOfExpertsLayer.Expert(
            gateUp: gateUp.weight, gateUpGradient: gateUp.gradient, down: parameters.value(p + "down_proj.weight"),
            downGradient: parameters.gradient(p + "down_proj.weight"))
    }

    private func fused(_ names: [String], input: Int, output: Int) -> LinearView {
        LinearView(
            weight: adjacent(names), gradient: parameters.gradient(names[0]), bias: nil, biasGradient: nil,
            input: input, output: output, adapter: nil)
    }

    /// The first tensor's memory, once it is sure that the others follow without a gap.
    private func adjacent(_ names: [String]) -> Floats {
        var end: Int?
        for name in names {
            let entry = parameters.entry(name)
            if let end {
                precondition(
                    entry.offset == end, "\(name) does not follow \(names[0]); widths must be multiples of 16 values")
            }
            end = entry.offset + entry.specification.count
        }
        return parameters.value(names[0])
    }

    private func adapter(_ p: String) -> AdapterView? {
        guard parameters.has(p + ".a"), let a = parameters.gradient(p + ".a"), let b = parameters.gradient(p + ".b")
        else { return nil }
        return AdapterView(
            a: parameters.value(p + ".a"), b: parameters.value(p + ".b"), aGradient: a, bGradient: b,
            rank: parameters.entry(p + ".a").specification.shape[0], scale: adapterScale)
    }
}
