internal import Foundation
internal import LanguageModels
internal import Training

extension StudentTraining {
    /// A trainer of exactly so many updates on weights that were trained before.
    ///
    /// - Throws: `TrainingError` when there is nothing to learn from.
    func phaseTrainer(
        _ configuration: ModelConfiguration, _ weights: Parameters, options: TrainingOptions, data: [TrainingSequence],
        updates: Int, variant: Trainer.Variant?, rounds: Trainer.Rounds?, checkpoint: URL, key: String,
        observer: any TrainingObserver
    ) throws -> Trainer {
        var options = options
        // A little less, so that rounding up gives the number asked for.
        options.epochs = (Double(updates * options.batch) - 0.5) / Double(data.count)
        return try Trainer(
            model: decoder(configuration, weights), data: data, validation: held, options: options, variant: variant,
            rounds: rounds, checkpoint: checkpoint, key: key, metrics: metrics(beside: checkpoint), observer: observer)
    }
}
