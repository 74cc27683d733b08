internal import Foundation

/// How far confidences are what they say: of the answers given with 0.8, eight in ten should be right.
public struct Reliability: Sendable, Codable {
    /// Answers of about the same confidence.
    public struct Bin: Sendable, Codable {
        public var low: Double
        public var high: Double
        public var count: Int
        /// Mean confidence; 0 in an empty bin.
        public var confidence: Double
        /// Share of right answers; 0 in an empty bin.
        public var accuracy: Double
    }

    /// Mean distance between confidence and share of right answers over 15 bins of equal width, weighted by their answers
    /// (ECE; Naeini et al., AAAI 2015, with the bins of Guo et al., arXiv 1706.04599). 0 is best.
    public var expectedCalibrationError: Double
    /// Mean square of confidence less rightness, 0 or 1, of the answer given (Brier 1950). 0 is best.
    public var brierScore: Double
    /// Mean negative log-likelihood of the answer given being right or wrong, in nats.
    public var logLoss: Double
    public var bins: [Bin]

    static let binCount = 15

    /// - Parameters:
    ///   - confidences: 0 ... 1; others are brought there.
    ///   - right: as many.
    package init(_ confidences: [Double], right: [Bool]) {
        precondition(confidences.count == right.count, "Reliability: \(confidences.count) and \(right.count) rows")
        var counts = [Int](repeating: 0, count: Self.binCount)
        var sums = [Double](repeating: 0, count: Self.binCount)
        var hits = [Int](repeating: 0, count: Self.binCount)
        brierScore = 0
        logLoss = 0
        for (value, isRight) in zip(confidences, right) {
            let confidence = value.isFinite ? min(1, max(0, value)) : 0
            let bin = min(Self.binCount - 1, Int(confidence * Double(Self.binCount)))
            counts[bin] += 1
            sums[bin] += confidence
            if isRight { hits[bin] += 1 }
            let distance = confidence - (isRight ? 1 : 0)
            brierScore += distance * distance
            logLoss -= log(max(isRight ? confidence : 1 - confidence, 1e-9))
        }
        let total = Double(max(1, confidences.count))
        brierScore /= total
        logLoss /= total
        bins = (0..<Self.binCount).map { bin in
            let count = Double(max(1, counts[bin]))
            return Bin(
                low: Double(bin) / Double(Self.binCount), high: Double(bin + 1) / Double(Self.binCount),
                count: counts[bin], confidence: sums[bin] / count, accuracy: Double(hits[bin]) / count)
        }
        expectedCalibrationError = bins.reduce(0) {
            $0 + Double($1.count) / total * abs($1.confidence - $1.accuracy)
        }
    }
}
