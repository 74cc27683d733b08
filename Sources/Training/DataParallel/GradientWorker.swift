internal import Foundation
package import Tensors

/// What a process other than rank 0 does in a data-parallel training: it computes gradients of its share.
package enum GradientWorker {
    /// Works until rank 0 says that there is nothing more.
    package static func run(_ group: any ProcessGroup, pool: WorkerPool) {
        var model: TrainableDecoder?
        while true {
            let message = group.announce([])
            switch message.first.flatMap(DataParallel.Message.init) {
            case .model:
                // The last model's memory is given back first.
                model = nil
                let new = decoder(message.dropFirst(), pool: pool)
                group.broadcast(new.parameters.values.base, count: new.parameters.values.count)
                model = new
            case .gradients:
                guard let model else { preconditionFailure("GradientWorker: gradients are asked for before a model") }
                group.broadcast(model.parameters.values.base, count: model.parameters.trainedCount)
                let microBatch = message[1..<9].withUnsafeBytes { $0.loadUnaligned(as: Int64.self) }
                let sequences = SequenceBytes.read(message.dropFirst(9))
                _ = DataParallel.share(sequences, microBatch: Int(microBatch), model: model, group: group)
            case .end, nil:
                return
            }
        }
    }

    /// Lets the other processes go. Use at rank 0.
    package static func end(_ group: any ProcessGroup) {
        _ = group.announce([DataParallel.Message.end.rawValue])
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
