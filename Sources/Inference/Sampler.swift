internal import Foundation
internal import Tensors

/// Chooses one token from a row of logits.
struct Sampler {
    private let options: SamplingOptions
    private var random: RandomNumbers

    init(_ options: SamplingOptions) {
        self.options = options
        random = RandomNumbers(seed: options.seed)
    }

    /// - Parameters:
    ///   - logits: [vocabulary]; not a number counts as impossible.
    ///   - allowed: token numbers to choose among; nil: all.
    /// - Returns: the place in `allowed` (or the token) and the logarithm of its probability among them, before temperature.
    mutating func choose(_ logits: UnsafeBufferPointer<Float>, among allowed: [Int32]? = nil) -> (
        place: Int, logProbability: Double
    ) {
        let count = allowed?.count ?? logits.count
        func logit(_ place: Int) -> Float {
            let value = logits[allowed.map { Int($0[place]) } ?? place]
            return value.isNaN ? -.infinity : value
        }
        var best = 0
        var top = logit(0)
        for place in 1..<max(count, 1) {
            let value = logit(place)
            if value > top {
                top = value
                best = place
            }
        }
        guard top.isFinite else { return (best, -.infinity) }
        var sum = 0.0
        for place in 0..<count { sum += exp(Double(logit(place) - top)) }
        if options.temperature > 0 { best = draw(count, top: top, logit) }
        return (best, Double(logit(best) - top) - log(sum))
    }

    private mutating func draw(_ count: Int, top: Float, _ logit: (Int) -> Float) -> Int {
        var candidates = (0..<count).map { place in
            (place: place, weight: exp(Double(logit(place) - top) / Double(options.temperature)))
        }
        if options.topK > 0 || options.topP < 1 {
            candidates.sort { $0.weight > $1.weight }
            if options.topK > 0 { candidates.removeLast(max(0, count - options.topK)) }
            let total = candidates.reduce(0) { $0 + $1.weight }
            var kept = 0.0
            var length = 0
            while length < candidates.count, length == 0 || kept < Double(options.topP) * total {
                kept += candidates[length].weight
                length += 1
            }
            candidates.removeLast(candidates.count - length)
        }
        let total = candidates.reduce(0) { $0 + $1.weight }
        var rest = Double(random.uniform()) * total
        for candidate in candidates {
            rest -= candidate.weight
            if rest < 0 { return candidate.place }
        }
        return candidates[candidates.count - 1].place
    }
}

extension Double {
    static func exponential(_ x: Double) -> Double { exp(x) }
}

extension TokenDistribution {
    /// - Parameters:
    ///   - allowed: tokens to look at; nil: all.
    ///   - best: a token whose logit is near the highest, for a safe exponential.
    static func top(
        _ count: Int, of logits: UnsafeBufferPointer<Float>, among allowed: [Int32]?, best: Int32
    ) -> TokenDistribution {
        let reference = logits[Int(best)].isFinite ? logits[Int(best)] : 0
        var sum = 0.0
        var kept: [(token: Int32, weight: Float)] = []
        var least: Float = -.infinity
        func visit(_ token: Int32) {
            let logit = logits[Int(token)]
            guard logit > -.infinity else { return }
            sum += exp(Double(logit - reference))
            guard kept.count < count || logit > least else { return }
            kept.append((token, logit))
            // Twice the room, so that sorting is rare.
            if kept.count >= 2 * count {
                kept.sort { ($0.weight, $1.token) > ($1.weight, $0.token) }
                kept.removeLast(kept.count - count)
                least = kept[count - 1].weight
            }
        }
        if let allowed {
            for token in allowed { visit(token) }
        } else {
            for token in logits.indices { visit(Int32(token)) }
        }
        kept.sort { ($0.weight, $1.token) > ($1.weight, $0.token) }
        let best = kept.prefix(count)
        let probabilities = best.map { Float(exp(Double($0.weight - reference)) / max(sum, .leastNormalMagnitude)) }
        return TokenDistribution(
            tokens: best.map(\.token), probabilities: probabilities, tail: max(0, 1 - probabilities.reduce(0, +)))
    }
}
