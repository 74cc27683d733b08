internal import Foundation

/// What labels are worth: the quality of a cheap model by how many of the teacher's labels it has learnt from, and what
/// more of them would add.
public struct LabelCurve: Sendable, Codable {
    public struct Point: Sendable, Codable {
        /// Labels of the teacher, the first ones that were asked for.
        public var labels: Int
        /// With the gold.
        public var rows: Int
        /// Share of right answers to the validation rows.
        public var accuracy: Double

        package init(labels: Int, rows: Int, accuracy: Double) {
            self.labels = labels
            self.rows = rows
            self.accuracy = accuracy
        }
    }

    public var points: [Point]
    public var validationRows: Int
    /// b of the power law error = a · rows⁻ᵇ (Hestness et al., arXiv 1712.00409), fitted to the points; nil: it cannot be
    /// fitted.
    public var exponent: Double?
    /// Standard error of the exponent.
    public var deviation: Double?
    /// What the law gives for twice as many labels; nil: it says nothing.
    public var accuracyOfTwiceAsMany: Double?
    /// Whether more labels would add nothing that can be seen.
    public var isFlat: Bool

    /// Fewer validation rows say nothing.
    static let leastValidation = 20
    private static let shares = [0, 0.1, 0.2, 0.4, 0.7, 1]
    /// A gain below it is none.
    private static let leastGain = 0.005
    /// By how many standard errors the exponent must be above 0 (95 %, one-sided).
    private static let surety = 1.645

    /// Fits a linear model to growing parts of the labels.
    ///
    /// - Parameters:
    ///   - labelled: in the order in which they were asked for.
    ///   - validation: rows nobody has learnt from.
    /// - Returns: nil where there are too few labels or validation rows.
    package init?(
        gold: [Example], labelled: [Example], validation: [Example], seed: UInt64
    ) {
        guard labelled.count >= 10, validation.count >= Self.leastValidation else { return nil }
        var points: [Point] = []
        for share in Self.shares {
            let count = Int((share * Double(labelled.count)).rounded())
            let rows = gold + labelled.prefix(count)
            guard Set(rows.map(\.output)).count > 1 else { continue }
            let model = LinearClassifier(rows, seed: seed)
            let right = validation.count { model.answer($0.input) == $0.output }
            points.append(
                Point(
                    labels: count, rows: rows.count, accuracy: Double(right) / Double(validation.count)))
        }
        self.init(points: points, validationRows: validation.count)
    }

    /// Fits the law to points that were measured.
    package init?(points: [Point], validationRows: Int) {
        guard let last = points.last, points.count >= 3, last.rows > 0 else { return nil }
        self.points = points
        self.validationRows = validationRows
        isFlat = true
        // Half a mistake more, so that a logarithm exists.
        let errors = points.map { ((1 - $0.accuracy) * Double(validationRows) + 0.5) / (Double(validationRows) + 1) }
        let x = points.map { log(Double(max(1, $0.rows))) }
        let y = errors.map { log($0) }
        let count = Double(points.count)
        let meanX = x.reduce(0, +) / count
        let meanY = y.reduce(0, +) / count
        let spread = x.reduce(0) { $0 + ($1 - meanX) * ($1 - meanX) }
        guard spread > 1e-9 else { return }
        let slope = zip(x, y).reduce(0) { $0 + ($1.0 - meanX) * ($1.1 - meanY) } / spread
        let residual = zip(x, y).reduce(0) { sum, point in
            let distance = point.1 - meanY - slope * (point.0 - meanX)
            return sum + distance * distance
        }
        exponent = -slope
        deviation = (residual / max(1, count - 2) / spread).squareRoot()
        let growth = Double(last.rows + last.labels) / Double(last.rows)
        let fitted = exp(meanY + slope * (x[x.count - 1] - meanX))
        let gain = fitted * (1 - pow(growth, slope))
        accuracyOfTwiceAsMany = min(1, last.accuracy + gain)
        isFlat = -slope <= Self.surety * (deviation ?? 0) || gain < Self.leastGain
    }

    /// Whether more labels would pay, in a sentence.
    public var sentence: String {
        guard let last = points.last, let exponent, let twice = accuracyOfTwiceAsMany else {
            return "whether more labels would help cannot be told from so few"
        }
        let law = String(format: "error falls with rows to the power of −%.2f ± %.2f", exponent, deviation ?? 0)
        return isFlat
            ? "more labels would add next to nothing to a linear model: it is at \(Format.quality(last.accuracy)) with \(last.labels) (\(law))"
            : "twice as many labels would bring a linear model from \(Format.quality(last.accuracy)) to about \(Format.quality(twice)) (\(law))"
    }
}
