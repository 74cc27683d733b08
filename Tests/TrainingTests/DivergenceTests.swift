import Foundation
import Tensors
import Testing
import Training

/// Losses that match a teacher's distributions: against PyTorch, and gradients against finite differences in Double.
struct DivergenceTests {
    private struct Case: Decodable {
        var kind: Divergence.Kind
        var beta, temperature: Double
        var tokens: [Int32]
        var probabilities: [Double]
        var loss: Double
        var gradient: [Double]
    }

    private static let vocabulary = 16

    /// The loss and its gradient by the logits, which are the hidden state itself: the head is the identity.
    private func run(_ logits: [Float], _ target: SoftTarget, _ divergence: Divergence, smoothing: Float = 0) -> (
        loss: Double, gradient: [Float]
    ) {
        let v = Self.vocabulary
        let head = FloatBuffer((0..<v * v).map { $0 % (v + 1) == 0 ? 1 : 0 })
        let hidden = FloatBuffer(logits)
        let gradient = FloatBuffer(count: v)
        let batch = TrainingBatch([TrainingSequence(tokens: [0], targets: [target], answers: [3])])
        let result = SoftTargetLoss.run(
            hidden: hidden.base, rows: 1, width: v, head: head.base, headGradient: nil, vocabulary: v, batch: batch,
            scale: 1, smoothing: smoothing, divergence: divergence, dHidden: gradient.base, logits: ScratchBuffer(),
            compute: Compute(pool: WorkerPool(threadCount: 1)))
        return (result.loss, gradient.values)
    }

    private var logits: [Double] { (0..<Self.vocabulary).map { 2 * sin(1.3 * Double($0) + 0.4) } }

    @Test func lossAndGradientArePyTorchs() throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "divergences.json")
        let cases = try JSONDecoder().decode([Case].self, from: Data(contentsOf: file))
        #expect(cases.count == 20 && Set(cases.map(\.kind)).count == 4)
        for own in cases {
            let teacher = SoftTarget(
                tokens: own.tokens, probabilities: own.probabilities.map { Float($0) },
                tail: Float(max(0, 1 - own.probabilities.reduce(0, +))))
            let divergence = Divergence(own.kind, beta: own.beta, temperature: own.temperature)
            let (loss, gradient) = run(
                logits.map { Float($0) }, SoftTarget.only(3).beside(teacher, weight: 1), divergence)
            #expect(abs(loss - own.loss) < 2e-6 * max(1, own.loss), "\(own.kind) at \(own.temperature)")
            let worst = zip(gradient, own.gradient).map { abs(Double($0) - $1) }.max() ?? 1
            #expect(
                worst < 1e-6, "\(own.kind) β \(own.beta) at \(own.temperature), \(own.tokens.count) named: \(worst)")
        }
    }

    @Test(arguments: Divergence.Kind.allCases, [0.7, 1, 3])
    func gradientIsTheDifferences(kind: Divergence.Kind, temperature: Double) {
        let divergence = Divergence(kind, beta: 0.3, temperature: temperature)
        let teacher = [0.5, 0.05, 0.2, 0.25]
        let z = [0.3, -1.2, 0.9, 0.1]
        func loss(_ z: [Double]) -> (Double, [Double]) {
            let lse = log(z.reduce(0) { $0 + exp($1) })
            return divergence.evaluate(teacher: teacher, student: z.map { $0 - lse })
        }
        let gradient = loss(z).1
        for place in z.indices {
            var above = z, below = z
            above[place] += 1e-5
            below[place] -= 1e-5
            let difference = (loss(above).0 - loss(below).0) / 2e-5
            #expect(abs(difference - gradient[place]) < 1e-8)
        }
        #expect(abs(gradient.reduce(0, +)) < 1e-12)
        // A student that says what its teacher says has nothing to learn.
        let (same, none) = divergence.evaluate(teacher: teacher, student: teacher.map { log($0) })
        #expect(none.allSatisfy { abs($0) < 1e-12 })
        if kind != .crossEntropy { #expect(abs(same) < 1e-12) }
    }

    /// Answer, teacher and smoothing together, by differences; and forward KL beside the target is the mixture.
    @Test func partsAddUp() {
        let teacher = SoftTarget(tokens: [3, 1, 9], probabilities: [0.3, 0.4, 0.1], tail: 0.2)
        let target = SoftTarget(tokens: [3, 5], probabilities: [0.8, 0.1], tail: 0.1)
        let z = logits.map { Float($0) }
        let apart = target.beside(teacher, weight: 0.4)
        for kind in Divergence.Kind.allCases {
            let divergence = Divergence(kind, temperature: 2)
            let gradient = run(z, apart, divergence, smoothing: 0.1).gradient
            for place in z.indices {
                var above = z, below = z
                above[place] += 1e-2
                below[place] -= 1e-2
                let difference =
                    (run(above, apart, divergence, smoothing: 0.1).loss
                        - run(below, apart, divergence, smoothing: 0.1).loss) / Double(above[place] - below[place])
                #expect(abs(difference - Double(gradient[place])) < 1e-4, "\(kind), token \(place)")
            }
        }
        // Where the answer is one token that the teacher names, too.
        let mixed = run(z, SoftTarget.only(3).mixed(with: teacher, weight: 0.4), Divergence(.forwardKL)).gradient
        let beside = run(z, SoftTarget.only(3).beside(teacher, weight: 0.4), Divergence(.forwardKL)).gradient
        #expect(zip(mixed, beside).allSatisfy { abs($0 - $1) < 1e-6 })
        #expect(mixed.contains { abs($0) > 0.1 })
    }

    /// A teacher that gives nothing to what the student believes in costs much in reverse, but not without end.
    @Test func reverseIsFiniteForATeacherThatIsSure() {
        let divergence = Divergence(.reverseKL)
        let (loss, gradient) = run(
            logits.map { Float($0) }, SoftTarget.only(3).beside(.only(3), weight: 1), divergence)
        #expect(loss > 5 && loss < 14)
        #expect(gradient.allSatisfy(\.isFinite) && gradient[3] < -0.01)
    }
}
