internal import CKernels
internal import Foundation
internal import Tensors

/// Chooses one token from a row of logits, for one request.
struct Sampler {
    /// What was chosen.
    struct Choice {
        var token: Int32
        /// Its place among the allowed ones.
        var place: Int
        /// Logarithm of its probability before penalties and temperature: among all tokens, or the allowed ones.
        var logProbability: Double
    }

    let options: SamplingOptions
    private var random: RandomNumbers
    /// How often the answer has each token, and which tokens the prompt has; kept where a penalty needs them.
    private var counts: [Int32: Int] = [:]
    private var promptTokens: Set<Int32> = []

    init(_ options: SamplingOptions, prompt: [Int32] = []) {
        self.options = options
        random = RandomNumbers(seed: options.seed)
        if options.repetitionPenalty != 1 { promptTokens = Set(prompt) }
    }

    /// The answer went on by this token.
    mutating func note(_ token: Int32) {
        if !options.leavesLogits { counts[token, default: 0] += 1 }
    }

    /// The most probable of a few tokens, or one drawn from them.
    mutating func choose(_ logits: UnsafeMutableBufferPointer<Float>, among allowed: [Int32]) -> Choice {
        var own = allowed.map { logits[Int($0)] }
        let (best, total) = Self.summary(&own)
        var place = best
        if options.temperature > 0, own[best] > -.infinity {
            own.withUnsafeMutableBufferPointer { place = draw($0, top: $0[best]) ?? best }
        }
        let raw = logits[Int(allowed[place])]
        return Choice(token: allowed[place], place: place, logProbability: Double(raw - total))
    }

    /// - Parameters:
    ///   - logits: [vocabulary], written to; not a number counts as impossible.
    ///   - allows: whether a token can stand here; nil: all can.
    ///   - mask: all that can, asked for when the first choice can not.
    mutating func choose(
        _ logits: UnsafeMutableBufferPointer<Float>, allows: ((Int32) -> Bool)? = nil, mask: (() -> TokenMask)? = nil
    ) -> Choice? {
        var best = 0
        let total = uk_log_sum_exp(logits.baseAddress!, logits.count, &best)
        let top = logits[best]
        func probability(_ token: Int) -> Double {
            let value = logits[token]
            return value.isNaN ? -.infinity : Double(value - total)
        }
        if options.leavesLogits, options.temperature == 0, allows?(Int32(best)) ?? true {
            return Choice(token: Int32(best), place: best, logProbability: Double(top - total))
        }
        // Drawn from all and kept where it is allowed, otherwise drawn anew from those that are: the same distribution
        // (rejection sampling), and seldom a mask to work out.
        if let allows, options.leavesLogits, options.drawsFromAll, top > -.infinity, top < .infinity,
            let drawn = draw(logits, top: top), allows(Int32(drawn))
        {
            return Choice(token: Int32(drawn), place: drawn, logProbability: probability(drawn))
        }
        // Log-probabilities are the model's own: they are read before anything is changed.
        var original: [Int: Float] = [:]
        if !options.leavesLogits { penalize(logits, &original) }
        if let mask {
            mask().apply(to: logits)
        }
        var chosen = best
        var greatest = top
        // Nothing was changed but by the mask: what was the greatest still is where it is allowed.
        if !options.leavesLogits || logits[best] != top {
            chosen = 0
            greatest = -Float.infinity
            for index in logits.indices where logits[index] > greatest {
                greatest = logits[index]
                chosen = index
            }
        }
        if greatest == -.infinity, mask != nil { return nil }
        if options.temperature > 0, greatest > -.infinity {
            chosen = draw(logits, top: greatest) ?? chosen
        }
        let logProbability = original[chosen].map { Double($0 - total) } ?? probability(chosen)
        return Choice(token: Int32(chosen), place: chosen, logProbability: logProbability)
    }

    private func penalize(_ logits: UnsafeMutableBufferPointer<Float>, _ original: inout [Int: Float]) {
        func edit(_ token: Int32, _ change: (inout Float) -> Void) {
            let index = Int(token)
            guard logits.indices.contains(index) else { return }
            if original[index] == nil { original[index] = logits[index] }
            change(&logits[index])
        }
        if options.repetitionPenalty != 1 {
            for token in promptTokens.union(counts.keys) {
                edit(token) { $0 = $0 > 0 ? $0 / options.repetitionPenalty : $0 * options.repetitionPenalty }
            }
        }
        if options.presencePenalty != 0 || options.frequencyPenalty != 0 {
            for (token, count) in counts {
                edit(token) { $0 -= options.presencePenalty + options.frequencyPenalty * Float(count) }
            }
        }
        for (token, bias) in options.logitBias { edit(token) { $0 += bias } }
    }

    static func logSumExp(_ row: UnsafeMutableBufferPointer<Float>, _ best: inout Int) -> Float {
        uk_log_sum_exp(row.baseAddress!, row.count, &best)
    }

    private static func summary(_ logits: inout [Float]) -> (best: Int, total: Float) {
        var best = 0
        let total = uk_log_sum_exp(logits, logits.count, &best)
        return (best, total)
    }

    /// Draws a place by its weight exp((logit - top) / temperature) among what the filters leave.
    private mutating func draw(_ logits: UnsafeMutableBufferPointer<Float>, top: Float) -> Int? {
        let uniform = Double(random.next() >> 11) * 0x1p-53
        return withUnsafeTemporaryAllocation(of: Float.self, capacity: logits.count) { weights in
            let factor = 1 / options.temperature
            _ = uk_exp_weights(logits.baseAddress!, logits.count, top, factor, weights.baseAddress!)
            if options.drawsFromAll {
                var total = 0.0
                for weight in weights { total += Double(weight) }
                return Self.pick(weights.indices.lazy.map { ($0, weights[$0]) }, uniform * total)
            }
            let candidates = filtered(weights)
            let total = candidates.reduce(0) { $0 + Double($1.weight) }
            return Self.pick(candidates.lazy.map { ($0.place, $0.weight) }, uniform * total)
        }
    }

    private static func pick(_ candidates: some Sequence<(Int, Float)>, _ target: Double) -> Int? {
        var rest = target
        var last: Int?
        for (place, weight) in candidates where weight > 0 {
            last = place
            rest -= Double(weight)
            if rest < 0 { return place }
        }
        return last
    }

    private struct Candidate {
        var place: Int
        var weight: Float
    }

    /// Candidates that are left, the most probable first.
    private func filtered(_ weights: UnsafeMutableBufferPointer<Float>) -> [Candidate] {
        var candidates: [Candidate]
        if options.topK > 0, options.topK < weights.count {
            candidates = Self.greatest(options.topK, of: weights)
        } else if options.minP > 0, options.typicalP >= 1 {
            // The greatest weight is 1. What min-p drops would be dropped at the end anyway, but counts for top-p.
            candidates = options.topP < 1 ? Self.covering(options.topP, of: weights) : []
            if options.topP >= 1 {
                for place in weights.indices where weights[place] >= options.minP {
                    candidates.append(Candidate(place: place, weight: weights[place]))
                }
                candidates.sort { ($0.weight, $1.place) > ($1.weight, $0.place) }
            }
            return Array(candidates.prefix { $0.weight >= options.minP })
        } else if options.typicalP >= 1 {
            return Self.covering(options.topP, of: weights)
        } else {
            candidates = Self.greatest(weights.count, of: weights)
        }
        if options.typicalP < 1 {
            let total = candidates.reduce(0) { $0 + Double($1.weight) }
            let surprises = candidates.map { -log(Double($0.weight) / total) }
            let entropy = zip(candidates, surprises).reduce(0) { $0 + Double($1.0.weight) / total * $1.1 }
            let order = candidates.indices.sorted {
                (abs(surprises[$0] - entropy), $0) < (abs(surprises[$1] - entropy), $1)
            }
            var kept: [Candidate] = []
            var mass = 0.0
            for index in order {
                kept.append(candidates[index])
                mass += Double(candidates[index].weight)
                if mass >= Double(options.typicalP) * total { break }
            }
            candidates = kept.sorted { ($0.weight, $1.place) > ($1.weight, $0.place) }
        }
        if options.topP < 1 {
            let total = candidates.reduce(0) { $0 + Double($1.weight) }
            var mass = 0.0
            let end = candidates.firstIndex {
                mass += Double($0.weight)
                return mass >= Double(options.topP) * total
            }
            if let end { candidates.removeLast(candidates.count - end - 1) }
        }
        if options.minP > 0, let first = candidates.first {
            candidates = candidates.filter { $0.weight >= options.minP * first.weight }
        }
        return candidates
    }

    /// The fewest greatest weights that together have this share of all.
    private static func covering(_ share: Float, of weights: UnsafeMutableBufferPointer<Float>) -> [Candidate] {
        var total = 0.0
        for weight in weights { total += Double(weight) }
        var count = 64
        while true {
            let candidates = greatest(count, of: weights)
            var mass = 0.0
            for (index, candidate) in candidates.enumerated() {
                mass += Double(candidate.weight)
                if mass >= Double(share) * total { return Array(candidates[...index]) }
            }
            if candidates.count < count || count >= weights.count { return candidates }
            count *= 8
        }
    }

    /// The greatest weights above zero, sorted; of equals the first.
    private static func greatest(_ count: Int, of weights: UnsafeMutableBufferPointer<Float>) -> [Candidate] {
        var kept: [Candidate] = []
        var least: Float = 0
        func cut() {
            kept.sort { ($0.weight, $1.place) > ($1.weight, $0.place) }
            if kept.count > count { kept.removeLast(kept.count - count) }
            if kept.count == count { least = kept[count - 1].weight }
        }
        for place in weights.indices where weights[place] > least {
            kept.append(Candidate(place: place, weight: weights[place]))
            if kept.count >= 2 * count { cut() }
        }
        cut()
        return kept
    }
}

extension Double {
    static func exponential(_ x: Double) -> Double { exp(x) }
}

extension TokenDistribution {
    /// - Parameter allowed: tokens to look at; nil: all.
    static func top(
        _ count: Int, of logits: UnsafeMutableBufferPointer<Float>, among allowed: [Int32]? = nil
    ) -> TokenDistribution {
        var kept: [(token: Int32, logit: Float)] = []
        var least: Float = -.infinity
        var total: Float
        func visit(_ token: Int32, _ logit: Float) {
            guard logit > least else { return }
            kept.append((token, logit))
            // Twice the room, so that sorting is rare.
            if kept.count >= 2 * count {
                kept.sort { ($0.logit, $1.token) > ($1.logit, $0.token) }
                kept.removeLast(kept.count - count)
                least = kept[count - 1].logit
            }
        }
        var best = 0
        if let allowed {
            let own = allowed.map { logits[Int($0)] }
            total = uk_log_sum_exp(own, own.count, &best)
            for (token, logit) in zip(allowed, own) { visit(token, logit) }
        } else {
            total = uk_log_sum_exp(logits.baseAddress!, logits.count, &best)
            for token in logits.indices { visit(Int32(token), logits[token]) }
        }
        kept.sort { ($0.logit, $1.token) > ($1.logit, $0.token) }
        let first = kept.prefix(count)
        let probabilities = first.map { Float(exp(Double($0.logit - total))) }
        return TokenDistribution(
            tokens: first.map(\.token), probabilities: probabilities, tail: max(0, 1 - probabilities.reduce(0, +)))
    }
}
