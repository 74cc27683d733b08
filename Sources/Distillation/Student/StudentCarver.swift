internal import CKernels
internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Training

/// Carves a mixture-of-experts student out of a dense model (CMoE, arXiv 2502.04416), in the layout of Qwen2-MoE.
struct StudentCarver {
    let dense: DenseModel
    let student: TaskDefinition.Student
    let compute: Compute

    /// Neurons of a token that count as active.
    private static let top = 32
    /// Spread of the router's logits at the start.
    private static let logitSpread: Float = 0.5

    /// The student's shape.
    ///
    /// - Throws: ``TaskError`` when the feed-forward width does not divide into the experts.
    func configuration() throws -> ModelConfiguration {
        try Self.configuration(of: dense.configuration, student: student)
    }

    /// What a dense model of this shape is carved into.
    ///
    /// - Throws: ``TaskError`` when the feed-forward width does not divide into the experts.
    static func configuration(of base: ModelConfiguration, student: TaskDefinition.Student) throws
        -> ModelConfiguration
    {
        var c = base
        let parts = student.routed + student.shared
        guard c.feedForwardWidth % parts == 0 else {
            throw TaskError(
                "a feed-forward width of \(c.feedForwardWidth) does not divide into \(parts) experts (student.experts: routed + shared)"
            )
        }
        let unit = c.feedForwardWidth / parts
        c.family = .qwen2MoE
        c.attentionBias = true
        c.experts = ExpertConfiguration(
            routedCount: student.routed, activeCount: student.active, width: unit, sharedWidth: unit * student.shared,
            normalizesWeights: false, gatesShared: true)
        return c
    }

    /// - Parameter samples: sequences of the task, about a thousand tokens.
    /// - Throws: ``TaskError``, `ModelError`.
    func carve(samples: [TrainingSequence]) throws -> Parameters {
        let c = try configuration()
        let result = Parameters(TrainableDecoder.specifications(c))
        let frozen = try dense.parameters(adapterRank: nil, trains: false, seed: 0)
        for (name, _) in dense.configuration.tensors where !name.contains(".mlp.") {
            result.set(name, frozen.array(name))
        }
        let longest = samples.map(\.tokens.count).max() ?? 1
        let decoder = TrainableDecoder(
            dense.configuration, parameters: frozen, contextLength: max(8, longest), compute: compute)
        decoder.visitFeedForwardInputs(TrainingBatch(samples)) { layer, x, tokens in
            carve(layer, of: frozen, x: x, tokens: tokens, into: result, c)
        }
        return result
    }

    private func carve(
        _ layer: Int, of frozen: Parameters, x: Floats, tokens: Int, into result: Parameters, _ c: ModelConfiguration
    ) {
        let p = "model.layers.\(layer).mlp."
        let e = c.experts!
        let neurons = dense.configuration.feedForwardWidth
        let gate = frozen.array(p + "gate_proj.weight")
        let up = frozen.array(p + "up_proj.weight")
        let down = frozen.array(p + "down_proj.weight")
        let hidden = hiddenValues(x, gate: gate, up: up, tokens: tokens, width: c.width, neurons: neurons)
        let partition = hidden.map(abs).withUnsafeBufferPointer {
            ExpertPartition(
                activations: $0.baseAddress!, tokens: tokens, neurons: neurons, sharedWidth: e.sharedWidth,
                expertCount: e.routedCount, top: Self.top)
        }
        var carved = CarvedFeedForward(
            gate: gate, up: up, down: down, input: c.width, neurons: neurons, partition: partition)
        scaleRouter(&carved.router, x: x, tokens: tokens, width: c.width, experts: e.routedCount)
        let scale = routedScale(
            hidden, carved: carved, partition: partition, down: down, x: x, tokens: tokens, width: c.width,
            neurons: neurons, active: e.activeCount)

        result.set(p + "gate.weight", carved.router)
        for (index, expert) in carved.routed.enumerated() {
            result.set(p + "experts.\(index).gate_proj.weight", expert.gate)
            result.set(p + "experts.\(index).up_proj.weight", expert.up)
            result.set(p + "experts.\(index).down_proj.weight", expert.down.map { $0 * scale })
        }
        if e.sharedWidth > 0 {
            result.set(p + "shared_expert.gate_proj.weight", carved.shared.gate)
            result.set(p + "shared_expert.up_proj.weight", carved.shared.up)
            result.set(p + "shared_expert.down_proj.weight", carved.shared.down)
            result.set(p + "shared_expert_gate.weight", [Float](repeating: 0, count: c.width))
        }
    }

    /// h = silu(x · gateᵀ) ⊙ (x · upᵀ), [tokens, neurons].
    private func hiddenValues(
        _ x: Floats, gate: [Float], up: [Float], tokens: Int, width: Int, neurons: Int
    ) -> [Float] {
        let g = FloatBuffer(count: tokens * neurons)
        let u = FloatBuffer(count: tokens * neurons)
        let gateWeights = FloatBuffer(gate)
        let upWeights = FloatBuffer(up)
        compute.run([
            .forward(x: x, w: gateWeights.base, y: g.base, rows: tokens, input: width, output: neurons),
            .forward(x: x, w: upWeights.base, y: u.base, rows: tokens, input: width, output: neurons),
        ])
        return (0..<tokens * neurons).map { g.base[$0] / (1 + exp(-g.base[$0])) * u.base[$0] }
    }

    /// Brings the router's logits on the samples to one spread, so that no expert starts with all the say.
    private func scaleRouter(_ router: inout [Float], x: Floats, tokens: Int, width: Int, experts: Int) {
        var squares: Float = 0
        for token in 0..<tokens {
            for expert in 0..<experts {
                let logit = logit(router, expert, x + token * width, width)
                squares += logit * logit
            }
        }
        let spread = (squares / Float(max(1, tokens * experts))).squareRoot()
        let scale = Self.logitSpread / max(spread, 1e-6)
        router = router.map { $0 * scale }
    }

    private func logit(_ router: [Float], _ expert: Int, _ x: Floats, _ width: Int) -> Float {
        var sum: Float = 0
        for column in 0..<width { sum += router[expert * width + column] * x[column] }
        return sum
    }

    /// The factor on the routed experts' output that brings the active ones' sum nearest to what all routed neurons gave
    /// in the dense layer (least squares over the samples, on the neurons' outputs).
    private func routedScale(
        _ hidden: [Float], carved: CarvedFeedForward, partition: ExpertPartition, down: [Float], x: Floats,
        tokens: Int, width: Int, neurons: Int, active: Int
    ) -> Float {
        let experts = partition.routed.count
        var product = 0.0
        var square = 0.0
        for token in stride(from: 0, to: tokens, by: 4) {
            let logits = (0..<experts).map { logit(carved.router, $0, x + token * width, width) }
            let top = logits.max() ?? 0
            let weights = logits.map { exp($0 - top) }
            let sum = weights.reduce(0, +)
            let chosen = logits.indices.sorted { (logits[$0], $1) > (logits[$1], $0) }.prefix(active)
            var dense = [Float](repeating: 0, count: width)
            var sparse = [Float](repeating: 0, count: width)
            for (expert, own) in partition.routed.enumerated() {
                let share = chosen.contains(expert) ? Float(experts) * weights[expert] / sum : 0
                for neuron in own {
                    let h = hidden[token * neurons + neuron]
                    guard abs(h) > 1e-6 else { continue }
                    for row in 0..<width {
                        let y = h * down[row * neurons + neuron]
                        dense[row] += y
                        sparse[row] += share * y
                    }
                }
            }
            for row in 0..<width {
                product += Double(dense[row] * sparse[row])
                square += Double(sparse[row] * sparse[row])
            }
        }
        guard square > 0, product > 0 else { return 1 }
        return Float(min(8, max(0.5, product / square)))
    }
}
