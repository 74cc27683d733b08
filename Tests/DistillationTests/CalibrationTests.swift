import Distillation
import Foundation
import Tensors
import TestSupport
import Testing

@Suite struct CalibrationTests {
    /// Rows of a model with five labels whose logits are `sharpness` times what they should be.
    private func rows(_ count: Int, sharpness: Double, seed: UInt64 = 1) -> [ScoredAnswer] {
        var random = RandomNumbers(seed: seed)
        func softmax(_ logits: [Double]) -> [Double] {
            let powers = logits.map { exp($0) }
            return powers.map { $0 / powers.reduce(0, +) }
        }
        return (0..<count).map { _ in
            let logits = (0..<5).map { _ in 1.5 * Double(random.normal()) }
            let truth = softmax(logits)
            var draw = Double(random.uniform())
            var right = 0
            while right < 4, draw >= truth[right] {
                draw -= truth[right]
                right += 1
            }
            let shown = softmax(logits.map { $0 * sharpness })
            let best = shown.indices.max { shown[$0] < shown[$1] }!
            return ScoredAnswer(
                confidence: shown[best], probabilities: shown.map { Float($0) }, right: right, isRight: best == right)
        }
    }

    @Test(arguments: [0.5, 1, 3])
    func theTemperatureIsFound(sharpness: Double) {
        let fitted = TemperatureScaling.fit(rows(20_000, sharpness: sharpness))
        #expect(abs(fitted / sharpness - 1) < 0.05, "\(fitted)")
        // No temperature near it is better.
        let sample = rows(500, sharpness: sharpness, seed: 9)
        let best = TemperatureScaling.fit(sample)
        let loss = TemperatureScaling.logLoss(sample, temperature: best)
        for factor in [0.5, 0.9, 0.99, 1.01, 1.1, 2] {
            #expect(TemperatureScaling.logLoss(sample, temperature: best * factor) >= loss - 1e-9)
        }
    }

    @Test func aTemperatureChangesNoAnswer() {
        let p: [Float] = [0.7, 0.2, 0.1]
        let warm = (0..<3).map { TemperatureScaling.probability($0, of: p, temperature: 2) }
        #expect(abs(warm.reduce(0, +) - 1) < 1e-12 && warm[0] > warm[1] && warm[1] > warm[2])
        // √0.7 : √0.2 : √0.1
        #expect(abs(warm[0] - 0.7.squareRoot() / (0.7.squareRoot() + 0.2.squareRoot() + 0.1.squareRoot())) < 1e-6)
        #expect(abs(TemperatureScaling.probability(0, of: p, temperature: 1) - 0.7) < 1e-6)
        #expect(abs(TemperatureScaling.probability(0.8, temperature: 1) - 0.8) < 1e-12)
        // Logit ln 4 halved is ln 2.
        #expect(abs(TemperatureScaling.probability(0.8, temperature: 2) - 2.0 / 3) < 1e-12)
        for p in [0, 1e-30, 1, .leastNonzeroMagnitude] {
            #expect(TemperatureScaling.probability(p, temperature: 0.05).isFinite)
        }
    }

    /// The rows 0.1 right, 0.2 wrong, 0.3 right …: violators are pooled, as worked out by hand.
    @Test func violatorsArePooled() {
        let right = [true, false, true, true, false, true]
        let fitted = IsotonicRegression(right.enumerated().map { (Double($0 + 1) / 10, $1) })
        // Four right count 5/6, two wrong 1/4: blocks (1, 2), (3, 4, 5), (6).
        #expect(fitted.places == [0.1, 0.2, 0.3, 0.5, 0.6])
        let low = (5.0 / 6 + 1.0 / 4) / 2
        let middle = (10.0 / 6 + 1.0 / 4) / 3
        for (value, expected) in zip(fitted.values, [low, low, middle, middle, 5.0 / 6]) {
            #expect(abs(value - expected) < 1e-12)
        }
        #expect(fitted.isValid)
        #expect(abs(fitted.value(0.25) - (low + middle) / 2) < 1e-12)
        #expect(fitted.value(0) == fitted.values[0] && fitted.value(1) == fitted.values[4])
    }

    /// No increasing function on a grid is nearer than the fitted one.
    @Test func noIncreasingFunctionIsNearer() {
        var random = RandomNumbers(seed: 4)
        for _ in 0..<30 {
            let rows = (0..<6).map { (confidence: Double($0), isRight: random.uniform() < 0.5) }
            let fitted = IsotonicRegression(rows)
            let hits = rows.count { $0.isRight }
            let targets = rows.map { $0.isRight ? Double(hits + 1) / Double(hits + 2) : 1 / Double(8 - hits) }
            func distance(_ values: [Double]) -> Double {
                zip(values, targets).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            }
            let own = distance(rows.map { fitted.value($0.confidence) })
            func search(_ values: [Double]) {
                if values.count == 6 {
                    #expect(distance(values) >= own - 1e-9)
                    return
                }
                for step in stride(from: values.last ?? 0, through: 1, by: 0.125) { search(values + [step]) }
            }
            search([])
        }
    }

    @Test func reliabilityIsMeasured() {
        // Bin 13 of 15 (0.8 ..< 0.8667): four answers, three right. Bin 1: one answer, wrong. 1 belongs to the last bin.
        let measured = Reliability([0.81, 0.81, 0.83, 0.83, 0.03, 1], right: [true, true, true, false, false, true])
        #expect(measured.bins.count == 15)
        #expect(measured.bins[12].count == 4 && measured.bins[0].count == 1 && measured.bins[14].count == 1)
        #expect(abs(measured.bins[12].confidence - 0.82) < 1e-12 && measured.bins[12].accuracy == 0.75)
        #expect(abs(measured.expectedCalibrationError - (4 * 0.07 + 0.03) / 6) < 1e-12)
        let squares = 2 * 0.19 * 0.19 + 0.17 * 0.17 + 0.83 * 0.83 + 0.03 * 0.03
        #expect(abs(measured.brierScore - squares / 6) < 1e-12)
        let empty = Reliability([], right: [])
        #expect(empty.expectedCalibrationError == 0 && empty.brierScore == 0)
        #expect(Reliability([.nan, 2], right: [true, true]).brierScore == 0.5)
    }

    @Test func tooSureAModelIsCooled() {
        let train = rows(1000, sharpness: 3)
        let calibration = Calibration(fitting: train)
        #expect(calibration.method != .none && abs(calibration.temperature - 3) < 0.5)
        let test = rows(4000, sharpness: 3, seed: 2)
        let right = test.map(\.isRight)
        let before = Reliability(test.map(\.confidence), right: right)
        let after = Reliability(
            test.map { calibration.confidence($0.confidence, probabilities: $0.probabilities) }, right: right)
        #expect(before.expectedCalibrationError > 0.15 && after.expectedCalibrationError < 0.04)
        #expect(after.brierScore < before.brierScore && after.logLoss < before.logLoss)
        // A model whose probabilities are right is left alone; so is one of which too little is known.
        #expect(Calibration(fitting: rows(2000, sharpness: 1)).method == .none)
        #expect(Calibration(fitting: rows(19, sharpness: 3)).method == .none)
    }

    @Test func isotonicComesInWhereATemperatureDoesNotHelp() {
        // Right in 1 of 10 below 0.5 and in 9 of 10 above it: no temperature makes that step.
        let rows = (0..<1000).map { row in
            let confidence = 0.3 + 0.4 * Double(row) / 1000
            return ScoredAnswer(confidence: confidence, isRight: row < 500 ? row % 10 == 0 : row % 10 < 9)
        }
        let calibration = Calibration(fitting: rows)
        #expect(calibration.method == .isotonic)
        #expect(abs(calibration.confidence(0.35) - 0.1) < 0.06 && abs(calibration.confidence(0.65) - 0.9) < 0.06)
        var last = 0.0
        for step in 0...1000 {
            let value = calibration.confidence(Double(step) / 1000)
            #expect(value >= last && value <= 1)
            last = value
        }
    }

    @Test func rowsThatWereLearntMakeNothingSurer() {
        let learnt = (0..<200).map { ScoredAnswer(confidence: 0.6 + 0.001 * Double($0), isRight: true) }
        #expect(Calibration(fitting: learnt).temperature < 1)
        let calibration = Calibration(fitting: learnt, wereLearnt: true)
        #expect(calibration.temperature >= 1 && calibration.isotonic == nil && calibration.source == "training")
        #expect(calibration.confidence(0.7) <= 0.7 + 1e-3)
    }

    @Test func aPackageKeepsItAndBadOnesAreNamed() throws {
        let folder = try TemporaryFolder()
        #expect(try Calibration(package: folder.url) == nil)
        let calibration = Calibration(fitting: rows(1000, sharpness: 3))
        try JSONEncoder().encode(calibration).write(to: folder.url.appendingPathComponent(Calibration.file))
        #expect(try Calibration(package: folder.url) == calibration)
        for text in [
            "{}", "x", #"{"version":1,"method":"temperature","temperature":0,"rows":1,"source":"validation"}"#,
            #"{"version":1,"method":"isotonic","temperature":1,"rows":1,"source":"v","isotonic":{"places":[2,1],"values":[0,1]}}"#,
        ] {
            try folder.write(text, Calibration.file)
            let error = #expect(throws: TaskError.self) { try Calibration(package: folder.url) }
            #expect(error?.file?.hasSuffix(Calibration.file) == true)
        }
    }
}
