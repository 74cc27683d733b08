internal import CKernels
package import LanguageModels
internal import Tensors

/// A decoder with explicit forward and backward passes in fp32. One owner at a time; not for serving.
package final class TrainableDecoder {
    package let configuration: ModelConfiguration
    package let parameters: Parameters
    package let compute: Compute
    let adapterScale: Float
    /// Layers; exposed for carving and for tests.
    package private(set) var blocks: [TrainableBlock] = []
    /// Coefficients of the routers' extra losses.
    package var balanceCoefficient: Float = 1e-2
    package var zCoefficient: Float = 1e-3
    /// Share of every target that is spread over the vocabulary.
    package var labelSmoothing: Float = 0
    /// Whether each layer's activations are computed again in the backward pass, from its kept input (Chen et al. 2016).
    package var recompute = false
    /// Whether the last layer carries on only the rows that have a target, where there are others: behind its attention
    /// nothing else reaches the loss. Its router's losses and loads are then those of these rows.
    package var lastLayerOnTargetsOnly = true
    /// What matches targets that have a teacher's distribution beside them.
    package var divergence = Divergence(.forwardKL)
    /// What the distance from a teacher's last hidden states counts, at targets that have one beside them.
    package var hiddenCoefficient: Float = 0
    private lazy var hiddenLoss = HiddenStateLoss(width: configuration.width)
    /// [layers, E]: added to the routers' probabilities for choosing; all zero but while training balances with it.
    let selectionBias: FloatBuffer

    let rope: RotaryTable
    /// Tokens of the longest sequence.
    package var contextLength: Int { rope.positions }
    private let embedding: Floats
    private let embeddingGradient: Floats?
    private let finalNorm: Floats
    private let finalNormGradient: Floats?
    private let head: Floats
    private let headGradient: Floats?
    private let loader: LayerLoader?
    private let scratch = ScratchBuffer()
    private let logits = ScratchBuffer()
    private var inputMemory = FloatBuffer(count: 0)
    private var savedMemory = FloatBuffer(count: 0)
    private var streamMemory = FloatBuffer(count: 0)
    /// Lowest layer with anything that trains; layers below need no backward pass.
    private let lowestTrained: Int

    /// Tensors of a model of this configuration, in the order that lets fused products lie side by side.
    ///
    /// - Parameters:
    ///   - adapterRank: rank of low-rank adapters on every linear layer of the blocks (dense models), beside
    ///     which everything is frozen but perhaps the embedding; nil: everything trains.
    ///   - staysStored: whether the matrices beside adapters share the memory of one layer.
    package static func specifications(
        _ c: ModelConfiguration, adapterRank: Int? = nil, trainsEmbedding: Bool = true, staysStored: Bool = false
    ) -> [ParameterSpecification] {
        let trains = adapterRank == nil
        var list: [ParameterSpecification] = []
        func add(_ name: String, _ shape: [Int], _ trains: Bool) {
            list.append(ParameterSpecification(name: name, shape: shape, trains: trains))
        }
        func share(_ layer: Int) {
            guard staysStored else { return }
            let p = "model.layers.\(layer)."
            for index in list.indices
            where list[index].name.hasPrefix(p) && !list[index].trains && list[index].shape.count > 1 {
                list[index].sharedLayer = layer
            }
        }
        let q = c.headCount * c.headDimension
        let k = c.keyValueHeadCount * c.headDimension
        add("model.embed_tokens.weight", [c.vocabularySize, c.width], trainsEmbedding)
        for layer in 0..<c.layerCount {
            let p = "model.layers.\(layer)."
            add(p + "input_layernorm.weight", [c.width], trains)
            add(p + "self_attn.q_proj.weight", [q, c.width], trains)
            add(p + "self_attn.k_proj.weight", [k, c.width], trains)
            add(p + "self_attn.v_proj.weight", [k, c.width], trains)
            if c.attentionBias {
                add(p + "self_attn.q_proj.bias", [q], trains)
                add(p + "self_attn.k_proj.bias", [k], trains)
                add(p + "self_attn.v_proj.bias", [k], trains)
            }
            add(p + "self_attn.o_proj.weight", [c.width, q], trains)
            add(p + "post_attention_layernorm.weight", [c.width], trains)
            if let e = c.experts {
                add(p + "mlp.gate.weight", [e.routedCount, c.width], trains)
                for expert in 0..<e.routedCount {
                    add(p + "mlp.experts.\(expert).gate_proj.weight", [e.width, c.width], trains)
                    add(p + "mlp.experts.\(expert).up_proj.weight", [e.width, c.width], trains)
                    add(p + "mlp.experts.\(expert).down_proj.weight", [c.width, e.width], trains)
                }
                if e.sharedWidth > 0 {
                    add(p + "mlp.shared_expert.gate_proj.weight", [e.sharedWidth, c.width], trains)
                    add(p + "mlp.shared_expert.up_proj.weight", [e.sharedWidth, c.width], trains)
                    add(p + "mlp.shared_expert.down_proj.weight", [c.width, e.sharedWidth], trains)
                    if e.gatesShared { add(p + "mlp.shared_expert_gate.weight", [1, c.width], trains) }
                }
            } else {
                add(p + "mlp.gate_proj.weight", [c.feedForwardWidth, c.width], trains)
                add(p + "mlp.up_proj.weight", [c.feedForwardWidth, c.width], trains)
                add(p + "mlp.down_proj.weight", [c.width, c.feedForwardWidth], trains)
            }
            share(layer)
            if let rank = adapterRank {
                let shapes = [
                    ("qkv", c.width, q + 2 * k), ("output", q, c.width), ("gate_up", c.width, 2 * c.feedForwardWidth),
                    ("down", c.feedForwardWidth, c.width),
                ]
                for (name, input, output) in shapes {
                    add(p + "adapter.\(name).a", [rank, input], true)
                    add(p + "adapter.\(name).b", [output, rank], true)
                }
            }
        }
        add("model.norm.weight", [c.width], trains)
        if !c.tiedEmbeddings { add("lm_head.weight", [c.vocabularySize, c.width], trains) }
        return list
    }

    /// Views over the parameters; their values are whatever they hold.
    ///
    /// - Parameters:
    ///   - adapterScale: multiplies the adapters' part (α / rank).
    ///   - stored: the weights of layers that share memory; nil: there are none.
    ///   - contextLength: longest sequence that will be asked for.
    package init(
        _ configuration: ModelConfiguration, parameters: Parameters, adapterScale: Float = 2,
        stored: (any StoredWeights)? = nil, contextLength: Int, compute: Compute
    ) {
        let c = configuration
        self.configuration = c
        self.parameters = parameters
        self.compute = compute
        self.adapterScale = adapterScale
        loader = stored.map { LayerLoader($0, parameters: parameters, compute: compute) }
        rope = RotaryTable(headDimension: c.headDimension, base: c.ropeTheta, positions: contextLength)
        embedding = parameters.value("model.embed_tokens.weight")
        embeddingGradient = parameters.gradient("model.embed_tokens.weight")
        finalNorm = parameters.value("model.norm.weight")
        finalNormGradient = parameters.gradient("model.norm.weight")
        let headName = c.tiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight"
        head = parameters.value(headName)
        headGradient = parameters.gradient(headName)
        func trains(_ layer: Int) -> Bool {
            parameters.entries.contains {
                $0.specification.trains && $0.specification.name.hasPrefix("model.layers.\(layer).")
            }
        }
        lowestTrained =
            embeddingGradient != nil ? -1 : (0..<c.layerCount).first(where: trains) ?? c.layerCount
        selectionBias = FloatBuffer(count: c.layerCount * (c.experts?.routedCount ?? 0))
        let view = ViewBuilder(
            configuration: c, parameters: parameters, adapterScale: adapterScale, selectionBias: selectionBias)
        blocks = (0..<c.layerCount).map(view.block)
    }

    /// Forward, and backward where wanted. Gradients are added to what `parameters.gradients` holds.
    ///
    /// The loss is `Σ weight · loss / Σ weight` over the batch's targets plus the routers' extra losses, which are means
    /// over the tokens a layer carries on.
    ///
    /// - Parameters:
    ///   - weight: Σ weight, where the batch is a part of a larger one; nil: the batch's own.
    ///   - share: the batch's share of the larger one's tokens, by which the routers' losses are multiplied.
    package func run(_ batch: TrainingBatch, backward: Bool, weight whole: Double? = nil, share: Float = 1)
        -> PassResult
    {
        let c = configuration
        let rows = batch.rows.count
        let plan = PassPlan(
            c, tokens: batch.tokens.count, rows: rows, backward: backward, recompute: recompute,
            lastLayerOnTargetsOnly: lastLayerOnTargetsOnly)
        let tokens = plan.tokens
        let work = reserve(plan)
        let x = work + plan.workCount
        let dNormed = x + tokens * c.width
        let last = dNormed + tokens * c.width
        let lastNormed = last + rows * c.width
        let dLast = lastNormed + rows * c.width
        let inverse = dLast + rows * c.width

        embed(batch.tokens, into: x)
        var result = PassResult(loss: .init())
        var saved: [TrainableBlock.Saved] = []
        for (layer, block) in blocks.enumerated() {
            var memory = makeSaved(layer, plan)
            loader?.load(layer)
            block.forward(
                x, targets: plan.carried(layer) < tokens ? last : nil, batch: batch, rope: rope, saved: &memory,
                work: work, compute: compute, scratch: scratch)
            if let experts = memory.experts {
                result.loads.append((0..<experts.dispatch.experts).map { experts.dispatch.load($0) })
            }
            if backward { saved.append(memory) }
        }
        if plan.carriesAll { batch.gatherTargets(x, into: last, width: c.width) }
        compute.rows(rows, grain: 64) { range in
            let offset = range.lowerBound * c.width
            uk_rms_norm_forward(
                last + offset, finalNorm, range.count, c.width, c.normEpsilon, lastNormed + offset,
                inverse + range.lowerBound)
        }
        let weight = whole ?? batch.totalWeight
        result.loss = SoftTargetLoss.run(
            hidden: lastNormed, rows: rows, width: c.width, head: head, headGradient: backward ? headGradient : nil,
            vocabulary: c.vocabularySize, batch: batch, scale: Float(1 / max(weight, 1e-9)), smoothing: labelSmoothing,
            divergence: divergence, dHidden: backward ? dLast : nil, logits: logits, compute: compute)
        if hiddenCoefficient > 0 {
            result.loss.loss += hiddenLoss.run(
                hidden: lastNormed, rows: rows, batch: batch, coefficient: hiddenCoefficient,
                scale: Float(1 / max(weight, 1e-9)), dHidden: backward ? dLast : nil, compute: compute)
        }
        guard backward else { return result }

        // The norm's gradient is added to what dx holds, so dx of the rows starts at zero; `last` is free after it.
        let dRows = last
        let dStream = x
        withScratchCopy(of: last, count: rows * c.width) { kept in
            dRows.update(repeating: 0, count: rows * c.width)
            compute.normBackward(
                x: kept, weight: finalNorm, inverse: inverse, dy: dLast, rows: rows, width: c.width, dx: dRows,
                dw: finalNormGradient)
        }
        if plan.carriesAll { batch.spreadTargets(dRows, over: dStream, width: c.width) }
        let layers = Float(max(1, c.layerCount))
        for layer in blocks.indices.reversed() where layer >= lowestTrained {
            loader?.load(layer)
            // The last layer's activations are still there.
            if recompute, layer < blocks.count - 1 {
                blocks[layer].recompute(
                    batch: batch, rope: rope, saved: &saved[layer], work: work, compute: compute, scratch: scratch)
            }
            let extra = blocks[layer].backward(
                dStream, targets: plan.carried(layer) < tokens ? dRows : nil, dNormed: dNormed, batch: batch,
                rope: rope, saved: saved[layer], balance: share * balanceCoefficient / layers,
                z: share * zCoefficient / layers, needsInput: layer > lowestTrained, work: work, compute: compute,
                scratch: scratch)
            result.balance += extra.balance / Double(layers)
            result.z += extra.z / Double(layers)
            result.entropy += extra.entropy / Double(layers)
        }
        if let embeddingGradient {
            // A token may stand in several places: columns are split, never the places.
            let pieces = Compute.split(c.width, into: compute.pool.threadCount, multipleOf: 16)
            compute.pool.run(pieces.count) { piece, _ in
                let columns = pieces[piece]
                for (index, token) in batch.tokens.enumerated() {
                    uk_add(
                        embeddingGradient + Int(token) * c.width + columns.lowerBound,
                        dStream + index * c.width + columns.lowerBound, columns.count)
                }
            }
        }
        return result
    }

    /// Hidden states x[T, W] that enter each layer's feed-forward part (after its norm), layer by layer: what carving measures.
    package func visitFeedForwardInputs(
        _ batch: TrainingBatch, _ visit: (_ layer: Int, _ x: Floats, _ tokens: Int) -> Void
    ) {
        let stream = FloatBuffer(count: batch.tokens.count * configuration.width)
        embed(batch.tokens, into: stream.base)
        for layer in blocks.indices {
            visit(layer, forward(layer, stream.base, batch).middleNormed, batch.tokens.count)
        }
    }

    /// The final hidden rows' logits [rows, V], for tests.
    package func rowLogits(_ batch: TrainingBatch) -> [Float] {
        let c = configuration
        let z = FloatBuffer(count: batch.rows.count * c.vocabularySize)
        withLastHidden(batch) { rows in
            compute.run([
                .forward(x: rows, w: head, y: z.base, rows: batch.rows.count, input: c.width, output: c.vocabularySize)
            ])
        }
        return z.values
    }

    /// The directions of the last hidden states at the batch's targets, for a student to come near to.
    package func hiddenDirections(_ batch: TrainingBatch) -> [[Int8]] {
        withLastHidden(batch) { hiddenLoss.directions($0, rows: batch.rows.count, compute: compute) }
    }

    /// Gives the normed hidden states [rows, W] behind the last layer, of the rows with a target.
    private func withLastHidden<Result>(_ batch: TrainingBatch, _ body: (Floats) -> Result) -> Result {
        let stream = FloatBuffer(count: batch.tokens.count * configuration.width)
        return withExtendedLifetime(stream) {
            embed(batch.tokens, into: stream.base)
            for layer in blocks.indices { forward(layer, stream.base, batch) }
            return withNormedTargets(stream.base, batch, body)
        }
    }

    /// Gives the normed rows with a target of the stream after the last layer.
    private func withNormedTargets<Result>(
        _ x: Floats, _ batch: TrainingBatch, _ body: (Floats) -> Result
    ) -> Result {
        let c = configuration
        let rows = batch.rows.count
        let memory = FloatBuffer(count: rows * (2 * c.width + 1))
        return withExtendedLifetime(memory) {
            let last = memory.base
            let normed = last + rows * c.width
            batch.gatherTargets(x, into: last, width: c.width)
            uk_rms_norm_forward(last, finalNorm, rows, c.width, c.normEpsilon, normed, normed + rows * c.width)
            return body(normed)
        }
    }

    /// Carries the stream x[T, W] through one layer, in place; what it saved is valid until the next pass.
    @discardableResult
    func forward(_ layer: Int, _ x: Floats, _ batch: TrainingBatch) -> TrainableBlock.Saved {
        let block = blocks[layer]
        let tokens = batch.tokens.count
        let plan = PassPlan(
            configuration, tokens: tokens, rows: batch.rows.count, backward: false, recompute: false,
            lastLayerOnTargetsOnly: false)
        let work = reserve(plan)
        var memory = makeSaved(layer, plan)
        loader?.load(layer)
        block.forward(x, batch: batch, rope: rope, saved: &memory, work: work, compute: compute, scratch: scratch)
        return memory
    }

    /// A matrix of a layer with its adapter added, where weights stay stored; nil: the tensor has memory of its own.
    package func merged(_ name: String) -> [Float]? {
        guard let loader, let layer = parameters.entry(name).specification.sharedLayer else { return nil }
        loader.load(layer, merging: adapterScale)
        return parameters.array(name)
    }

    /// Makes the memory large enough for a pass; returns that of the work and the streams.
    private func reserve(_ plan: PassPlan) -> Floats {
        if inputMemory.count < plan.inputCount { inputMemory = FloatBuffer(count: plan.inputCount) }
        if savedMemory.count < plan.savedCount { savedMemory = FloatBuffer(count: plan.savedCount) }
        let streams = plan.workCount + plan.streamCount
        if streamMemory.count < streams { streamMemory = FloatBuffer(count: streams) }
        return streamMemory.base
    }

    private func makeSaved(_ layer: Int, _ plan: PassPlan) -> TrainableBlock.Saved {
        blocks[layer].makeSaved(
            input: inputMemory.base + plan.inputOffset(layer), savedMemory.base + plan.savedOffset(layer),
            tokens: plan.tokens, rows: plan.carried(layer))
    }

    /// Cross-entropy to the right tokens of the batch's rows, in nats a target, from the stream after the last layer.
    func answerLoss(_ x: Floats, _ batch: TrainingBatch) -> Double {
        let c = configuration
        let result = withNormedTargets(x, batch) {
            SoftTargetLoss.run(
                hidden: $0, rows: batch.rows.count, width: c.width, head: head, headGradient: nil,
                vocabulary: c.vocabularySize, batch: batch, scale: 1, dHidden: nil, logits: logits, compute: compute)
        }
        return result.answerLoss / max(result.weight, 1e-9)
    }

    func embed(_ tokens: [Int32], into x: Floats) {
        let width = configuration.width
        for (index, token) in tokens.enumerated() {
            precondition(
                token >= 0 && Int(token) < configuration.vocabularySize,
                "token \(token) outside a vocabulary of \(configuration.vocabularySize)")
            (x + index * width).update(from: embedding + Int(token) * width, count: width)
        }
    }

    private func withScratchCopy(of source: Floats, count: Int, _ body: (Floats) -> Void) {
        let copy = scratch.floats(count)
        copy.update(from: source, count: count)
        body(copy)
    }
}
