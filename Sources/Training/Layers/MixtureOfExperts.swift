internal import CKernels
internal import Tensors

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// A mixture-of-experts feed-forward layer with an optional shared expert (Qwen2-MoE's form):
/// `Σ weight(e) · expert_e(x) + sigmoid(x · s) · shared(x)`.
///
/// Dispatch, grouped products and combination are apart: slots sorted by expert (`ExpertDispatch`), one product an
/// expert over its slots (all in one fork-join), and a weighted sum back to the tokens.
package struct MixtureOfExpertsLayer {
    package struct Expert {
        /// Gate and up, [2F, W].
        var gateUp: Floats
        var gateUpGradient: Floats?
        /// [W, F].
        var down: Floats
        var downGradient: Floats?
    }

    package struct Shared {
        var expert: Expert
        var width: Int
        /// [1, W] of the sigmoid gate; nil: no gate.
        var gate: Floats?
        var gateGradient: Floats?
    }

    package var router: Router
    package var experts: [Expert]
    package var shared: Shared?
    /// F of the routed experts.
    package var expertWidth: Int
    package var width: Int

    package struct Saved {
        var router: Router.Saved
        var dispatch: ExpertDispatch
        /// [slots, 2F].
        var gateUp: Floats
        /// [slots, F].
        var hidden: Floats
        /// [T, 2S], [T, S], [T].
        var sharedGateUp: Floats
        var sharedHidden: Floats
        var sharedGate: Floats
    }

    /// Memory of one layer's saved values; carved into the parts of `Saved`.
    package struct Room {
        var probabilities, lse, gateUp, hidden, sharedGateUp, sharedHidden, sharedGate: Floats
    }

    static func savedCount(width: Int, experts: Int, active: Int, expertWidth: Int, sharedWidth: Int, tokens: Int)
        -> Int
    {
        tokens * (experts + 1 + active * 3 * expertWidth + 3 * sharedWidth + 1)
    }

    func room(_ base: Floats, tokens: Int) -> Room {
        var next = base
        func take(_ count: Int) -> Floats {
            defer { next += count }
            return next
        }
        let slots = tokens * router.active
        let sharedWidth = shared?.width ?? 0
        return Room(
            probabilities: take(tokens * router.experts), lse: take(tokens), gateUp: take(slots * 2 * expertWidth),
            hidden: take(slots * expertWidth), sharedGateUp: take(tokens * 2 * sharedWidth),
            sharedHidden: take(tokens * sharedWidth), sharedGate: take(tokens))
    }

    /// Floats of `work` that forward and backward need.
    static func workCount(width: Int, experts: Int, active: Int, expertWidth: Int, sharedWidth: Int, tokens: Int)
        -> Int
    {
        tokens * (active * (2 * width + 4 * expertWidth + 1) + experts + 4 * sharedWidth + 1)
    }

    /// residual[T, W] += experts(x[T, W]); nil: only what is saved is computed.
    package func forward(
        x: Floats, residual: Floats?, tokens: Int, room: Room, work: Floats, compute: Compute
    ) -> Saved {
        let routing = router.forward(
            x: x, tokens: tokens, probabilities: room.probabilities, lse: room.lse, compute: compute)
        let dispatch = ExpertDispatch(chosen: routing.chosen, experts: router.experts, choices: router.active)
        let slots = dispatch.tokens.count
        let gathered = work
        let outputs = work + slots * width
        let weighted = outputs + slots * width
        gather(x, into: gathered, dispatch, compute)
        var products: [uk_gemm] = (0..<router.experts).compactMap { expert in
            grouped(expert, dispatch) { first, count in
                .forward(
                    x: gathered + first * width, w: experts[expert].gateUp, y: room.gateUp + first * 2 * expertWidth,
                    rows: count, input: width, output: 2 * expertWidth)
            }
        }
        if let shared {
            products.append(
                .forward(
                    x: x, w: shared.expert.gateUp, y: room.sharedGateUp, rows: tokens, input: width,
                    output: 2 * shared.width))
        }
        compute.run(products)

        GatedUnit.forward(room.gateUp, width: expertWidth, rows: slots, hidden: room.hidden, compute: compute)
        if let shared {
            GatedUnit.forward(
                room.sharedGateUp, width: shared.width, rows: tokens, hidden: room.sharedHidden, compute: compute)
            sharedGates(x, tokens: tokens, into: room.sharedGate, compute)
        }
        let saved = Saved(
            router: routing, dispatch: dispatch, gateUp: room.gateUp, hidden: room.hidden,
            sharedGateUp: room.sharedGateUp, sharedHidden: room.sharedHidden, sharedGate: room.sharedGate)
        guard let residual else { return saved }

        scaleRows(room.hidden, into: weighted, width: expertWidth, by: slotWeights(routing, dispatch), compute)
        products = (0..<router.experts).compactMap { expert in
            grouped(expert, dispatch) { first, count in
                .forward(
                    x: weighted + first * expertWidth, w: experts[expert].down, y: outputs + first * width, rows: count,
                    input: expertWidth, output: width)
            }
        }
        if let shared {
            let gated = weighted + slots * expertWidth
            scaleRows(
                room.sharedHidden, into: gated, width: shared.width,
                by: UnsafeBufferPointer(start: room.sharedGate, count: tokens), compute)
            products.append(
                .forward(
                    x: gated, w: shared.expert.down, y: residual, rows: tokens, input: shared.width, output: width,
                    accumulate: true))
        }
        compute.run(products)
        scatter(outputs, into: residual, tokens: tokens, dispatch, compute)
        return saved
    }

    /// dx[T, W] (written) from dResidual[T, W].
    package func backward(
        x: Floats, dResidual: Floats, dx: Floats, tokens: Int, saved: Saved, balance: Float, z: Float, work: Floats,
        compute: Compute
    ) -> Router.Extra {
        let dispatch = saved.dispatch
        let slots = dispatch.tokens.count
        let sharedWidth = shared?.width ?? 0
        let gathered = work
        let dOutputs = gathered + slots * width
        let dHidden = dOutputs + slots * width
        let weighted = dHidden + slots * expertWidth
        let dGateUp = weighted + slots * expertWidth
        let dSharedHidden = dGateUp + slots * 2 * expertWidth
        let sharedWeighted = dSharedHidden + tokens * sharedWidth
        let dSharedGateUp = sharedWeighted + tokens * sharedWidth
        let dLogits = dSharedGateUp + tokens * 2 * sharedWidth
        let dGates = dLogits + tokens * router.experts

        // Down projections: dHidden = dOut · Wdown, before the routing weight.
        gather(x, into: gathered, dispatch, compute)
        gather(dResidual, into: dOutputs, dispatch, compute)
        let weights = slotWeights(saved.router, dispatch)
        scaleRows(saved.hidden, into: weighted, width: expertWidth, by: weights, compute)
        var products: [uk_gemm] = []
        for expert in 0..<router.experts {
            let first = dispatch.offsets[expert]
            let count = dispatch.load(expert)
            if count == 0 { continue }
            products.append(
                .inputGradient(
                    dy: dOutputs + first * width, w: experts[expert].down, dx: dHidden + first * expertWidth,
                    rows: count,
                    input: expertWidth, output: width, accumulate: false))
            if let gradient = experts[expert].downGradient {
                products.append(
                    .weightGradient(
                        dy: dOutputs + first * width, x: weighted + first * expertWidth, dw: gradient, rows: count,
                        input: expertWidth, output: width))
            }
        }
        if let shared {
            scaleRows(
                saved.sharedHidden, into: sharedWeighted, width: sharedWidth,
                by: UnsafeBufferPointer(start: saved.sharedGate, count: tokens), compute)
            products.append(
                .inputGradient(
                    dy: dResidual, w: shared.expert.down, dx: dSharedHidden, rows: tokens, input: sharedWidth,
                    output: width, accumulate: false))
            if let gradient = shared.expert.downGradient {
                products.append(
                    .weightGradient(
                        dy: dResidual, x: sharedWeighted, dw: gradient, rows: tokens, input: sharedWidth, output: width)
                )
            }
        }
        compute.run(products)

        // Routing weights: d weight = dHidden · hidden; then dHidden takes the weight in.
        var dSlotWeights = [Float](repeating: 0, count: slots)
        dSlotWeights.withUnsafeMutableBufferPointer { buffer in
            let dSlotWeights = Unshared(buffer)
            compute.rows(slots, grain: 64) { range in
                for slot in range {
                    let row = dHidden + slot * expertWidth
                    dSlotWeights.value[slot] = uk_dot(row, saved.hidden + slot * expertWidth, expertWidth)
                    uk_scale(row, expertWidth, weights[slot])
                }
            }
        }
        GatedUnit.backward(
            saved.gateUp, dHidden: dHidden, width: expertWidth, rows: slots, dGateUp: dGateUp, compute: compute)

        // Gate and up: gradients of the weights, and the input's by slot, which reuses dOutputs.
        products = []
        for expert in 0..<router.experts {
            let first = dispatch.offsets[expert]
            let count = dispatch.load(expert)
            if count == 0 { continue }
            products.append(
                .inputGradient(
                    dy: dGateUp + first * 2 * expertWidth, w: experts[expert].gateUp, dx: dOutputs + first * width,
                    rows: count, input: width, output: 2 * expertWidth, accumulate: false))
            if let gradient = experts[expert].gateUpGradient {
                products.append(
                    .weightGradient(
                        dy: dGateUp + first * 2 * expertWidth, x: gathered + first * width, dw: gradient, rows: count,
                        input: width, output: 2 * expertWidth))
            }
        }
        if let shared {
            sharedGateBackward(dx: dx, tokens: tokens, saved: saved, dHidden: dSharedHidden, dGates: dGates, compute)
            if let gradient = shared.gateGradient {
                products.append(
                    .weightGradient(dy: dGates, x: x, dw: gradient, rows: tokens, input: width, output: 1))
            }
            GatedUnit.backward(
                saved.sharedGateUp, dHidden: dSharedHidden, width: sharedWidth, rows: tokens, dGateUp: dSharedGateUp,
                compute: compute)
            products.append(
                .inputGradient(
                    dy: dSharedGateUp, w: shared.expert.gateUp, dx: dx, rows: tokens, input: width,
                    output: 2 * sharedWidth, accumulate: true))
            if let gradient = shared.expert.gateUpGradient {
                products.append(
                    .weightGradient(
                        dy: dSharedGateUp, x: x, dw: gradient, rows: tokens, input: width, output: 2 * sharedWidth))
            }
        } else {
            dx.update(repeating: 0, count: tokens * width)
        }
        compute.run(products)
        scatter(dOutputs, into: dx, tokens: tokens, dispatch, compute)

        let dWeights = dispatch.slots.map { dSlotWeights[$0] }
        return router.backward(
            x: x, dx: dx, tokens: tokens, saved: saved.router, dWeights: dWeights, balance: balance, z: z,
            work: dLogits,
            compute: compute)
    }

    // MARK: - The shared expert's gate

    private func sharedGates(_ x: Floats, tokens: Int, into gates: Floats, _ compute: Compute) {
        guard let gate = shared?.gate else {
            gates.update(repeating: 1, count: tokens)
            return
        }
        compute.rows(tokens, grain: 64) { range in
            for token in range { gates[token] = 1 / (1 + expf(-uk_dot(x + token * width, gate, width))) }
        }
    }

    /// dHidden takes the gate in; dx is written with the gate's own part; dGates[T] with the gradients before the sigmoid.
    private func sharedGateBackward(
        dx: Floats, tokens: Int, saved: Saved, dHidden: Floats, dGates: Floats, _ compute: Compute
    ) {
        guard let shared else { return }
        compute.rows(tokens, grain: 64) { range in
            for token in range {
                let row = dHidden + token * shared.width
                let target = dx + token * width
                let s = saved.sharedGate[token]
                target.update(repeating: 0, count: width)
                if let gate = shared.gate {
                    let d = uk_dot(row, saved.sharedHidden + token * shared.width, shared.width) * s * (1 - s)
                    dGates[token] = d
                    uk_axpy(d, gate, width, target)
                }
                uk_scale(row, shared.width, s)
            }
        }
    }

    // MARK: - Moving rows

    private func grouped(
        _ expert: Int, _ dispatch: ExpertDispatch, _ product: (_ first: Int, _ count: Int) -> uk_gemm
    ) -> uk_gemm? {
        let count = dispatch.load(expert)
        return count == 0 ? nil : product(dispatch.offsets[expert], count)
    }

    private func slotWeights(_ routing: Router.Saved, _ dispatch: ExpertDispatch) -> [Float] {
        var weights = [Float](repeating: 0, count: dispatch.tokens.count)
        for (pair, slot) in dispatch.slots.enumerated() { weights[slot] = routing.weights[pair] }
        return weights
    }

    private func gather(_ source: Floats, into target: Floats, _ dispatch: ExpertDispatch, _ compute: Compute) {
        compute.rows(dispatch.tokens.count, grain: 64) { range in
            for slot in range {
                (target + slot * width).update(from: source + dispatch.tokens[slot] * width, count: width)
            }
        }
    }

    /// target[token] += the token's slots, in the order of its choices.
    private func scatter(
        _ source: Floats, into target: Floats, tokens: Int, _ dispatch: ExpertDispatch, _ compute: Compute
    ) {
        compute.rows(tokens, grain: 64) { range in
            for token in range {
                for choice in 0..<dispatch.choices {
                    let slot = dispatch.slots[token * dispatch.choices + choice]
                    uk_add(target + token * width, source + slot * width, width)
                }
            }
        }
    }

    private func scaleRows(
        _ source: Floats, into target: Floats, width: Int,
        by factors: some Collection<Float> & RandomAccessCollection<Float>,
        _ compute: Compute
    ) {
        let first = factors.startIndex
        compute.rows(factors.count, grain: 64) { range in
            for row in range {
                let output = target + row * width
                output.update(from: source + row * width, count: width)
                uk_scale(output, width, factors[factors.index(first, offsetBy: row)])
            }
        }
    }
}
