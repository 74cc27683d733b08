internal import CKernels
package import LanguageModels
internal import Tensors

/// The peak memory of a training, predicted before it starts. All sizes are in bytes.
package struct MemoryForecast: Sendable, Hashable {
    /// Values of all parameters, the frozen ones included.
    package let weights: Int
    package let gradients: Int
    /// The optimiser's state, and its work space.
    package let optimizer: Int
    /// Averaged weights, and those of the best validation.
    package let copies: Int
    /// What the forward pass keeps for the backward pass.
    package let activations: Int
    /// The stream, the layers' work space, and scratch of the threads.
    package let work: Int
    package let logits: Int
    /// What computing every layer's activations again would save; 0 where that is done.
    private let saving: Int

    /// All of it.
    package var total: Int { weights + beyondWeights }
    /// All but the weights, which are there before training starts.
    package var beyondWeights: Int { gradients + optimizer + copies + activations + work + logits }

    /// - Parameters:
    ///   - specifications: the model's tensors, with what trains.
    ///   - options: the optimiser, averaging, patience, and whether activations are computed again.
    ///   - tokens: of the largest forward and backward pass.
    ///   - rows: of its tokens, those with a target.
    ///   - longest: tokens of its longest sequence.
    ///   - validates: whether there are validation sequences.
    package init(
        _ c: ModelConfiguration, _ specifications: [ParameterSpecification], options: TrainingOptions, tokens: Int,
        rows: Int, longest: Int, validates: Bool, threads: Int, lastLayerOnTargetsOnly: Bool = true
    ) {
        let size = MemoryLayout<Float>.size
        let trained = specifications.filter(\.trains)
        let trainedCount = trained.reduce(0) { $0 + $1.count }
        weights = size * Parameters.count(specifications)
        gradients = size * trainedCount
        switch options.optimizer {
        case .adamw: optimizer = size * 2 * trainedCount
        case .muon:
            // Memory for second moments that are never written costs nothing.
            let covered = trained.filter(Muon.covers).reduce(0) { $0 + $1.count }
            optimizer = size * (2 * trainedCount - covered + Muon.workCount(trained))
        }
        copies =
            size * trainedCount * ((options.averaging == .none ? 0 : 1) + (validates && options.patience > 0 ? 1 : 0))
        func plan(_ recompute: Bool) -> PassPlan {
            PassPlan(
                c, tokens: tokens, rows: rows, backward: true, recompute: recompute,
                lastLayerOnTargetsOnly: lastLayerOnTargetsOnly)
        }
        let pass = plan(options.recompute)
        activations = size * (pass.inputCount + pass.savedCount)
        let rank = specifications.first { $0.name.hasSuffix("adapter.qkv.a") }?.shape[0] ?? 0
        let scratch = max(rows * c.width, 2 * tokens * rank) + (tokens + 63) / 64 * c.width
        let perThread = uk_gemm_scratch() + uk_sequence_attention_scratch(longest, c.headDimension)
        work = size * (pass.workCount + pass.streamCount + scratch + threads * perThread)
        logits = size * min(SoftTargetLoss.block, rows) * c.vocabularySize
        let fewer = plan(true)
        saving = activations - size * (fewer.inputCount + fewer.savedCount)
    }

    /// The forecast of training a model on sequences: of the largest pass there may be.
    init(_ model: TrainableDecoder, data: [TrainingSequence], validates: Bool, options: TrainingOptions) {
        let size = options.microBatch > 0 ? min(options.microBatch, options.batch) : options.batch
        func largest(_ count: (TrainingSequence) -> Int) -> Int {
            let counts = data.map(count).sorted(by: >)
            // A batch may begin a second pass over few sequences.
            let (whole, rest) = size.quotientAndRemainder(dividingBy: max(1, counts.count))
            return whole * counts.reduce(0, +) + counts.prefix(rest).reduce(0, +)
        }
        self.init(
            model.configuration, model.parameters.entries.map(\.specification), options: options,
            tokens: largest(\.tokens.count), rows: largest(\.targets.count),
            longest: data.map(\.tokens.count).max() ?? 0, validates: validates,
            threads: model.compute.pool.threadCount, lastLayerOnTargetsOnly: model.lastLayerOnTargetsOnly)
    }

    /// Compares what is needed beside the weights with what there is.
    ///
    /// - Parameter available: bytes; nil: not known, and everything passes.
    /// - Throws: `TrainingError` where it does not fit.
    package func check(available: Int? = AvailableMemory.bytes()) throws {
        guard let available, beyondWeights > available else { return }
        var advice = "a smaller micro-batch needs less"
        if saving > 0 {
            advice = "with recompute it would be \(text(beyondWeights - saving)); " + advice + ", too"
        }
        throw TrainingError(
            .memory,
            "training needs \(text(beyondWeights)) of memory beside the weights, \(text(available)) are available; \(advice)"
        )
    }

    private func text(_ bytes: Int) -> String {
        let megabytes = (bytes + 999_999) / 1_000_000
        return megabytes < 10_000 ? "\(megabytes) MB" : "\((megabytes + 500) / 1000) GB"
    }
}
