internal import CKernels
internal import Tensors

/// The mean of a run's weights over its last updates (Polyak & Juditsky 1992; Izmailov et al. 2018), in fp32.
final class WeightAverage {
    /// Laid out like the trained parameters.
    let values: FloatBuffer
    /// Updates in it.
    var count = 0
    /// What an update leaves of the mean; nil: all updates count the same.
    private let memory: Float?
    private let parameters: Parameters

    /// nil where nothing is averaged.
    init?(_ parameters: Parameters, options: TrainingOptions) {
        guard options.averaging != .none else { return nil }
        self.parameters = parameters
        memory = options.averaging == .exponential ? options.averagingMemory : nil
        values = FloatBuffer(count: parameters.trainedCount)
    }

    /// Takes in the weights as they are.
    func add(compute: Compute) {
        count += 1
        let kept = count == 1 ? 0 : memory ?? 1 - 1 / Float(count)
        let piece = 1 << 16
        compute.pool.run((values.count + piece - 1) / piece) { index, _ in
            let start = index * piece
            let length = min(piece, self.values.count - start)
            uk_scale(self.values.base + start, length, kept)
            uk_axpy(1 - kept, self.parameters.values.base + start, length, self.values.base + start)
        }
    }

    /// Makes the mean the weights; whether there is one.
    func apply() -> Bool {
        guard count > 0 else { return false }
        parameters.values.base.update(from: values.base, count: values.count)
        return true
    }
}
