internal import CKernels
internal import Tensors

#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// The routing of a mixture of experts: softmax over all experts, the k most probable ones are asked.
///
/// Extra losses, as in OLMoE (Muennighoff et al. 2024): load balance `E · Σ fraction(e) · meanProbability(e)`
/// (Fedus et al. 2021, eq. 4) and router z-loss `mean(lse²)` (Zoph et al. 2022, eq. 5).
///
/// Instead of the load-balance loss a bias can be added to the probabilities for choosing alone (Wang et al.,
/// arXiv 2408.15664; DeepSeek-V3, arXiv 2412.19437, eq. 16). The layout students are exported in, Qwen2-MoE's, has no
/// place for it: it serves training only and goes back to zero before the end, so that what is exported chooses as what
/// was trained. Sigmoid scores, which DeepSeek-V3 weighs its experts with, are not offered for the same reason: no
/// linear router's softmax gives their ratios.
package struct Router {
    /// [E, W].
    package var weight: Floats
    package var gradient: Floats?
    package var width: Int
    package var experts: Int
    package var active: Int
    /// Whether the chosen probabilities are made to add up to 1.
    package var normalizes: Bool
    /// [E], added to the probabilities when experts are chosen, not to their weights; nil: none.
    package var bias: Floats?

    package struct Saved {
        /// [T, E].
        var probabilities: Floats
        /// [T]: log Σ exp of the logits.
        var lse: Floats
        /// [T · active], experts in falling order of probability.
        var chosen: [Int32]
        /// [T · active], what each choice's output is multiplied with.
        var weights: [Float]
    }

    /// What a backward pass says of the routing, before any coefficients.
    package struct Extra {
        /// The load-balance loss, 1 where all experts are asked equally.
        var balance = 0.0
        /// The z-loss.
        var z = 0.0
        /// Mean entropy of the tokens' probabilities, in nats: log E where the router knows nothing.
        var entropy = 0.0
    }

    package func forward(
        x: Floats, tokens: Int, probabilities: Floats, lse: Floats, compute: Compute
    ) -> Saved {
        // Choices stay exact (selective precision, Fedus et al., arXiv 2101.03961).
        compute.run(
            [.forward(x: x, w: weight, y: probabilities, rows: tokens, input: width, output: experts)],
            precision: .float32)
        var chosen = [Int32](repeating: 0, count: tokens * active)
        var weights = [Float](repeating: 0, count: tokens * active)
        chosen.withUnsafeMutableBufferPointer { chosen in
            weights.withUnsafeMutableBufferPointer { weights in
                let places = Unshared((chosen: chosen, weights: weights))
                compute.rows(tokens, grain: 64) { range in
                    for token in range {
                        let row = probabilities + token * experts
                        lse[token] = uk_softmax_row(row, experts)
                        choose(
                            row, places.value.chosen.baseAddress! + token * active,
                            places.value.weights.baseAddress! + token * active)
                    }
                }
            }
        }
        return Saved(probabilities: probabilities, lse: lse, chosen: chosen, weights: weights)
    }

    /// The experts of one token and their weights.
    private func choose(_ row: Floats, _ chosen: UnsafeMutablePointer<Int32>, _ weights: Floats) {
        var sum: Float = 0
        for choice in 0..<active {
            var best = -1
            for expert in 0..<experts {
                var isTaken = false
                for earlier in 0..<choice where chosen[earlier] == Int32(expert) { isTaken = true }
                if !isTaken, best < 0 || score(row, expert) > score(row, best) { best = expert }
            }
            chosen[choice] = Int32(best)
            weights[choice] = row[best]
            sum += row[best]
        }
        if normalizes {
            for choice in 0..<active { weights[choice] /= sum }
        }
    }

    private func score(_ row: Floats, _ expert: Int) -> Float { bias.map { row[expert] + $0[expert] } ?? row[expert] }

    /// Adds to dx[T, W] and to the router's gradient.
    ///
    /// - Parameters:
    ///   - dWeights: gradient of `saved.weights`.
    ///   - balance, z: coefficients of the extra losses, already divided by what they are averaged over beside the tokens.
    ///   - work: room for T · E.
    @discardableResult
    package func backward(
        x: Floats, dx: Floats, tokens: Int, saved: Saved, dWeights: [Float], balance: Float, z: Float, work: Floats,
        compute: Compute
    ) -> Extra {
        var fraction = [Float](repeating: 0, count: experts)
        for expert in saved.chosen { fraction[Int(expert)] += 1 }
        for expert in 0..<experts { fraction[expert] /= Float(max(saved.chosen.count, 1)) }
        var extra = Extra()
        let perToken = 1 / Float(max(tokens, 1))
        for token in 0..<tokens {
            let p = saved.probabilities + token * experts
            let d = work + token * experts
            for expert in 0..<experts {
                d[expert] = balance * Float(experts) * fraction[expert] * perToken
                extra.balance += Double(Float(experts) * fraction[expert] * perToken * p[expert])
            }
            let pairs = token * active..<(token + 1) * active
            if normalizes {
                var sum: Float = 0
                var inner: Float = 0
                for pair in pairs {
                    sum += p[Int(saved.chosen[pair])]
                    inner += dWeights[pair] * saved.weights[pair]
                }
                for pair in pairs { d[Int(saved.chosen[pair])] += (dWeights[pair] - inner) / sum }
            } else {
                for pair in pairs { d[Int(saved.chosen[pair])] += dWeights[pair] }
            }
            var inner: Float = 0
            for expert in 0..<experts { inner += d[expert] * p[expert] }
            for expert in 0..<experts where p[expert] > 0 {
                extra.entropy -= Double(p[expert] * logf(p[expert]))
            }
            let lse = saved.lse[token]
            extra.z += Double(lse * lse * perToken)
            for expert in 0..<experts {
                d[expert] = p[expert] * (d[expert] - inner) + 2 * z * perToken * lse * p[expert]
            }
        }
        var products: [uk_gemm] = [
            .inputGradient(
                dy: work, w: weight, dx: dx, rows: tokens, input: width, output: experts, accumulate: true)
        ]
        if let gradient {
            products.append(
                .weightGradient(dy: work, x: x, dw: gradient, rows: tokens, input: width, output: experts))
        }
        compute.run(products, precision: .float32)
        extra.entropy /= Double(max(tokens, 1))
        return extra
    }
}
