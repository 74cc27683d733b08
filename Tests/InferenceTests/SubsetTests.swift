import Foundation
import Inference
import LanguageModels
import Testing

/// Choosing among all subsets of a list of tokens.
struct SubsetTests {
    private let model: LanguageModel
    private static let members: [Int32] = [70, 65, 90, 80]
    private static let end: Int32 = 2

    init() throws { model = try TinyModels.model() }

    private func answers(_ requests: [GenerationRequest]) throws -> [GenerationResult] {
        try BatchEngine(
            model: model, configuration: .init(maximumSequences: 8, maximumBatchTokens: 64), pool: TinyModels.pool
        ).answer(requests)
    }

    private func request(_ prompt: Int, members: [Int32] = members, temperature: Float = 0) -> GenerationRequest {
        GenerationRequest(
            prompt: [Int32(40 + prompt % 50)], maximumTokens: 8, stopTokens: [Self.end],
            sampling: SamplingOptions(temperature: temperature, seed: UInt64(prompt)),
            choices: ChoiceTree(subsetsOf: members, end: Self.end), alternatives: 5)
    }

    @Test func answersAreSubsetsInTheOrderOfTheList() throws {
        let results = try answers((0..<200).map { request($0, temperature: 1.5) })
        for result in results {
            #expect(result.finish == .stop && result.tokens.last == Self.end)
            let places = result.tokens.dropLast().map { Self.members.firstIndex(of: $0) ?? -1 }
            #expect(!places.contains(-1) && zip(places, places.dropFirst()).allSatisfy { $0 < $1 }, "\(result.tokens)")
            // After the last member there is no choice left.
            let chosen = result.tokens.count - (places.last == Self.members.count - 1 ? 1 : 0)
            #expect(result.alternatives.count == chosen)
        }
        let kinds = Set(results.map(\.tokens))
        #expect(kinds.count >= 12 && kinds.contains([Self.end]) && kinds.contains(Self.members + [Self.end]))
    }

    /// What is drawn is as frequent as its probability, which is relative to what is allowed.
    @Test func probabilitiesAreThoseOfTheAllowed() throws {
        let drawn = try answers(
            (0..<2000).map { seed in
                var own = request(3, members: [70, 65], temperature: 1)
                own.sampling.seed = UInt64(seed)
                return own
            })
        var total = 0.0
        for (tokens, results) in Dictionary(grouping: drawn, by: \.tokens) {
            let probability = results[0].probability
            total += probability
            #expect(abs(Double(results.count) / 2000 - probability) < 0.05, "\(tokens)")
        }
        #expect(abs(total - 1) < 1e-3)
    }

    @Test func thousandsOfMembersTakeNoTime() throws {
        let members = (3..<260).map(Int32.init)
        let many = try answers([request(1, members: members)])[0]
        #expect(many.finish == .stop)
        let clock = ContinuousClock()
        let time = clock.measure {
            for _ in 0..<100 { _ = ChoiceTree(subsetsOf: (0..<50_000).map(Int32.init), end: 60_000) }
        }
        #expect(time < .seconds(2))
    }
}
