package import Foundation
internal import Tensors

/// Trains a decoder on sequences: batches in a seeded order, an optimiser on a schedule,
/// checkpoints, a record.
///
/// The same data, options and key give the same weights bit for bit on the same machine, and a run that was
/// killed and resumed from its checkpoint gives the weights of one that was not.
package final class Trainer {
    /// Another form of sequence `index` in pass `epoch` (a new cut of its words, say); the same for the same numbers.
    package typealias Variant = (_ index: Int, _ epoch: Int) -> TrainingSequence

    package let model: TrainableDecoder
    let optimizer: any Optimizer
    private let data: [TrainingSequence]
    private let variant: Variant?
    let rounds: Rounds?
    /// The round whose rows are there.
    var preparedRound: Int?
    let validation: [TrainingSequence]
    let options: TrainingOptions
    var schedule: any RateSchedule
    let average: WeightAverage?
    let best: BestWeights?
    let checkpoint: URL?
    let key: String
    private var metrics: MetricsFile?
    private let observer: (any TrainingObserver)?
    private let parallel: DataParallel?
    var window = Window()
    var loads: [[Int]] = []
    var watch = LossWatch()
    package internal(set) var record = TrainingRecord()
    /// Updates of the whole run.
    package let steps: Int
    /// What a roll-back leaves of the learning rate.
    static let rollbackScale: Float = 0.5

    /// - Parameters:
    ///   - variant: gives sequences in varying forms; nil: each is the same in every pass.
    ///   - rounds: makes rows from the weights; its rounds end where checkpoints are written.
    ///   - checkpoint: file that holds the state; nil: none is kept.
    ///   - key: what the run is made of; a checkpoint with another key is ignored.
    ///   - metrics: file to which a JSON line is appended for each point of the record; nil: none.
    ///   - group: processes that share the batches, of which this is rank 0; nil: this one alone.
    /// - Throws: `TrainingError` without data, with a sequence longer than the model's context, or without the memory.
    package init(
        model: TrainableDecoder, data: [TrainingSequence], validation: [TrainingSequence] = [],
        options: TrainingOptions, variant: Variant? = nil, rounds: Rounds? = nil,
        checkpoint: URL? = nil, key: String = "", metrics: URL? = nil, observer: (any TrainingObserver)? = nil,
        group: (any ProcessGroup)? = nil
    ) throws {
        guard data.contains(where: { !$0.targets.isEmpty }) else {
            throw TrainingError(.noData, "there is nothing to train on: no example with an answer")
        }
        if let longest = (data + validation).map(\.tokens.count).max(), longest > model.contextLength {
            throw TrainingError(
                .configuration,
                "a sequence has \(longest) tokens, more than the \(model.contextLength) the model was made for")
        }
        self.model = model
        self.data = data
        self.variant = variant
        self.rounds = rounds
        self.validation = validation
        self.options = options
        self.checkpoint = checkpoint
        self.key = key
        self.metrics = metrics.map { MetricsFile($0, run: String(key.prefix(12))) }
        self.observer = observer
        model.recompute = options.recompute
        try MemoryForecast(model, data: data, validates: !validation.isEmpty, options: options).check()
        parallel = group.map { DataParallel($0, model: model) }
        optimizer = options.makeOptimizer(model.parameters)
        steps = options.steps(sequences: data.count)
        schedule = options.rates(steps: steps)
        average = WeightAverage(model.parameters, options: options)
        best = validation.isEmpty ? nil : BestWeights(model.parameters, patience: options.patience)
        model.balanceCoefficient = options.balance
        model.zCoefficient = options.z
        model.labelSmoothing = options.labelSmoothing
        model.divergence = options.divergence
        model.hiddenCoefficient = options.hidden
    }

    /// Trains from the last checkpoint (or the start) to the end.
    ///
    /// When the loss or the gradient is no longer a number, or the loss runs away (``LossWatch``), training goes back to
    /// the last good checkpoint, once, and goes on with half of the learning rate.
    ///
    /// - Returns: false when the observer stopped it before the end.
    /// - Throws: `TrainingError` when training diverges a second time, or the first time without a checkpoint, or a
    ///   checkpoint can't be written.
    package func run() throws -> Bool {
        try resume()
        try metrics?.cut(after: record.steps)
        while record.steps < steps, !record.endedEarly {
            if let observer, observer.shouldStop() {
                try save()
                return false
            }
            try prepareRound()
            if let fault = advance() {
                try rollBack(fault)
                preparedRound = nil
                try metrics?.cut(after: record.steps)
                continue
            }
            let done = record.steps
            if options.validationInterval > 0, done % options.validationInterval == 0, done < steps {
                validateBetween()
            }
            if record.endedEarly {
                if window.updates > 0 { addPoint() }
                break
            }
            if done < steps { try metrics?.append(record) }
            if checkpoint != nil, done % options.checkpointInterval == 0, done < steps { try save() }
            observer?.didStep(done, of: steps, record: record)
        }
        finish()
        try metrics?.append(record)
        forgetGoodState()
        return true
    }

    /// One update.
    ///
    /// - Throws: `TrainingError` where training diverges.
    package func step() throws {
        if let fault = advance() { throw error(fault) }
    }

    /// One update; where something is wrong, none is made, and what it is comes back.
    private func advance() -> TrainingFault? {
        let began = ContinuousClock.now
        let index = record.steps
        let chosen = sequences(ofStep: index)
        let batch = chosen.map(\.sequence)
        let pass =
            preferenceGradients(batch) ?? parallel?.gradients(batch, microBatch: options.microBatch)
            ?? model.gradients(batch, microBatch: options.microBatch)
        let tokens = chosen.reduce(0) { $0 + $1.sequence.tokens.count }
        let norm = model.parameters.gradientNorm(compute: model.compute)
        let loss = pass.loss.loss / max(pass.loss.weight, 1e-9)
        let isFinite = loss.isFinite && norm.isFinite
        if !isFinite || watch.hasDiverged(loss, isWarm: index >= schedule.warmup) {
            return TrainingFault(
                step: index + 1, loss: loss, norm: norm,
                reason: isFinite
                    ? "the loss was far above its running mean of \((watch.mean * 1e4).rounded() / 1e4) for \(watch.suspicious) updates"
                    : "the \(loss.isFinite ? "gradient" : "loss") is not a finite number",
                parameter: isFinite ? nil : model.parameters.firstNotFinite(), sequences: chosen.map(\.index))
        }
        let rate = schedule.rate(index) * (record.rollbacks.last?.rateScale ?? 1)
        optimizer.update(rate: rate, norm: norm, clip: options.clip, compute: model.compute)
        record.steps += 1
        record.precision = model.compute.precision
        record.tokens += tokens
        record.sequences += chosen.count
        adjustBias(pass.loads)
        if isLast(options.averagingShare) { average?.add(compute: model.compute) }
        // A run that may end at any validation counts from the last one.
        if best != nil || record.steps > steps - max(1, steps / 10) { addLoads(pass.loads) }
        let time = seconds(since: began)
        record.seconds += time
        window.add(pass, tokens: tokens, seconds: time, rate: rate, gradientNorm: norm)
        if record.steps % max(1, steps / 200) == 0 || record.steps == steps { addPoint() }
        return nil
    }

    /// Sets the gradients of a batch of pairs; nil where sequences are learnt as they are.
    private func preferenceGradients(_ pairs: [TrainingSequence]) -> TrainableDecoder.PassResult? {
        guard let beta = options.preference else { return nil }
        model.parameters.zeroGradients()
        return PreferenceLoss.addGradient(model, pairs, beta: beta)
    }

    private func addPoint() {
        record.points.append(window.point(step: record.steps))
        window = Window()
    }

    /// Whether the update just made is among the last `share` of the run's.
    private func isLast(_ share: Double) -> Bool {
        Double(record.steps) > Double(steps) * (1 - share) || record.steps == steps
    }

    /// The sequences of update `index`.
    private func sequences(ofStep index: Int) -> [(index: Int, sequence: TrainingSequence)] {
        places(ofStep: index).map { ($0.index, variant?($0.index, $0.epoch) ?? data[$0.index]) }
    }

    /// What update `index` is made on: a shuffle for each pass, cut into batches that may reach into the next pass.
    func places(ofStep index: Int) -> [Place] {
        (index * options.batch..<(index + 1) * options.batch).map { position in
            let (epoch, place) = position.quotientAndRemainder(dividingBy: data.count)
            return Place(index: order(ofEpoch: epoch)[place], epoch: epoch)
        }
    }

    private var cachedOrder: (epoch: Int, order: [Int]) = (-1, [])

    private func order(ofEpoch epoch: Int) -> [Int] {
        if cachedOrder.epoch != epoch {
            var random = RandomNumbers(seed: options.seed &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(epoch))
            cachedOrder = (epoch, Array(data.indices).shuffled(using: &random))
        }
        return cachedOrder.order
    }

    private func addLoads(_ new: [[Int]]) {
        loads.add(new)
        record.expertLoads = loads.map { layer in
            let sum = Double(max(1, layer.reduce(0, +)))
            return layer.map { Double($0) / sum }
        }
    }

    private func seconds(since start: ContinuousClock.Instant) -> Double {
        let (whole, rest) = (ContinuousClock.now - start).components
        return Double(whole) + Double(rest) * 1e-18
    }
}
