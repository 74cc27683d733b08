internal import CKernels
internal import Tensors

/// Runs feed-forward networks, dense or mixtures of experts, and owns the memory for it.
final class FeedForwardScratch {
    private let width: Int
    private let activation: ModelConfiguration.Activation
    private var gate = FloatBuffer(count: 0)
    private var contribution = FloatBuffer(count: 0)
    private var routing = FloatBuffer(count: 0)
    /// Where each expert's tokens began in the last pass.
    private var lastStarts: [Int] = []
    private let gathered: ActivationRows
    private let middle: ActivationRows
    private let sharedMiddle: ActivationRows

    init(_ c: ModelConfiguration) {
        width = c.width
        activation = c.activation
        gathered = ActivationRows(width: c.width)
        middle = ActivationRows(width: c.experts?.width ?? c.feedForwardWidth)
        sharedMiddle = ActivationRows(width: max(c.experts?.sharedWidth ?? 0, 1))
    }

    /// stream[rows, width] += network(input).
    func runDense(
        _ network: PackedFeedForward, input: ActivationRows, rows: Int, stream: UnsafeMutablePointer<Float>,
        pool: WorkerPool
    ) {
        middle.reserve(rows)
        let f = network.width
        if gate.count < rows * f { gate = FloatBuffer(count: rows * f) }
        PackedProduct.run(
            [
                .init(matrix: network.gate, rows: input, count: rows, output: gate.base, stride: f),
                .init(matrix: network.up, rows: input, count: rows, output: middle.row(0), stride: f),
            ], on: pool)
        activate(middle, gates: gate.base, rows: rows, pool: pool)
        PackedProduct.run(
            [
                .init(matrix: network.down, rows: middle, count: rows, output: stream, stride: width, accumulate: true)
            ], on: pool)
    }

    /// stream += Σ over the chosen experts of weight · expert(input), plus the shared expert.
    ///
    /// Tokens are sorted by expert, so that each expert's products run once over all its tokens; a token's sum is
    /// formed in the order of its choices.
    func runExperts(
        _ experts: PackedExperts, configuration e: ExpertConfiguration, input: ActivationRows, rows: Int,
        stream: UnsafeMutablePointer<Float>, pool: WorkerPool
    ) {
        let routes = route(experts, e, input: input, rows: rows, pool: pool)
        lastStarts = routes.starts
        let pairs = rows * e.activeCount
        gathered.reserve(pairs)
        middle.reserve(pairs)
        let sharedWidth = experts.shared?.width ?? 0
        let gateCount = pairs * e.width + rows * sharedWidth
        if gate.count < gateCount { gate = FloatBuffer(count: gateCount) }
        let contributionCount = (pairs + (experts.shared == nil ? 0 : rows)) * width
        if contribution.count < contributionCount { contribution = FloatBuffer(count: contributionCount) }
        let sharedGates = gate.base + pairs * e.width
        let sharedOutput = contribution.base + pairs * width

        for (place, pair) in routes.order.enumerated() {
            gathered.copyRow(place, from: input, row: pair / e.activeCount)
        }
        var first: [PackedProduct] = []
        var second: [PackedProduct] = []
        for (expert, network) in experts.routed.enumerated() {
            let begin = routes.starts[expert]
            let count = routes.starts[expert + 1] - begin
            if count == 0 { continue }
            first.append(
                .init(
                    matrix: network.gate, rows: gathered, first: begin, count: count,
                    output: gate.base + begin * e.width, stride: e.width))
            first.append(
                .init(
                    matrix: network.up, rows: gathered, first: begin, count: count, output: middle.row(begin),
                    stride: e.width))
            second.append(
                .init(
                    matrix: network.down, rows: middle, first: begin, count: count,
                    output: contribution.base + begin * width, stride: width))
        }
        if let shared = experts.shared {
            sharedMiddle.reserve(rows)
            first.append(
                .init(matrix: shared.gate, rows: input, count: rows, output: sharedGates, stride: sharedWidth))
            first.append(
                .init(matrix: shared.up, rows: input, count: rows, output: sharedMiddle.row(0), stride: sharedWidth))
            second.append(
                .init(matrix: shared.down, rows: sharedMiddle, count: rows, output: sharedOutput, stride: width))
        }
        PackedProduct.run(first, on: pool)
        activate(middle, gates: gate.base, rows: pairs, pool: pool)
        if experts.shared != nil { activate(sharedMiddle, gates: sharedGates, rows: rows, pool: pool) }
        PackedProduct.run(second, on: pool)

        for row in 0..<rows {
            let x = stream + row * width
            for choice in 0..<e.activeCount {
                let pair = row * e.activeCount + choice
                uk_axpy(routes.weights[pair], contribution.base + routes.places[pair] * width, width, x)
            }
            if experts.shared != nil {
                uk_axpy(routes.sharedWeights[row], sharedOutput + row * width, width, x)
            }
        }
    }

    /// Shows what the last `runDense` multiplied.
    func collectDense(into collector: ImportanceCollector, name: String, input: ActivationRows, rows: Int) {
        collector.add(
            [name + "gate_proj.weight", name + "up_proj.weight"], input.row(0), count: rows, width: width)
        collector.add([name + "down_proj.weight"], middle.row(0), count: rows, width: middle.width)
    }

    /// Shows what the last `runExperts` multiplied. Gates see what all tokens are like, not only their own.
    func collectExperts(
        _ experts: PackedExperts, into collector: ImportanceCollector, name: String, input: ActivationRows, rows: Int
    ) {
        let owners =
            experts.routed.indices.map { name + "experts.\($0)." }
            + (experts.shared == nil ? [] : [name + "shared_expert."])
        collector.add(
            owners.flatMap { [$0 + "gate_proj.weight", $0 + "up_proj.weight"] }, input.row(0), count: rows, width: width
        )
        for expert in experts.routed.indices {
            let begin = lastStarts[expert]
            collector.add(
                [name + "experts.\(expert).down_proj.weight"], middle.row(begin), count: lastStarts[expert + 1] - begin,
                width: middle.width)
        }
        if experts.shared != nil {
            collector.add(
                [name + "shared_expert.down_proj.weight"], sharedMiddle.row(0), count: rows, width: sharedMiddle.width)
        }
    }

    /// Which experts each token goes to; a pair is token · activeCount + choice.
    private struct Routes {
        var weights: [Float]
        var sharedWeights: [Float]
        /// Pairs sorted by expert, and where each expert's begin.
        var order: [Int]
        var starts: [Int]
        /// Where each pair is in `order`.
        var places: [Int]
    }

    private func route(
        _ experts: PackedExperts, _ e: ExpertConfiguration, input: ActivationRows, rows: Int, pool: WorkerPool
    ) -> Routes {
        let stride = e.routedCount + 1
        if routing.count < rows * stride { routing = FloatBuffer(count: rows * stride) }
        var products = [
            PackedProduct(matrix: experts.router, rows: input, count: rows, output: routing.base, stride: stride)
        ]
        if let gate = experts.sharedGate {
            products.append(
                .init(matrix: gate, rows: input, count: rows, output: routing.base + e.routedCount, stride: stride))
        }
        PackedProduct.run(products, on: pool)
        var weights = [Float](repeating: 0, count: rows * e.activeCount)
        var chosen = [Int](repeating: 0, count: rows * e.activeCount)
        var sharedWeights = [Float](repeating: 1, count: rows)
        var starts = [Int](repeating: 0, count: e.routedCount + 1)
        for row in 0..<rows {
            let scores = routing.base + row * stride
            if experts.sharedGate != nil {
                var pair: (Float, Float) = (scores[e.routedCount], 0)
                // sigmoid(g) as the softmax of (g, 0)
                withUnsafeMutablePointer(to: &pair) {
                    $0.withMemoryRebound(to: Float.self, capacity: 2) { _ = uk_softmax($0, 2) }
                }
                sharedWeights[row] = pair.0
            }
            _ = uk_softmax(scores, e.routedCount)
            var sum: Float = 0
            for choice in 0..<e.activeCount {
                var best = -1
                for expert in 0..<e.routedCount where scores[expert] >= 0 {
                    if best < 0 || scores[expert] > scores[best] { best = expert }
                }
                // Scores that are no numbers choose the first experts.
                if best < 0 { best = choice }
                let pair = row * e.activeCount + choice
                chosen[pair] = best
                weights[pair] = scores[best]
                sum += scores[best]
                scores[best] = -1
                starts[best + 1] += 1
            }
            if e.normalizesWeights, sum > 0 {
                for choice in 0..<e.activeCount { weights[row * e.activeCount + choice] /= sum }
            }
        }
        for expert in 0..<e.routedCount { starts[expert + 1] += starts[expert] }
        var next = starts
        var order = [Int](repeating: 0, count: chosen.count)
        var places = order
        for (pair, expert) in chosen.enumerated() {
            order[next[expert]] = pair
            places[pair] = next[expert]
            next[expert] += 1
        }
        return Routes(weights: weights, sharedWeights: sharedWeights, order: order, starts: starts, places: places)
    }

    /// rows = activation(gates) · rows, then their int8 form.
    private func activate(_ rows: ActivationRows, gates: UnsafeMutablePointer<Float>, rows count: Int, pool: WorkerPool)
    {
        let f = rows.width
        func one(_ row: Int) {
            switch activation {
            case .silu: uk_swiglu(gates + row * f, rows.row(row), f, rows.row(row))
            case .gelu: uk_geglu(gates + row * f, rows.row(row), f, rows.row(row))
            }
            rows.quantize(row)
        }
        let block = 4
        if count <= block {
            for row in 0..<count { one(row) }
        } else {
            pool.run((count + block - 1) / block) { task, _ in
                for row in task * block..<min((task + 1) * block, count) { one(row) }
            }
        }
    }
}
