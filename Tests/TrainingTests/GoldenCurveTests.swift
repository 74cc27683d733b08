import LanguageModels
import Tensors
import Testing
import Training

/// Thirty updates of a tiny mixture of experts against the losses they once had.
///
/// Routing, losses, gradients, the optimiser and its schedule: whatever changes one of them bends the curve by more than
/// what instruction sets differ by.
struct GoldenCurveTests {
    /// Losses to the right tokens, in nats a target, one an update; the same within 1e-6 on AVX-512, AVX2 and scalar code.
    private static let curve: [Double] = [
        3.44018, 2.62507, 3.02817, 2.93524, 2.45192, 1.46370, 1.77370, 1.76221, 1.72422, 1.49466,
        1.26505, 1.00808, 1.32524, 0.79639, 1.13329, 0.85595, 0.71452, 0.94871, 0.58334, 0.77319,
        0.68518, 0.58127, 0.63988, 0.47519, 0.57068, 0.44445, 0.48314, 0.68023, 0.55254, 0.43592,
    ]

    @Test func thirtyUpdates() throws {
        let c = TinyDecoder.experts()
        var options = TrainingOptions()
        options.batch = 8
        options.epochs = 6
        options.rate = 4e-3
        let trainer = try Trainer(
            model: TinyDecoder.decoder(c, TinyDecoder.parameters(c)), data: TinyDecoder.copies(40), options: options)
        #expect(try trainer.run())
        let losses = trainer.record.points.map(\.answerLoss)
        try #require(losses.count == Self.curve.count)
        for (step, (loss, expected)) in zip(losses, Self.curve).enumerated() {
            #expect(abs(loss - expected) < 1e-4, "update \(step + 1): \(loss), expected \(expected)")
        }
    }
}
