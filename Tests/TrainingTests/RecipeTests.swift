import Foundation
import LanguageModels
import Tensors
import Testing
import Training

/// Schedules, averaged and best weights, micro-batches, label smoothing.
struct RecipeTests {
    private final class Stop: TrainingObserver {
        private let after: Int
        private var done = 0
        init(after: Int) { self.after = after }
        func didStep(_ step: Int, of steps: Int, record: TrainingRecord) { done += 1 }
        func shouldStop() -> Bool { done >= after }
    }

    private let configuration = TinyDecoder.experts()

    private func options(_ change: (inout TrainingOptions) -> Void) -> TrainingOptions {
        var options = TrainingOptions()
        options.epochs = 4
        options.batch = 8
        options.rate = 4e-3
        options.checkpointInterval = 3
        change(&options)
        return options
    }

    private func trainer(
        _ parameters: Parameters, _ options: TrainingOptions, validation: [TrainingSequence]? = nil,
        checkpoint: URL? = nil, observer: (any TrainingObserver)? = nil
    ) throws -> Trainer {
        try Trainer(
            model: TinyDecoder.decoder(configuration, parameters), data: TinyDecoder.copies(40),
            validation: validation ?? TinyDecoder.copies(8, seed: 77), options: options, checkpoint: checkpoint,
            key: "k", observer: observer)
    }

    private func parameters() -> Parameters { TinyDecoder.parameters(configuration) }

    /// Kills a run at several places and compares it with one that was left alone.
    ///
    /// - Returns: the record of the latter.
    @discardableResult
    private func checkResuming(
        _ options: TrainingOptions, validation: [TrainingSequence]? = nil, stops: [Int] = [2, 5, 9]
    ) throws -> TrainingRecord {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let whole = parameters()
        let uninterrupted = try trainer(whole, options, validation: validation)
        #expect(try uninterrupted.run())
        let checkpoint = folder.appendingPathComponent("state.bin")
        for stop in stops {
            let part = try trainer(
                parameters(), options, validation: validation, checkpoint: checkpoint, observer: Stop(after: stop))
            #expect(!(try part.run()))
        }
        let resumed = parameters()
        let last = try trainer(resumed, options, validation: validation, checkpoint: checkpoint)
        #expect(try last.run())
        #expect(resumed.values.values == whole.values.values)
        #expect(last.record.validations == uninterrupted.record.validations)
        #expect(last.record.keptStep == uninterrupted.record.keptStep)
        return uninterrupted.record
    }

    @Test func stableScheduleDecaysBySquareRoot() {
        let schedule = WarmupStableDecaySchedule(peak: 2, warmup: 10, steps: 200, decay: 100, floor: 0.1)
        #expect(schedule.rate(0) == 0.2)
        #expect(schedule.rate(9) == 2)
        #expect(schedule.rate(100) == 2)
        #expect(abs(schedule.rate(125) - 2 * (0.1 + 0.9 * 0.5)) < 1e-6)
        #expect(abs(schedule.rate(181) - 2 * (0.1 + 0.9 * 0.1)) < 1e-6)
        #expect(abs(schedule.rate(200) - 0.2) < 1e-6)
        // Never into the warm-up.
        #expect(WarmupStableDecaySchedule(peak: 1, warmup: 4, steps: 10, decay: 9).rate(3) == 1)
    }

    @Test func theRunFollowsItsSchedule() throws {
        let trainer = try trainer(parameters(), options { $0.schedule = .wsd })
        #expect(try trainer.run())
        let rates = trainer.record.points.map(\.rate)
        #expect(rates[1..<17].allSatisfy { $0 == 4e-3 })
        // Four updates of decay, from their first on.
        #expect(abs(rates[17] - 4e-3 * (0.02 + 0.98 * 0.5)) < 1e-8)
    }

    @Test func uniformAverageIsTheMeanOfTheLastUpdates() throws {
        let plain = parameters()
        let reference = try trainer(plain, options { _ in })
        var sum = [Double](repeating: 0, count: plain.trainedCount)
        for step in 1...20 {
            try reference.step()
            guard step > 15 else { continue }
            for (index, value) in plain.values.values.enumerated() { sum[index] += Double(value) / 5 }
        }
        let averaged = parameters()
        let trainer = try trainer(
            averaged,
            options {
                $0.averaging = .uniform
                $0.averagingShare = 0.25
            })
        #expect(try trainer.run())
        let worst = zip(averaged.values.values, sum).map { abs(Double($0) - $1) }.max() ?? 1
        #expect(worst < 1e-6)
        #expect(averaged.values.values != plain.values.values)
    }

    @Test func exponentialAverageFollowsItsDefinition() throws {
        let plain = parameters()
        let reference = try trainer(plain, options { _ in })
        var mean = [Double]()
        for step in 1...20 {
            try reference.step()
            guard step > 10 else { continue }
            let now = plain.values.values.map(Double.init)
            mean = mean.isEmpty ? now : zip(mean, now).map { 0.75 * $0 + 0.25 * $1 }
        }
        let averaged = parameters()
        let trainer = try trainer(
            averaged,
            options {
                $0.averaging = .exponential
                $0.averagingShare = 0.5
                $0.averagingMemory = 0.75
            })
        #expect(try trainer.run())
        #expect(zip(averaged.values.values, mean).allSatisfy { abs(Double($0) - $1) < 1e-6 })
    }

    @Test func averagingIsResumedBitForBit() throws {
        try checkResuming(
            options {
                $0.averaging = .uniform
                $0.averagingShare = 0.4
            })
    }

    /// Validation that contradicts what is learnt: its loss rises.
    private var contrary: [TrainingSequence] {
        TinyDecoder.copies(8, seed: 77).map { sequence in
            var sequence = sequence
            sequence.answers = sequence.answers.map { $0 + 20 }
            return sequence
        }
    }

    @Test func trainingEndsWhenValidationGetsNoBetter() throws {
        let chosen = options {
            $0.epochs = 40
            $0.validationInterval = 5
            $0.patience = 3
        }
        let stopped = parameters()
        let trainer = try trainer(stopped, chosen, validation: contrary)
        #expect(try trainer.run())
        let record = trainer.record
        let best = try #require(record.validations.min { $0.answerLoss < $1.answerLoss })
        #expect(record.endedEarly)
        #expect(record.steps == best.step + 15)
        #expect(record.keptStep == best.step)
        #expect(record.expertLoads.count == 2)
        #expect(record.points.last?.step == record.steps)
        // The weights are those after the best validation's update.
        let plain = parameters()
        let reference = try self.trainer(plain, chosen, validation: contrary)
        for _ in 0..<best.step { try reference.step() }
        #expect(stopped.values.values == plain.values.values)
    }

    @Test func earlyStoppingIsResumedBitForBit() throws {
        // The second kill comes between the best validation and the end.
        let record = try checkResuming(
            options {
                $0.validationInterval = 2
                $0.patience = 3
            }, validation: contrary, stops: [3, 3])
        let kept = try #require(record.keptStep)
        #expect(record.endedEarly && kept < 6 && record.steps > 6)
    }

    @Test func microBatchesAddUpToTheBatch() throws {
        func gradients(_ micro: Int) throws -> (gradients: [Float], record: TrainingRecord) {
            let parameters = parameters()
            let trainer = try trainer(
                parameters,
                options {
                    $0.microBatch = micro
                    $0.balance = 0
                    $0.z = 0.1
                })
            try trainer.step()
            return (parameters.gradients.values, trainer.record)
        }
        let whole = try gradients(0)
        for micro in [1, 3, 8, 100] {
            let parts = try gradients(micro)
            let worst = zip(whole.gradients, parts.gradients).map { abs($0 - $1) }.max() ?? 1
            #expect(worst < 2e-6, "micro-batches of \(micro) differ by \(worst)")
            #expect(abs(parts.record.points[0].loss - whole.record.points[0].loss) < 1e-5)
            #expect(parts.record.tokens == whole.record.tokens)
            #expect(parts.record.points[0].experts?.maximumShare == whole.record.points[0].experts?.maximumShare)
        }
        #expect(whole.gradients.contains { abs($0) > 1e-2 })
    }

    @Test func labelSmoothingIsItsDefinition() {
        var configuration = configuration
        configuration.tiedEmbeddings = false
        let parameters = TinyDecoder.parameters(configuration)
        let decoder = TinyDecoder.decoder(configuration, parameters)
        decoder.balanceCoefficient = 0
        decoder.zCoefficient = 0
        decoder.labelSmoothing = 0.2
        let target = SoftTarget(tokens: [4, 7], probabilities: [0.6, 0.1], tail: 0.3)
        let batch = TrainingBatch([TrainingSequence(tokens: [1, 5, 9], targets: [target], answers: [4])])
        let logits = decoder.rowLogits(batch).map(Double.init)
        let sum = log(logits.reduce(0) { $0 + exp($1) })
        let p = logits.map { exp($0 - sum) }
        let plain = -0.6 * log(p[4]) - 0.1 * log(p[7]) - 0.3 * log(1 - p[4] - p[7])
        let uniform = -p.map { log($0) }.reduce(0, +) / Double(p.count)
        parameters.zeroGradients()
        let result = decoder.run(batch, backward: true)
        #expect(abs(result.loss.loss - (0.8 * plain + 0.2 * uniform)) < 1e-4)
        // The head's gradient against differences of the loss.
        let entry = parameters.entry("lm_head.weight")
        let gradients = parameters.gradients.values
        for token in [4, 7, 30] {
            let place = entry.offset + token * configuration.width + 5
            let value = parameters.values.base[place]
            func loss(_ new: Float) -> Double {
                parameters.values.base[place] = new
                return decoder.run(batch, backward: false).loss.loss
            }
            let difference = (loss(value + 1e-2) - loss(value - 1e-2)) / 2e-2
            parameters.values.base[place] = value
            #expect(abs(difference - Double(gradients[place])) < 1e-3 + 0.02 * abs(difference))
        }
    }
}
