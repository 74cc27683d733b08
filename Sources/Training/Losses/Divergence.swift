#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// How far a student's distribution is from a teacher's, where it is not simply the cross-entropy to a mixed target.
///
/// Both are distributions over the tokens the teacher names and one bucket for all others; where it names all, there is
/// no bucket. At temperature T both are raised to 1/T and normalised again, the bucket like a token (with all tokens
/// named, that is dividing the logits by T), and the loss is multiplied by T² (Hinton et al. 2015), so that gradients
/// stay of one size. q is the teacher's, p the student's:
///
/// - `crossEntropy`: `-Σ q log p`; `forwardKL`: the same less q's entropy.
/// - `reverseKL`: `Σ p log (p / q)` (MiniLLM, arXiv 2306.08543). A q below 1e-6 counts as that.
/// - `jensenShannon`: `β KL(q ‖ m) + (1 - β) KL(p ‖ m)`, `m = β q + (1 - β) p` (GKD, arXiv 2306.13649, eq. 1).
public struct Divergence: Sendable, Hashable, Codable {
    public enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        case crossEntropy = "cross_entropy"
        case forwardKL = "forward_kl"
        case reverseKL = "reverse_kl"
        case jensenShannon = "jsd"
    }

    public var kind: Kind
    /// Between 0 and 1; of `jensenShannon`.
    public var beta: Double
    public var temperature: Double

    private static let floor = 1e-6

    public init(_ kind: Kind, beta: Double = 0.5, temperature: Double = 1) {
        precondition(beta > 0 && beta < 1 && temperature > 0, "Divergence: β \(beta), temperature \(temperature)")
        self.kind = kind
        self.beta = beta
        self.temperature = temperature
    }

    /// - Parameters:
    ///   - teacher: probabilities; they add up to 1.
    ///   - student: log-probabilities of the same tokens.
    /// - Returns: the loss, and its gradient by `student`, whose elements add up to 0.
    package func evaluate(teacher: [Double], student: [Double]) -> (loss: Double, gradient: [Double]) {
        precondition(teacher.count == student.count, "Divergence: \(teacher.count) and \(student.count) tokens")
        let t = temperature
        var q = Self.normalized(teacher.map { pow(max($0, 0), 1 / t) })
        if kind == .reverseKL { q = Self.normalized(q.map { max($0, Self.floor) }) }
        let top = student.max() ?? 0
        let p = Self.normalized(student.map { exp(($0 - top) / t) })
        func logRatio(_ a: Double, _ b: Double) -> Double { a > 0 ? log(a / max(b, .leastNormalMagnitude)) : 0 }
        var loss = 0.0
        var gradient: [Double]
        switch kind {
        case .crossEntropy, .forwardKL:
            for (q, p) in zip(q, p) where q > 0 {
                loss -= q * log(max(p, .leastNormalMagnitude))
                if kind == .forwardKL { loss += q * log(q) }
            }
            gradient = zip(q, p).map { $1 - $0 }
        case .reverseKL:
            let ratios = zip(q, p).map { logRatio($1, $0) }
            loss = zip(p, ratios).reduce(0) { $0 + $1.0 * $1.1 }
            gradient = zip(p, ratios).map { $0 * ($1 - loss) }
        case .jensenShannon:
            let m = zip(q, p).map { beta * $0 + (1 - beta) * $1 }
            let ratios = zip(p, m).map(logRatio)
            let own = zip(p, ratios).reduce(0) { $0 + $1.0 * $1.1 }
            loss = beta * zip(q, m).reduce(0) { $0 + $1.0 * logRatio($1.0, $1.1) } + (1 - beta) * own
            gradient = zip(p, ratios).map { (1 - beta) * $0 * ($1 - own) }
        }
        // By the chain rule 1/T, times T².
        for index in gradient.indices { gradient[index] *= t }
        return (loss * t * t, gradient)
    }

    private static func normalized(_ values: [Double]) -> [Double] {
        let sum = values.reduce(0, +)
        return sum > 0 ? values.map { $0 / sum } : values
    }
}
