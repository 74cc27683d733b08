extension Trainer {
    /// Sums since the last point of the record.
    struct Window: Codable {
        var loss = 0.0
        var answerLoss = 0.0
        var hits = 0
        var rows = 0
        var weight = 0.0
        var updates = 0
        var tokens = 0
        var seconds = 0.0
        /// Of the last update.
        var rate: Float = 0
        var gradientNorm = 0.0
        /// Σ of the routers' entropies.
        var entropy = 0.0
        /// Visits of each expert, by layer.
        var loads: [[Int]] = []

        mutating func add(
            _ pass: TrainableDecoder.PassResult, tokens: Int, seconds: Double, rate: Float, gradientNorm: Double
        ) {
            self.rate = rate
            self.gradientNorm = gradientNorm
            loss += pass.loss.loss
            answerLoss += pass.loss.answerLoss
            hits += pass.loss.hits
            rows += pass.loss.rows
            weight += pass.loss.weight
            updates += 1
            self.tokens += tokens
            self.seconds += seconds
            entropy += pass.entropy
            loads.add(pass.loads)
        }

        func point(step: Int) -> TrainingRecord.Point {
            let weight = max(weight, 1e-9)
            return .init(
                step: step, loss: loss / weight, answerLoss: answerLoss / weight,
                accuracy: Double(hits) / Double(max(rows, 1)), rate: rate, gradientNorm: gradientNorm,
                tokensPerSecond: Double(tokens) / max(seconds, 1e-9), experts: experts)
        }

        private var experts: TrainingRecord.Experts? {
            guard !loads.isEmpty else { return nil }
            let shares = loads.map { layer in
                let sum = Double(max(1, layer.reduce(0, +)))
                return layer.map { Double($0) / sum }
            }
            let unused = loads.indices.flatMap { layer in
                loads[layer].indices.filter { loads[layer][$0] == 0 }.map { [layer, $0] }
            }
            let count = shares.map(\.count).max() ?? 0
            return .init(
                maximumShare: shares.flatMap { $0 }.max() ?? 0, dead: unused.count,
                routerEntropy: entropy / Double(max(1, updates)),
                shares: (0..<count).map { expert in
                    shares.reduce(0) { $0 + $1[expert] } / Double(shares.count)
                },
                unused: unused.isEmpty ? nil : unused)
        }
    }
}

extension [[Int]] {
    /// Adds the experts' visits of another pass, layer by layer.
    mutating func add(_ other: [[Int]]) {
        if isEmpty {
            self = other
        } else {
            for layer in other.indices {
                for expert in other[layer].indices { self[layer][expert] += other[layer][expert] }
            }
        }
    }
}
