import Distillation
import Foundation
import LanguageModels
import Tensors
import Testing
import Training

/// What makes rows to learn from out of the examples.
struct TeachingTests {
    private let parts = [
        "hose", "pump", "valve", "filter", "belt", "hub", "seal", "motor", "light", "switch", "tank",
        "wheel", "lamp", "horn", "mirror", "cable", "bolt", "tyre", "frame", "spring",
    ]

    private func notes() -> [Example] {
        parts.flatMap { part in
            ["front", "rear", "left", "spare", "inner", "outer", "upper", "lower", "small", "large"].map {
                Example(input: "repl \($0) \(part) 17", output: "replace \($0) \(part) <num>")
            }
        }
    }

    @Test func copiedWordsAreExchangedOnBothSides() throws {
        let substitution = try #require(
            SlotSubstitution(notes(), kind: .text, lowercases: false, words: ["kevlar", "rocket"]))
        var random = RandomNumbers(seed: 3)
        var seen: Set<String> = []
        for _ in 0..<200 {
            let row = try #require(
                substitution.vary(
                    Example(input: "repl rear hose 17", output: "replace rear hose <num>"), random: &random))
            let input = row.input.split(separator: " ").map(String.init)
            let output = row.output.split(separator: " ").map(String.init)
            // What is rewritten stays; what is copied is the same on both sides.
            #expect(input[0] == "repl" && output[0] == "replace")
            #expect(input[1] == output[1] && input[2] == output[2])
            #expect(input[3] == "17" && output[3] == "<num>")
            seen.formUnion(input)
        }
        #expect(seen.contains("kevlar") && seen.contains("rocket"))
    }

    @Test func keysAndChosenValuesOfJSONStay() throws {
        let rows = parts.flatMap { part in
            ["one", "two", "three"].map {
                Example(
                    input: "order \($0) \(part)s please", output: "{\"action\":\"order\",\"item\":\"\($0) \(part)s\"}")
            } + [Example(input: "I need \(part)s", output: "{\"action\":\"order\",\"item\":\"\(part)s\"}")]
        }
        let substitution = try #require(SlotSubstitution(rows, kind: .json, lowercases: false, words: ["kevlar"]))
        var random = RandomNumbers(seed: 4)
        for example in rows {
            guard let row = substitution.vary(example, random: &random) else { continue }
            // "order" is an answer without being copied in a quarter of the rows, so it is a choice.
            #expect(row.output.hasPrefix("{\"action\":\"order\",\"item\":\""))
            let item = row.output.dropFirst("{\"action\":\"order\",\"item\":\"".count).dropLast(2)
            #expect(row.input.contains(item))
        }
    }

    @Test func labelsAndTasksWithoutCopiesAreLeftAlone() {
        #expect(SlotSubstitution(notes(), kind: .label, lowercases: false, words: []) == nil)
        let opposites = notes().map { Example(input: $0.input, output: "yes") }
        #expect(SlotSubstitution(opposites, kind: .text, lowercases: false, words: []) == nil)
    }

    @Test func caseIsDroppedOnlyWhereWordsTellIt() {
        #expect(AnswerCase.followsFromWords(["replace the AFFF gauge", "check AFFF bottle"]))
        #expect(!AnswerCase.followsFromWords(["replace the May hose", "it may leak", "may be"]))
        #expect(!AnswerCase.followsFromWords(["REPLACE HOSE", "CHECK PUMP"]))
    }

    @Test func thePlanFillsItsBudgets() throws {
        let base = ModelConfiguration(
            family: .llama, vocabularySize: 4000, width: 576, layerCount: 30, headCount: 9, keyValueHeadCount: 3,
            headDimension: 64, feedForwardWidth: 1536, contextLength: 512)
        let layers = TrainingPlan.layers(of: base) { layers in
            var shape = base
            shape.layerCount = layers
            return shape
        }
        // 2.3 million for the vocabulary, 3.54 million a layer.
        #expect(layers == 4)
        let few = TrainingPlan.epochs(activeParameters: 18_000_000, tokensPerEpoch: 1000)
        let many = TrainingPlan.epochs(activeParameters: 18_000_000, tokensPerEpoch: 50_000_000)
        #expect(few == TrainingPlan.epochLimits.upperBound && many == TrainingPlan.epochLimits.lowerBound)
        let middle = TrainingPlan.epochs(activeParameters: 18_000_000, tokensPerEpoch: 400_000)
        #expect(abs(middle * 6 * 18e6 * 400_000 - TrainingPlan.operations) < 1e-3 * TrainingPlan.operations)
        #expect(TrainingPlan.adaptationEpochs(rows: 100, kind: .text) == 8)
        #expect(TrainingPlan.adaptationEpochs(rows: 5000, kind: .text) == 4)
        #expect(TrainingPlan.adaptationEpochs(rows: 50_000, kind: .text) == 3)
        #expect(TrainingPlan.adaptationEpochs(rows: 100, kind: .label) == 3)
        #expect(TrainingPlan.batch(rows: 1995, epochs: 2.8) == 16 && TrainingPlan.batch(rows: 9600, epochs: 10) == 32)
    }

    @Test func aTeacherAnswersWhatFitsTheTime() {
        // 10 rows a second: 18,000 in half an hour, 900 in the minute and a half for labels of a run of ten minutes.
        func plan(
            _ minutes: Double?, gold: Int, inputs: Int, validation: Int = 0, seconds: Double = 300
        ) -> [Int] {
            let plan = LabelPlan(
                minutes: minutes, answered: 3000, seconds: seconds, gold: gold, inputs: inputs, validation: validation)
            return [plan.gold, plan.inputs, plan.rest]
        }
        #expect(plan(nil, gold: 10_000, inputs: 5000) == [10_000, 5000, 3000])
        #expect(plan(nil, gold: 10_000, inputs: 5000, validation: 1000) == [10_000, 5000, 2000])
        #expect(plan(nil, gold: 10_000, inputs: 8000, validation: 1000) == [9000, 8000, 0])
        // Of too many of both there are half each.
        #expect(plan(nil, gold: 120_000, inputs: 50_000) == [9000, 9000, 0])
        #expect(plan(nil, gold: 120_000, inputs: 0) == [18_000, 0, 0])
        #expect(plan(nil, gold: 700, inputs: 50_000) == [700, 17_300, 0])
        #expect(plan(10, gold: 500, inputs: 5000) == [450, 450, 0])
        // A few of each at least.
        #expect(plan(10, gold: 1000, inputs: 1000, seconds: 1e9) == [200, 200, 0])
        #expect(plan(10, gold: 100, inputs: 50, validation: 1000) == [100, 50, 0])
        #expect(plan(nil, gold: 10, inputs: 1_000_000, seconds: 0) == [10, 1_000_000, 998_999_990])
    }

    @Test func aLinearModelVotesOnlyWhereItHelps() {
        let labels = ["pay", "card"]
        let train = (0..<60).map {
            Example(input: $0 % 2 == 0 ? "send money \($0)" : "lost plastic \($0)", output: labels[$0 % 2])
        }
        let held = (60..<80).map {
            Example(input: $0 % 2 == 0 ? "send money \($0)" : "lost plastic \($0)", output: labels[$0 % 2])
        }
        // A teacher that knows nothing, and one that is always right and sure.
        let useless = LabelVotes(
            labels: labels, train: train, validation: held.map { ($0, [0.5, 0.5]) }, seed: 1)
        #expect(useless.pool.weight > 0.5)
        #expect(useless.pooled("money please", with: [0.5, 0.5])[0] > 0.6)
        // All rows of the gold are judged, or some: by what is known of all.
        for rows in [train, Array(train.prefix(6))] {
            let gold = useless.pooled(rows, of: train, with: rows.map { _ in [0.5, 0.5] }, seed: 1)
            #expect(zip(rows, gold).allSatisfy { labels.firstIndex(of: $0.output)! == ($1[0] > $1[1] ? 0 : 1) })
            #expect(gold.allSatisfy { max($0[0], $0[1]) > 0.6 })
        }
        let sure = LabelVotes(
            labels: labels, train: train,
            validation: held.map { ($0, $0.output == "pay" ? [1, 0] : [0, 1]) }, seed: 1)
        #expect(sure.pool.weight < 0.01)
        #expect(abs(sure.pooled("money please", with: [0.2, 0.8])[1] - 0.8) < 0.01)
        // Nothing to judge by: the teacher's word stands.
        let blind = LabelVotes(labels: labels, train: train, validation: [], seed: 1)
        #expect(blind.pool == LogarithmicPool())
        #expect(blind.pooled("money please", with: [0.2, 0.8]) == [0.2, 0.8])
    }

    /// Labels drawn from a known weight.
    @Test(arguments: [0, 0.3, 1.5]) func aPoolFindsItsWeight(_ weight: Double) {
        var random = RandomNumbers(seed: 3)
        let rows = (0..<4000).map { _ in
            let powers = (0..<6).map { _ in exp(2 * random.normal()) }
            let row = LogarithmicPool.Row(
                powers.map { $0 / powers.reduce(0, +) }, (0..<6).map { _ in random.normal() })
            let chances = zip(row.probabilities, row.scores).map { Double($0) * exp(weight * Double($1)) }
            var rest = Double(random.uniform()) * chances.reduce(0, +)
            let right = chances.firstIndex {
                rest -= $0
                return rest < 0
            }
            return (row: row, right: right ?? 5)
        }
        let pool = LogarithmicPool(rows)
        #expect(pool.weight >= 0 && abs(pool.weight - weight) < 0.1, "\(pool)")
        #expect(abs(pool.probabilities(rows[0].row).reduce(0, +) - 1) < 1e-5)
        // One row moves it no further than its prior lets it, and never below nothing.
        #expect((0..<1).contains(LogarithmicPool([(.init([0.5, 0.5], [1, -1]), 0)]).weight))
        #expect(LogarithmicPool([(.init([1, 0], [1, -1]), 1)]) == LogarithmicPool())
    }

    /// Against the plain definition in double precision.
    @Test(arguments: [(3, 3), (40, 40), (300, 300), (300, 7), (300, 120)])
    func labelsSpreadToWhatIsMostLikeThem(rows: Int, sources: Int) {
        let labels = 5
        var random = RandomNumbers(seed: 4)
        let table = (0..<rows).flatMap { _ in
            let powers = (0..<labels).map { _ in exp(2 * random.normal()) }
            return powers.map { $0 / powers.reduce(0, +) }
        }
        let known = [2, 0]
        let spreading = LabelSpreading(
            table, labels: labels, sources: sources, compute: Compute(pool: WorkerPool(threadCount: 2)))
        let result = spreading.probabilities(share: 0.5, known: known)

        let features = (0..<rows).map { row in
            let logs = table[row * labels..<(row + 1) * labels].map { log(max(Double($0), 1e-5)) }
            let mean = logs.reduce(0, +) / Double(labels)
            let length = logs.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }.squareRoot()
            return logs.map { ($0 - mean) / length }
        }
        let start = (0..<rows).map { row in
            (0..<labels).map { label in
                row < known.count ? (label == known[row] ? 1 : 0) : Double(table[row * labels + label])
            }
        }
        var expected = start
        for _ in 0..<5 {
            let last = expected
            for row in known.count..<rows {
                let alike = (0..<sources).filter { $0 != row }
                    .map { other in (other, zip(features[row], features[other]).reduce(0) { $0 + $1.0 * $1.1 }) }
                    .sorted { ($1.1, $0.0) < ($0.1, $1.0) }.prefix(10)
                let sum = alike.reduce(0) { $0 + exp($1.1 / 0.05) }
                for label in 0..<labels {
                    let shared = alike.reduce(0) { $0 + exp($1.1 / 0.05) / sum * last[$1.0][label] }
                    expected[row][label] = 0.5 * start[row][label] + 0.5 * shared
                }
            }
        }
        for (place, value) in expected.flatMap({ $0 }).enumerated() {
            #expect(abs(value - Double(result[place])) < 1e-4, "row \(place / labels)")
        }
        #expect(spreading.probabilities(share: 0, known: []) == table)
    }
}
