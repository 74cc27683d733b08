package import Foundation
internal import Inference

/// An answer to a row whose right answer is known.
package struct ScoredAnswer: Sendable, Hashable, Codable {
    /// The probability the model gives to its answer.
    package var confidence: Double
    /// Of all labels, in their order; empty for texts and JSON.
    package var probabilities: [Float]
    /// The place of the right label among them.
    package var right: Int?
    package var isRight: Bool

    package init(confidence: Double, probabilities: [Float] = [], right: Int? = nil, isRight: Bool) {
        self.confidence = confidence
        self.probabilities = probabilities
        self.right = right
        self.isRight = isRight
    }
}

/// What turns a student's probabilities into confidences that mean what they say. Stands in the student package as
/// `calibration.json`.
package struct Calibration: Sendable, Hashable, Codable {
    package enum Method: String, Sendable, Hashable, Codable {
        /// The probability as it is.
        case none
        case temperature
        /// The temperature, then the isotonic function.
        case isotonic
    }

    package var version = 1
    package var method = Method.none
    package var temperature = 1.0
    package var isotonic: IsotonicRegression?
    /// Rows it was fitted to.
    package var rows = 0
    /// Which rows: `validation`, or `training` where the task has no validation rows.
    package var source = "validation"

    package static let file = "calibration.json"
    /// Fewer rows say nothing.
    package static let leastRows = 20
    /// Fewer rows are too few for the isotonic function.
    package static let leastIsotonicRows = 100
    private static let folds = 5
    /// By how many standard errors a step more must be better: it is fitted to few rows, and used on many.
    private static let surety = [Method.temperature: 1.0, .isotonic: 2.0]

    package init() {}

    /// Fits the method with the lowest Brier score on rows it was not fitted to (five folds); a further step must make it
    /// lower by more than chance does: the temperature by one standard error of the rows' differences, the isotonic
    /// function by two.
    ///
    /// - Parameter wereLearnt: whether the student was trained on these rows. It is surer of them than of others, so that
    ///   they may make confidences lower but not higher: T ≥ 1, no isotonic function.
    package init(fitting rows: [ScoredAnswer], wereLearnt: Bool = false) {
        self.rows = rows.count
        source = wereLearnt ? "training" : "validation"
        guard rows.count >= Self.leastRows else { return }
        func fit(_ method: Method, _ rows: [ScoredAnswer]) -> Calibration {
            var result = Calibration()
            result.method = method
            guard method != .none else { return result }
            result.temperature = TemperatureScaling.fit(
                rows, in: wereLearnt ? 1...TemperatureScaling.range.upperBound : TemperatureScaling.range)
            guard method == .isotonic else { return result }
            result.isotonic = IsotonicRegression(
                rows.map { (result.heated($0.confidence, $0.probabilities), $0.isRight) })
            return result
        }
        var methods = [Method.none, .temperature]
        if rows.count >= Self.leastIsotonicRows, !wereLearnt { methods.append(.isotonic) }
        var best = (method: Method.none, squares: [Double]())
        for method in methods {
            var confidences = [Double](repeating: 0, count: rows.count)
            for fold in 0..<Self.folds {
                let fitted = fit(method, rows.indices.filter { $0 % Self.folds != fold }.map { rows[$0] })
                for row in stride(from: fold, to: rows.count, by: Self.folds) {
                    confidences[row] = fitted.confidence(rows[row].confidence, probabilities: rows[row].probabilities)
                }
            }
            let squares = zip(confidences, rows).map { ($0 - ($1.isRight ? 1 : 0)) * ($0 - ($1.isRight ? 1 : 0)) }
            if best.squares.isEmpty || Self.isBetter(squares, than: best.squares, by: Self.surety[method] ?? 0) {
                best = (method, squares)
            }
        }
        let chosen = fit(best.method, rows)
        method = chosen.method
        temperature = chosen.temperature
        isotonic = chosen.isotonic
    }

    /// Whether errors are smaller, row by row, by so many standard errors of the differences' mean.
    private static func isBetter(_ errors: [Double], than others: [Double], by surety: Double) -> Bool {
        let differences = zip(others, errors).map { $0 - $1 }
        let count = Double(differences.count)
        let mean = differences.reduce(0, +) / count
        let variance = differences.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / max(1, count - 1)
        return mean > surety * (variance / count).squareRoot()
    }

    /// Whether it needs the probabilities of all labels.
    package var needsProbabilities: Bool { temperature != 1 }

    /// The probability that an answer is right.
    ///
    /// - Parameters:
    ///   - confidence: the probability the model gives to the answer.
    ///   - probabilities: of all labels; empty for texts and JSON.
    package func confidence(_ confidence: Double, probabilities: [Float] = []) -> Double {
        let heated = heated(confidence, probabilities)
        return isotonic?.value(heated) ?? heated
    }

    /// The same for an answer of a model, whose first distribution has the labels where it was asked for them.
    package func confidence(_ answer: TaskAnswer, kind: TaskDefinition.OutputKind) -> Double {
        confidence(
            answer.confidence, probabilities: kind == .label ? answer.alternatives.first?.probabilities ?? [] : [])
    }

    private func heated(_ confidence: Double, _ probabilities: [Float]) -> Double {
        guard temperature != 1 else { return confidence }
        // The answer is the most probable label.
        guard let best = probabilities.indices.max(by: { probabilities[$0] < probabilities[$1] }) else {
            return TemperatureScaling.probability(confidence, temperature: temperature)
        }
        return TemperatureScaling.probability(best, of: probabilities, temperature: temperature)
    }

    var data: Data {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            return try encoder.encode(self)
        }
    }

    /// What stands in a package; nil where it has none, as those made before there were calibrations.
    ///
    /// - Throws: ``TaskError`` when the file is not as expected.
    package init?(package folder: URL) throws {
        let url = folder.appendingPathComponent(Self.file)
        guard FileManager.default.fileExists(atPath: url.path) else { return nil }
        guard let data = FileManager.default.contents(atPath: url.path),
            let read = try? JSONDecoder().decode(Calibration.self, from: data), read.version == 1,
            read.temperature.isFinite, read.temperature > 0, read.isotonic?.isValid ?? true
        else { throw TaskError("not what a student package's \(Self.file) holds", file: url.path) }
        self = read
    }
}

/// What a calibration did to a system's confidences on the test set, for the certificate.
public struct CalibrationMeasurement: Sendable, Codable {
    /// `none`, `temperature` or `isotonic`.
    public var method: String
    public var temperature: Double
    /// Rows it was fitted to, none of them of the test set.
    public var rows: Int
    /// `validation`, or `training`.
    public var source: String
    public var before: Reliability
    public var after: Reliability
}
