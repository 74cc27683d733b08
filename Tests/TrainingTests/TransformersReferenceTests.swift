import Foundation
import LanguageModels
import Tensors
import Testing
import Training

/// Our decoder, its gradients and ten updates against PyTorch's (Tests/Fixtures/training_reference.py).
struct TransformersReferenceTests {
    /// A model of the reference: with experts and tied embeddings, or neither.
    enum Model: String, CaseIterable {
        case experts = "qwen2_moe.json"
        case dense = "llama.json"

        var configuration: ModelConfiguration {
            var c = self == .experts ? TinyDecoder.experts() : TinyDecoder.dense()
            c.tiedEmbeddings = self == .experts
            return c
        }
    }

    private struct Reference: Decodable {
        struct Gradient: Decodable {
            var norm: Double
            var first: [Float]
        }
        var tokens: [[Int32]]
        var logits: [Float]
        var loss: Double
        var gradients: [String: Gradient]
        var losses: [Double]
    }

    private func reference(_ model: Model) throws -> Reference {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(model.rawValue)
        return try JSONDecoder().decode(Reference.self, from: Data(contentsOf: file))
    }

    private func batch(_ reference: Reference) -> TrainingBatch {
        TrainingBatch(
            reference.tokens.map { row in
                let answers = Array(row.dropFirst())
                return TrainingSequence(
                    tokens: Array(row.dropLast()), targets: answers.map { .only($0) }, answers: answers)
            })
    }

    private func parameters(_ configuration: ModelConfiguration) -> Parameters {
        let parameters = Parameters(TrainableDecoder.specifications(configuration))
        for (t, (name, shape)) in configuration.tensors.enumerated() {
            let isNorm = name.hasSuffix("norm.weight")
            parameters.set(
                name,
                (0..<shape.reduce(1, *)).map { i in
                    let value = 0.2 * sin(1.7 * Double(t + 1) + 0.61 * Double(i))
                    return Float(isNorm ? 1 + value / 2 : value)
                })
        }
        return parameters
    }

    private func decoder(_ configuration: ModelConfiguration, _ parameters: Parameters) -> TrainableDecoder {
        let decoder = TinyDecoder.decoder(configuration, parameters)
        decoder.balanceCoefficient = 0
        decoder.zCoefficient = 0
        return decoder
    }

    @Test(arguments: Model.allCases) func logitsLossAndGradients(_ model: Model) throws {
        let reference = try reference(model)
        let batch = batch(reference)
        let parameters = parameters(model.configuration)
        let decoder = decoder(model.configuration, parameters)
        let logits = decoder.rowLogits(batch)
        #expect(logits.count == reference.logits.count)
        let worst = zip(logits, reference.logits).map { abs($0 - $1) }.max() ?? 1
        #expect(worst < 1e-4, "logits differ by \(worst)")
        let result = decoder.run(batch, backward: true)
        #expect(abs(result.loss.loss / result.loss.weight - reference.loss) < 1e-5)
        #expect(reference.gradients.count == parameters.entries.count)
        for (name, gradient) in reference.gradients {
            let count = parameters.entry(name).specification.count
            let own = Array(UnsafeBufferPointer(start: parameters.gradient(name)!, count: count))
            let norm = own.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            #expect(abs(norm - gradient.norm) < 1e-3 * gradient.norm + 1e-7, "\(name)")
            for (a, b) in zip(own, gradient.first) {
                #expect(abs(a - b) < Float(1e-3 * gradient.norm) + 1e-7, "\(name): \(a), \(b)")
            }
        }
    }

    @Test(arguments: Model.allCases) func tenUpdates(_ model: Model) throws {
        let reference = try reference(model)
        let batch = batch(reference)
        let parameters = parameters(model.configuration)
        let decoder = decoder(model.configuration, parameters)
        #expect(reference.losses.count == 10)
        let optimizer = AdamW(parameters, decay: 0.05)
        for expected in reference.losses {
            parameters.zeroGradients()
            let result = decoder.run(batch, backward: true)
            #expect(abs(result.loss.loss / result.loss.weight - expected) < 1e-3)
            optimizer.update(
                rate: 5e-3, norm: parameters.gradientNorm(compute: decoder.compute), clip: 1, compute: decoder.compute)
        }
    }
}
