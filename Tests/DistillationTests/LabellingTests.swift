import Distillation
import Foundation
import Tensors
import Testing

@Suite struct InputSelectionTests {
    private static let things = [
        "ladder", "barrel", "statue", "engine", "mirror", "carpet", "bottle", "anchor", "pillow", "kettle", "shovel",
        "basket", "candle", "hammer", "saddle", "teapot",
    ]

    /// Four frequent labels, of which the gold has examples, and twelve rare ones, of which it has none.
    private static func data(seed: UInt64) -> (gold: [Example], inputs: [Example], test: [Example]) {
        var random = RandomNumbers(seed: seed)
        let places = ["in the hall", "at the gate", "by the river", "on the roof", "near the bridge", "in the yard"]
        let verbs = ["please look at", "who moved", "i want to sell", "can you repair", "somebody broke", "where is"]
        func row(_ label: Int) -> Example {
            Example(
                input:
                    "\(verbs[random.below(6)]) the \(things[label]) \(places[random.below(6)]) \(random.below(10_000))",
                output: "label \(label)")
        }
        let gold = (0..<12).map { row($0 % 4) }
        let inputs = (0..<400).map { _ in
            random.below(100) < 94 ? row(random.below(4)) : row(4 + random.below(12))
        }
        let test = (0..<160).map { row($0 % 16) }
        return (gold, inputs, test)
    }

    private static func accuracy(_ rows: [Example], on test: [Example]) -> Double {
        let model = LinearClassifier(rows, seed: 1)
        return Double(test.count { model.answer($0.input) == $0.output }) / Double(test.count)
    }

    @Test func rareKindsAreFoundWithFewerLabelsThanAtRandom() {
        var useful = 0.0
        var random = 0.0
        for seed in 1...4 as ClosedRange<UInt64> {
            let (gold, inputs, test) = Self.data(seed: seed)
            let texts = inputs.map(\.input)
            let chosen = InputSelection.choose(
                texts, gold: gold.map(\.input), uncertainty: nil, count: 32, seed: seed)
            #expect(chosen.count == 32 && Set(chosen).count == 32)
            #expect(
                chosen
                    == InputSelection.choose(texts, gold: gold.map(\.input), uncertainty: nil, count: 32, seed: seed))
            useful += Self.accuracy(gold + chosen.map { inputs[$0] }, on: test) / 4
            var numbers = RandomNumbers(seed: seed)
            let drawn = inputs.shuffled(using: &numbers).prefix(32)
            random += Self.accuracy(gold + drawn, on: test) / 4
        }
        #expect(useful > random + 0.15, "useful \(useful), random \(random)")
    }

    @Test func whatAModelIsUnsureOfComesFirst() {
        let texts = (0..<40).map { "the same words over and over \($0 % 2 == 0 ? "here" : "there")" }
        let uncertainty = (0..<40).map { $0 == 31 ? 1.0 : $0 == 12 ? 0.9 : 0 }
        let chosen = InputSelection.choose(texts, gold: ["quite other"], uncertainty: uncertainty, count: 40, seed: 3)
        #expect(Set(chosen) == Set(0..<40) && Set(chosen.prefix(4)).isSuperset(of: [31, 12]), "\(chosen)")
        #expect(InputSelection.choose([], gold: [], uncertainty: nil, count: 5, seed: 1).isEmpty)
    }
}

@Suite struct LabelCurveTests {
    private func points(_ error: (Double) -> Double) -> [LabelCurve.Point] {
        [0, 100, 200, 400, 700, 1000].map { (labels: Int) -> LabelCurve.Point in
            let rows = labels + 100
            return LabelCurve.Point(labels: labels, rows: rows, accuracy: 1 - error(Double(rows)))
        }
    }

    @Test func aPowerLawIsFoundAgain() throws {
        let points = points { 3 * pow($0, -0.5) }
        let curve = try #require(LabelCurve(points: points, validationRows: 1_000_000))
        #expect(abs(curve.exponent! - 0.5) < 0.001 && curve.deviation! < 0.001 && !curve.isFlat)
        #expect(abs(curve.accuracyOfTwiceAsMany! - (1 - 3 * pow(2100, -0.5))) < 1e-4)
        #expect(curve.sentence.hasPrefix("twice as many labels would bring"))
    }

    @Test func aFlatCurveIsCalledFlat() throws {
        var step = 0.0
        let points = points { _ in
            step += 1
            return 0.1 + 0.004 * (step.truncatingRemainder(dividingBy: 2) - 0.5)
        }
        let curve = try #require(LabelCurve(points: points, validationRows: 500))
        #expect(curve.isFlat && curve.sentence.hasPrefix("more labels would add next to nothing"))
    }

    @Test func realLabelsMakeACurve() throws {
        let words = ["red", "blue", "green", "white"]
        let rows = (0..<240).map { Example(input: "box \($0) is \(words[$0 % 4])", output: words[$0 % 4]) }
        let curve = try #require(
            LabelCurve(
                gold: Array(rows.prefix(3)), labelled: Array(rows.dropFirst(3).prefix(200)),
                validation: Array(rows.suffix(37)), seed: 1))
        #expect(curve.points.map(\.labels) == [0, 20, 40, 80, 140, 200])
        #expect(curve.points[0].accuracy < 0.8 && curve.points.last!.accuracy > 0.95)
        #expect(LabelCurve(gold: rows, labelled: [], validation: rows, seed: 1) == nil)
    }
}
