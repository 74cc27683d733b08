import Distillation
import Inference
import Testing

/// Several teachers that answer together.
struct TeacherEnsembleTests {
    private func answer(_ output: String, _ probabilities: [Float], confidence: Double) -> TaskAnswer {
        let ranked = probabilities.indices.sorted { probabilities[$0] > probabilities[$1] }
        return TaskAnswer(
            output: output, confidence: confidence, inputTokens: 3, outputTokens: 1, tokens: [Int32(ranked[0]), 9],
            alternatives: [
                TokenDistribution(
                    tokens: ranked.map(Int32.init), probabilities: ranked.map { probabilities[$0] }, tail: 0)
            ])
    }

    @Test func theLabelOfTheHighestMeanProbabilityWins() {
        // Two of three prefer a, but b has more of the probability.
        let mean = TeacherEnsemble.mean(
            [
                answer("a", [0.5, 0.4, 0.1], confidence: 0.5), answer("a", [0.5, 0.4, 0.1], confidence: 0.5),
                answer("b", [0.0, 1.0, 0.0], confidence: 1),
            ], names: [0: "a", 1: "b", 2: "c"])
        #expect(mean.output == "b")
        #expect(abs(mean.confidence - 0.6) < 1e-6)
        #expect(mean.tokens == [1, 9])
        #expect(mean.alternatives[0].tokens == [1, 0, 2])
        #expect(
            zip(mean.alternatives[0].probabilities, [0.6, 1 / 3, 0.2 / 3]).allSatisfy { abs($0 - Float($1)) < 1e-6 })
        // Each of them read the input.
        #expect(mean.inputTokens == 9 && mean.outputTokens == 3)
    }

    @Test func theTextWithMostOfTheProbabilityWins() {
        let votes = [("x", 0.5), ("y", 0.4), ("y", 0.45)].map { answer($0.0, [1], confidence: $0.1) }
        let majority = TeacherEnsemble.majority(votes)
        #expect(majority.output == "y")
        #expect(abs(majority.confidence - 0.85 / 3) < 1e-9)
        // Alone, a member's answer stands.
        #expect(TeacherEnsemble.majority([votes[0]]).confidence == 0.5)
    }
}
