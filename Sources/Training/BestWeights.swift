internal import Tensors

/// Ends training when validation stops getting better, and keeps the weights that were best.
final class BestWeights {
    struct State: Codable {
        /// Loss to the right tokens of the best validation, in nats a target; nil: there was none.
        var loss: Double?
        /// Its update.
        var step = 0
        /// Validations since without a better one.
        var misses = 0
    }

    var state = State()
    /// Weights of the best validation, laid out like the trained parameters.
    let values: FloatBuffer
    private let patience: Int
    private let parameters: Parameters

    /// nil where training never ends early.
    init?(_ parameters: Parameters, patience: Int) {
        guard patience > 0 else { return nil }
        self.parameters = parameters
        self.patience = patience
        values = FloatBuffer(count: parameters.trainedCount)
    }

    /// Whether to end.
    var shouldEnd: Bool { state.misses >= patience }

    /// Takes in a validation of the weights as they are.
    func add(_ validation: TrainingRecord.Validation) {
        if validation.answerLoss < state.loss ?? .infinity {
            state = State(loss: validation.answerLoss, step: validation.step)
            values.base.update(from: parameters.values.base, count: values.count)
        } else {
            state.misses += 1
        }
    }

    /// Makes the best weights the weights, where those there are were not the best; their update.
    func restore() -> Int? {
        guard state.loss != nil, state.misses > 0 else { return nil }
        parameters.values.base.update(from: values.base, count: values.count)
        return state.step
    }
}
