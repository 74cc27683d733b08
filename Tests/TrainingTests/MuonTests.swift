import Foundation
import LanguageModels
import Tensors
import Testing
import Training

/// Muon against its definition in Float64.
struct MuonTests {
    private final class Stop: TrainingObserver {
        private let after: Int
        private var done = 0
        init(after: Int) { self.after = after }
        func didStep(_ step: Int, of steps: Int, record: TrainingRecord) { done += 1 }
        func shouldStop() -> Bool { done >= after }
    }

    /// A matrix of doubles, row-major.
    private struct Matrix {
        var rows: Int
        var columns: Int
        var values: [Double]

        var transposed: Matrix {
            Matrix(
                rows: columns, columns: rows,
                values: (0..<columns).flatMap { column in (0..<rows).map { values[$0 * columns + column] } })
        }

        func times(_ other: Matrix) -> Matrix {
            var result = [Double](repeating: 0, count: rows * other.columns)
            for i in 0..<rows {
                for k in 0..<columns {
                    for j in 0..<other.columns {
                        result[i * other.columns + j] += values[i * columns + k] * other.values[k * other.columns + j]
                    }
                }
            }
            return Matrix(rows: rows, columns: other.columns, values: result)
        }

        /// Σ factor · matrix.
        static func sum(_ parts: [(Double, Matrix)]) -> Matrix {
            var result = parts[0].1
            for index in result.values.indices {
                result.values[index] = parts.reduce(0) { $0 + $1.0 * $1.1.values[index] }
            }
            return result
        }

        /// Newton-Schulz as published: tall matrices transposed first.
        var orthogonal: Matrix {
            var x = rows > columns ? transposed : self
            let norm = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
            x = .sum([(1 / (norm + 1e-7), x)])
            for _ in 0..<5 {
                let gram = x.times(x.transposed)
                let polynomial = Matrix.sum([(-4.7750, gram), (2.0315, gram.times(gram))])
                x = .sum([(3.4445, x), (1, polynomial.times(x))])
            }
            return rows > columns ? x.transposed : x
        }
    }

    private let configuration = TinyDecoder.experts()

    private func drawGradients(_ parameters: Parameters, seed: UInt64) {
        var random = RandomNumbers(seed: seed)
        for index in 0..<parameters.trainedCount { parameters.gradients.base[index] = random.normal() }
    }

    @Test func itChangesTheBlocksMatricesOnly() {
        let names = TrainableDecoder.specifications(configuration).filter(Muon.covers).map(\.name)
        // Four of attention, three of each of four experts and the shared one, in two layers.
        #expect(names.count == 2 * (4 + 3 * 5))
        #expect(names.contains("model.layers.1.mlp.experts.3.down_proj.weight"))
        #expect(!names.contains { $0.contains("gate.weight") || $0.contains("norm") || $0.contains("embed") })
        let adapters = TrainableDecoder.specifications(TinyDecoder.dense(), adapterRank: 3)
        #expect(!adapters.contains { $0.trains && Muon.covers($0) })
    }

    @Test func fiveUpdatesAreTheirDefinition() {
        let parameters = TinyDecoder.parameters(configuration)
        let plain = TinyDecoder.parameters(configuration)
        let compute = Compute(pool: WorkerPool(threadCount: 2))
        let muon = Muon(parameters, decay: 0.1)
        let adamW = AdamW(plain, decay: 0.1)
        var weights: [String: Matrix] = [:]
        var momenta: [String: Matrix] = [:]
        for entry in parameters.entries where Muon.covers(entry.specification) {
            let shape = entry.specification.shape
            let name = entry.specification.name
            weights[name] = Matrix(
                rows: shape[0], columns: shape[1], values: parameters.array(name).map(Double.init))
            momenta[name] = Matrix(
                rows: shape[0], columns: shape[1], values: [Double](repeating: 0, count: shape[0] * shape[1]))
        }
        let rate = 0.01
        for step in 1...5 {
            drawGradients(parameters, seed: UInt64(step))
            drawGradients(plain, seed: UInt64(step))
            let norm = parameters.gradientNorm(compute: compute)
            for (name, weight) in weights {
                let pointer = parameters.gradient(name)!
                let gradient = Matrix(
                    rows: weight.rows, columns: weight.columns,
                    values: weight.values.indices.map { Double(pointer[$0]) / norm })
                momenta[name] = .sum([(0.95, momenta[name]!), (1, gradient)])
                let direction = Matrix.sum([(1, gradient), (0.95, momenta[name]!)]).orthogonal
                let size = 0.2 * Double(max(weight.rows, weight.columns)).squareRoot()
                weights[name] = .sum([(1 - rate * 0.1, weight), (-rate * size, direction)])
            }
            muon.update(rate: Float(rate), norm: norm, clip: 1, compute: compute)
            adamW.update(rate: Float(rate), norm: norm, clip: 1, compute: compute)
        }
        for entry in parameters.entries {
            let name = entry.specification.name
            let own = parameters.array(name)
            if let expected = weights[name] {
                let worst = zip(own, expected.values).map { abs(Double($0) - $1) }.max() ?? 1
                #expect(worst < 2e-5, "\(name) differs by \(worst)")
                #expect(zip(own, plain.array(name)).contains { abs($0 - $1) > 1e-3 })
            } else {
                #expect(own == plain.array(name), "\(name) is not AdamW's")
            }
        }
    }

    @Test func threadsDoNotChangeAnything() {
        func values(_ threads: Int) -> [Float] {
            let parameters = TinyDecoder.parameters(configuration)
            let compute = Compute(pool: WorkerPool(threadCount: threads))
            let muon = Muon(parameters, decay: 0.1)
            for step in 1...3 {
                drawGradients(parameters, seed: UInt64(step))
                muon.update(rate: 0.01, norm: 1, clip: 1, compute: compute)
            }
            return parameters.values.values
        }
        #expect(values(1) == values(3))
    }

    private func trainer(
        _ parameters: Parameters, _ optimizer: TrainingOptions.Optimizer, epochs: Double = 4, checkpoint: URL? = nil,
        observer: (any TrainingObserver)? = nil
    ) throws -> Trainer {
        var options = TrainingOptions()
        options.epochs = epochs
        options.batch = 8
        options.rate = 4e-3
        options.checkpointInterval = 3
        options.optimizer = optimizer
        return try Trainer(
            model: TinyDecoder.decoder(configuration, parameters), data: TinyDecoder.copies(40), options: options,
            checkpoint: checkpoint, key: "k", observer: observer)
    }

    @Test func itLearnsToCopyWithAdamWsRate() throws {
        let trainer = try trainer(TinyDecoder.parameters(configuration), .muon, epochs: 40)
        #expect(try trainer.run())
        #expect((trainer.record.points.last?.answerLoss ?? 9) < 0.1)
    }

    @Test func resumedIsUninterruptedBitForBit() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let whole = TinyDecoder.parameters(configuration)
        #expect(try trainer(whole, .muon).run())
        let checkpoint = folder.appendingPathComponent("state.bin")
        for stop in [2, 5] {
            let parameters = TinyDecoder.parameters(configuration)
            #expect(!(try trainer(parameters, .muon, checkpoint: checkpoint, observer: Stop(after: stop)).run()))
        }
        let resumed = TinyDecoder.parameters(configuration)
        #expect(try trainer(resumed, .muon, checkpoint: checkpoint).run())
        #expect(resumed.values.values == whole.values.values)
    }
}
