internal import CKernels
internal import Foundation
package import LanguageModels
internal import Tensors
package import Training

/// Makes a mixture-of-experts student of a dense model, in the layout of Qwen2-MoE.
///
/// Carved (CMoE, arXiv 2502.04416): every neuron of a feed-forward layer goes to one expert. Upcycled (granular
/// upcycling, arXiv 2410.07524): the neurons are cut into shards the same way, and of every routed shard there are E
/// copies, whose routers agree, so that with as many active experts as there are shards a token meets each shard once and
/// the layer begins as the dense one. From scratch: the shape alone is the dense model's.
package struct StudentCarver {
    let dense: DenseModel
    let student: TaskDefinition.Student
    /// For what is drawn.
    let seed: UInt64
    let compute: Compute

    package init(dense: DenseModel, student: TaskDefinition.Student, seed: UInt64, compute: Compute) {
        self.dense = dense
        self.student = student
        self.seed = seed
        self.compute = compute
    }

    /// Neurons of a token that count as active.
    private static let top = 32
    /// Spread of the router's logits at the start.
    private static let logitSpread: Float = 0.5
    /// The same of copies, which all do the same at the start.
    private static let copySpread: Float = 0.05
    /// Deviation of drawn weights (GPT-2's).
    private static let drawnDeviation: Float = 0.02

    /// The student's shape.
    ///
    /// - Throws: ``TaskError`` when the feed-forward width does not divide into the experts.
    package func configuration() throws -> ModelConfiguration {
        try Self.configuration(of: dense.configuration, student: student)
    }

    /// What a dense model of this shape is carved into.
    ///
    /// - Throws: ``TaskError`` when the feed-forward width does not divide into the experts.
    static func configuration(of base: ModelConfiguration, student: TaskDefinition.Student) throws
        -> ModelConfiguration
    {
        var c = base
        let parts = student.routed / (student.copies ?? 1) + student.shared
        if let width = student.width { try narrow(&c, to: width, parts: parts) }
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
    package func carve(samples: [TrainingSequence]) throws -> Parameters {
        let c = try configuration()
        let result = Parameters(TrainableDecoder.specifications(c))
        let decoder = try dense.reader(longest: samples.map(\.tokens.count).max() ?? 1, compute: compute)
        let frozen = decoder.parameters
        for (name, _) in dense.configuration.tensors where !name.contains(".mlp.") {
            result.set(name, frozen.array(name))
        }
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
                expertCount: e.routedCount / (student.copies ?? 1), top: Self.top)
        }
        var carved = CarvedFeedForward(
            gate: gate, up: up, down: down, input: c.width, neurons: neurons, partition: partition)
        if let copies = student.copies {
            upcycle(&carved, layer, copies: copies, active: e.activeCount, width: c.width)
            scaleRouter(
                &carved.router, to: Self.copySpread, x: x, tokens: tokens, width: c.width, experts: e.routedCount)
            set(carved, p, scale: 1, into: result, c)
            return
        }
        scaleRouter(
            &carved.router, to: Self.logitSpread, x: x, tokens: tokens, width: c.width, experts: e.routedCount)
        let scale = routedScale(
            hidden, carved: carved, partition: partition, down: down, x: x, tokens: tokens, width: c.width,
            neurons: neurons, active: e.activeCount)
        set(carved, p, scale: scale, into: result, c)
    }

    private func set(
        _ carved: CarvedFeedForward, _ p: String, scale: Float, into result: Parameters, _ c: ModelConfiguration
    ) {
        result.set(p + "gate.weight", carved.router)
        for (index, expert) in carved.routed.enumerated() {
            result.set(p + "experts.\(index).gate_proj.weight", expert.gate)
            result.set(p + "experts.\(index).up_proj.weight", expert.up)
            result.set(p + "experts.\(index).down_proj.weight", expert.down.map { $0 * scale })
        }
        if c.experts!.sharedWidth > 0 {
            result.set(p + "shared_expert.gate_proj.weight", carved.shared.gate)
            result.set(p + "shared_expert.up_proj.weight", carved.shared.up)
            result.set(p + "shared_expert.down_proj.weight", carved.shared.down)
            result.set(p + "shared_expert_gate.weight", [Float](repeating: 0, count: c.width))
        }
    }

    /// Copies of the routed shards, one set after the other, each with one drawn router row for all of its shards.
    ///
    /// A token gets k of the N = E · R experts with a weight of about 1 / N each, and of what the R shards gave it k / R: the
    /// shards' output is multiplied by N · R / k, half of it (by its root) in each of the two matrices it is linear in.
    private func upcycle(_ carved: inout CarvedFeedForward, _ layer: Int, copies: Int, active: Int, width: Int) {
        let shards = carved.routed.count
        let root = (Float(copies * shards * shards) / Float(active)).squareRoot()
        let scaled = carved.routed.map { shard in
            var shard = shard
            shard.up = shard.up.map { $0 * root }
            // A carved part's output is multiplied by the number of parts already.
            shard.down = shard.down.map { $0 * root / Float(shards) }
            return shard
        }
        var random = RandomNumbers(seed: seed &+ UInt64(layer) &* 0x9E37_79B9_7F4A_7C15)
        carved.routed = []
        carved.router = []
        for _ in 0..<copies {
            let row = (0..<width).map { _ in random.normal() }
            carved.routed += scaled
            for _ in 0..<shards { carved.router += row }
        }
    }

    /// The shape of a model as wide as asked for, its other measures in proportion.
    ///
    /// - Throws: ``TaskError`` when the width is not a whole number of heads.
    private static func narrow(_ c: inout ModelConfiguration, to width: Int, parts: Int) throws {
        guard width % c.headDimension == 0 else {
            throw TaskError("'student.width' is \(width), expected a multiple of \(c.headDimension), the base's heads")
        }
        let unit = Double(c.feedForwardWidth) / Double(c.width) * Double(width) / Double(parts)
        c.feedForwardWidth = max(1, Int((unit / 32).rounded())) * 32 * parts
        let group = c.headCount / c.keyValueHeadCount
        c.headCount = width / c.headDimension
        c.keyValueHeadCount = c.headCount % group == 0 ? c.headCount / group : c.headCount
        c.width = width
    }

    /// Weights from scratch: normal, what adds to the stream less by the number of such places (Radford et al. 2019).
    static func drawn(_ c: ModelConfiguration, seed: UInt64) -> Parameters {
        let result = Parameters(TrainableDecoder.specifications(c))
        var random = RandomNumbers(seed: seed &+ 17)
        for entry in result.entries {
            let name = entry.specification.name
            let count = entry.specification.count
            if name.hasSuffix("norm.weight") {
                result.set(name, [Float](repeating: 1, count: count))
            } else if !name.hasSuffix(".bias"), !name.hasSuffix("shared_expert_gate.weight") {
                let adds = name.hasSuffix("o_proj.weight") || name.hasSuffix("down_proj.weight")
                let scale = drawnDeviation / (adds ? Float(2 * c.layerCount).squareRoot() : 1)
                result.set(name, (0..<count).map { _ in scale * random.normal() })
            }
        }
        return result
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
    private func scaleRouter(
        _ router: inout [Float], to spread: Float, x: Floats, tokens: Int, width: Int, experts: Int
    ) {
        var squares: Float = 0
        for token in 0..<tokens {
            for expert in 0..<experts {
                let logit = logit(router, expert, x + token * width, width)
                squares += logit * logit
            }
        }
        let found = (squares / Float(max(1, tokens * experts))).squareRoot()
        let scale = spread / max(found, 1e-6)
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
