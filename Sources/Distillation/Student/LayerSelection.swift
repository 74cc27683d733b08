internal import LanguageModels
internal import Tensors
internal import Training

/// Which layers of a model a student is made of: those the task's loss rises most without.
///
/// Layers are taken out a few at a time, always those without which the loss on samples of the task is lowest, and
/// measured anew. The first layers alone would lack what later ones do: in SmolLM2 the heads that copy from the input
/// (induction heads, Olsson et al., arXiv 2209.11895) stand in layers 17, 18 and 23 of 30.
struct LayerSelection {
    private let model: DenseModel
    private let compute: Compute

    /// Tokens of the task to measure on.
    private static let sampledTokens = 512
    /// The first layers turn tokens into what all others work on.
    private static let kept = 2

    init(_ model: DenseModel, compute: Compute) {
        self.model = model
        self.compute = compute
    }

    /// `count` layers, in their order.
    ///
    /// - Throws: `ModelError` when a tensor is missing or has another shape.
    func layers(_ count: Int, for samples: [TrainingSequence]) throws -> [Int] {
        var layers = Array(0..<model.configuration.layerCount)
        guard count < layers.count, count > Self.kept else { return Array(layers.prefix(count)) }
        var used: [TrainingSequence] = []
        var tokens = 0
        for sample in samples where tokens < Self.sampledTokens {
            used.append(sample)
            tokens += sample.tokens.count
        }
        let longest = used.map(\.tokens.count).max() ?? 1
        let decoder = try model.reader(longest: longest, compute: compute)
        let batch = TrainingBatch(used)
        while layers.count > count {
            let losses = decoder.lossesWithout(eachOf: layers, from: Self.kept, batch)
            let leave = max(1, (layers.count - count) / 4)
            let worst = losses.indices.sorted { (losses[$0], $1) < (losses[$1], $0) }.prefix(leave)
            for place in worst.sorted(by: >) { layers.remove(at: Self.kept + place) }
        }
        return layers
    }
}
