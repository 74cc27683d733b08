internal import Foundation
internal import LanguageModels
internal import Tensors

/// Splits every batch of a training between processes.
///
/// Rank 0 runs the training; the others keep nothing between updates (``GradientWorker``). For an update rank 0 sends
/// its weights and the batch, each process computes the gradient of its share, and the shares' gradients are summed at
/// rank 0, which makes the update. Sent and received are as many bytes as in an all-reduce of the gradients, and as
/// weights come from one place, processes on unlike processors can't drift apart; checkpoints, roll-backs and
/// validation are rank 0's alone.
///
/// The update is that of one process up to the order of sums, but for the routers' extra losses, which are means of the
/// shares' losses, as with micro-batches. For the same number of processes results are the same bit for bit.
final class DataParallel {
    /// A decoder in training, without its weights.
    struct ModelDescription: Codable {
        var configuration: ModelConfiguration
        var specifications: [ParameterSpecification]
        var adapterScale: Float
        var contextLength: Int
        var balance: Float
        var z: Float
        var labelSmoothing: Float
        var recompute: Bool
        var precision: Precision
    }

    private let group: any ProcessGroup
    private let model: TrainableDecoder
    private var isDescribed = false

    /// Use at rank 0.
    init(_ group: any ProcessGroup, model: TrainableDecoder) {
        precondition(group.rank == 0, "DataParallel belongs to rank 0, this is rank \(group.rank)")
        self.group = group
        self.model = model
    }

    /// Sets the gradients of a batch.
    ///
    /// - Parameter microBatch: sequences of a pass of each process; 0: all of its share.
    func gradients(_ sequences: [TrainingSequence], microBatch: Int) -> TrainableDecoder.PassResult {
        describe()
        let head = [GroupMessage.gradients.rawValue] + withUnsafeBytes(of: Int64(microBatch)) { Array($0) }
        _ = group.announce(head + SequenceBytes.write(sequences))
        group.broadcast(model.parameters.values.base, count: model.parameters.trainedCount)
        return Self.share(sequences, microBatch: microBatch, model: model, group: group)
    }

    private func describe() {
        guard !isDescribed else { return }
        isDescribed = true
        let description = ModelDescription(
            configuration: model.configuration, specifications: model.parameters.entries.map(\.specification),
            adapterScale: model.adapterScale, contextLength: model.contextLength, balance: model.balanceCoefficient,
            z: model.zCoefficient, labelSmoothing: model.labelSmoothing, recompute: model.recompute,
            precision: model.compute.precision)
        guard let json = try? JSONEncoder().encode(description) else {
            preconditionFailure("DataParallel: a model's shape has numbers that are not finite")
        }
        _ = group.announce([GroupMessage.model.rawValue] + json)
        group.broadcast(model.parameters.values.base, count: model.parameters.values.count)
    }

    /// One process's part of an update; at rank 0 the gradients and numbers of the whole batch.
    static func share(
        _ sequences: [TrainingSequence], microBatch: Int, model: TrainableDecoder, group: any ProcessGroup
    ) -> TrainableDecoder.PassResult {
        let tokens = sequences.map(\.tokens.count)
        let share = group.shares(of: tokens)[group.rank]
        let all = tokens.reduce(0, +)
        let whole = TrainableDecoder.Whole(
            weight: sequences.reduce(0) { $0 + Double($1.weight) * Double($1.targets.count) }, tokens: all)
        let own = model.gradients(Array(sequences[share]), microBatch: microBatch, of: whole)
        group.sum(model.parameters.gradients.base, count: model.parameters.trainedCount)
        let layers = model.configuration.experts == nil ? 0 : model.configuration.layerCount
        let experts = model.configuration.experts?.routedCount ?? 0
        var result = TrainableDecoder.PassResult(loss: .init())
        for numbers in group.gather(own.numbers(layers: layers, experts: experts)) {
            // Balance, z and entropy are weighted by the shares' tokens already.
            result.add(.init(numbers, layers: layers, experts: experts), share: 1)
        }
        return result
    }
}

extension TrainableDecoder.PassResult {
    /// As numbers that have the same count in every process.
    fileprivate func numbers(layers: Int, experts: Int) -> [Double] {
        let sums = [loss.loss, loss.answerLoss, Double(loss.hits), Double(loss.rows), loss.weight, balance, z, entropy]
        // A process without sequences has no loads.
        let loads = loads.isEmpty ? [[Int]](repeating: [Int](repeating: 0, count: experts), count: layers) : loads
        return sums + loads.flatMap { $0.map(Double.init) }
    }

    fileprivate init(_ numbers: [Double], layers: Int, experts: Int) {
        self.init(loss: .init())
        loss.loss = numbers[0]
        loss.answerLoss = numbers[1]
        loss.hits = Int(numbers[2])
        loss.rows = Int(numbers[3])
        loss.weight = numbers[4]
        balance = numbers[5]
        z = numbers[6]
        entropy = numbers[7]
        loads = (0..<layers).map { layer in (0..<experts).map { Int(numbers[8 + layer * experts + $0]) } }
    }
}
