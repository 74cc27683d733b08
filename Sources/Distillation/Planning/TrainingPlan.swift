package import LanguageModels

/// What a task leaves open, filled in from its size: how deep the student is and how long it is taught.
///
/// A budget of arithmetic gives the same plan on every machine that keeps the time limit; a slower one makes fewer passes.
package enum TrainingPlan {
    /// Parameters one token may be multiplied with, the vocabulary projection included.
    package static let activeParameters = 20_000_000
    /// Floating-point operations of a training: 25 minutes at 400 GFLOP/s, two thirds of what two cores with AVX-512
    /// have.
    package static let operations = 6e14
    /// The longest training of a task that says nothing about it.
    package static let minutes = 25.0
    /// The fewest and the most passes, whatever the budget; not tuned.
    package static let epochLimits = 3.0...24

    /// The deepest student within the budget of active parameters.
    ///
    /// - Parameters:
    ///   - base: the base's shape, with the task's vocabulary.
    ///   - carved: the student's shape for a number of layers.
    package static func layers(of base: ModelConfiguration, carved: (Int) throws -> ModelConfiguration) rethrows -> Int
    {
        for layers in stride(from: min(base.layerCount, 12), to: 2, by: -1)
        where try carved(layers).activeParameterCount <= activeParameters {
            return layers
        }
        return min(base.layerCount, 2)
    }

    /// Passes over the data that fit the budget: forward and backward are six operations a parameter and token.
    package static func epochs(activeParameters: Int, tokensPerEpoch: Int) -> Double {
        let whole = operations / (6 * Double(max(1, activeParameters)) * Double(max(1, tokensPerEpoch)))
        return min(max(whole, epochLimits.lowerBound), epochLimits.upperBound)
    }

    /// Passes of a teacher over its gold. Texts, whose rows have other words in each pass, gain from more of them: as many
    /// rows are seen whether there are few or many.
    package static func adaptationEpochs(rows: Int, kind: TaskDefinition.OutputKind) -> Double {
        guard kind == .text else { return adaptationLimits.lowerBound }
        let passes = Double(textRows) / Double(max(1, rows))
        return min(max(passes, adaptationLimits.lowerBound), adaptationLimits.upperBound)
    }

    private static let adaptationLimits = 3.0...8
    /// Rows of texts a teacher is shown.
    private static let textRows = 20_000

    /// Rows an update, and how many there are where updates are few.
    package static let batches = (usual: 32, small: 16)
    /// Updates below which they are few: with as many tokens, half as many rows an update then get further.
    private static let fewUpdates = 300.0

    /// Rows an update.
    package static func batch(rows: Int, epochs: Double) -> Int {
        Double(rows) * epochs / Double(batches.usual) < fewUpdates ? batches.small : batches.usual
    }

    /// The time limit of a training; nil: the task names its passes, and so has none.
    package static func minutes(_ training: TaskDefinition.Training) -> Double? {
        training.minutes ?? (training.epochs == nil ? minutes : nil)
    }
}
