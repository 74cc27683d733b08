internal import Foundation
package import Tensors

/// Computes gradients of a process's share in a data-parallel training.
package final class GradientWorker: GroupHelper {
    private let pool: WorkerPool
    private var model: TrainableDecoder?

    package init(pool: WorkerPool) { self.pool = pool }

    package func help(_ message: GroupMessage, _ body: ArraySlice<UInt8>, in group: any ProcessGroup) {
        switch message {
        case .model:
            // The last model's memory is given back first.
            model = nil
            let new = Self.decoder(body, pool: pool)
            group.broadcast(new.parameters.values.base, count: new.parameters.values.count)
            model = new
        case .gradients:
            guard let model else { preconditionFailure("GradientWorker: gradients are asked for before a model") }
            group.broadcast(model.parameters.values.base, count: model.parameters.trainedCount)
            let microBatch = body.prefix(8).withUnsafeBytes { $0.loadUnaligned(as: Int64.self) }
            let sequences = SequenceBytes.read(body.dropFirst(8))
            _ = DataParallel.share(sequences, microBatch: Int(microBatch), model: model, group: group)
        case .end, .teacher, .inputs: break
        }
    }

    private static func decoder(_ json: ArraySlice<UInt8>, pool: WorkerPool) -> TrainableDecoder {
        guard let description = try? JSONDecoder().decode(DataParallel.ModelDescription.self, from: Data(json)) else {
            preconditionFailure("GradientWorker: rank 0 is another version of the program")
        }
        let decoder = TrainableDecoder(
            description.configuration, parameters: Parameters(description.specifications),
            adapterScale: description.adapterScale, contextLength: description.contextLength,
            compute: Compute(pool: pool, precision: description.precision))
        decoder.balanceCoefficient = description.balance
        decoder.zCoefficient = description.z
        decoder.labelSmoothing = description.labelSmoothing
        decoder.recompute = description.recompute
        return decoder
    }
}
