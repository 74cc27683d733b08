internal import LanguageModels

/// Where a pass over a batch keeps what: the one place that knows the sizes, for the pass and for its forecast.
struct PassPlan {
    /// Tokens of the batch.
    let tokens: Int
    /// Rows with a target.
    let rows: Int
    /// Whether every layer's input is kept, or one place serves all layers in turn.
    private let keepsInputs: Bool
    /// The same for all that a layer saves beside its input.
    private let keepsSaved: Bool
    /// Whether the last layer carries all rows on.
    let carriesAll: Bool
    private let layers: Int
    private let width: Int
    /// Floats that a layer saves beside its input: those before the last, and the last.
    private let saved: (inner: Int, last: Int)
    /// Floats of the work space that the layers share.
    let workCount: Int

    /// - Parameters:
    ///   - backward: whether a backward pass follows.
    ///   - recompute: whether it computes each layer's activations again.
    init(
        _ c: ModelConfiguration, tokens: Int, rows: Int, backward: Bool, recompute: Bool, lastLayerOnTargetsOnly: Bool
    ) {
        self.tokens = tokens
        self.rows = rows
        keepsInputs = backward
        keepsSaved = backward && !recompute
        carriesAll = !lastLayerOnTargetsOnly || rows == tokens || c.layerCount == 0
        layers = c.layerCount
        width = c.width
        let last = carriesAll ? tokens : rows
        saved = (
            TrainableBlock.savedCount(c, tokens: tokens, rows: tokens),
            TrainableBlock.savedCount(c, tokens: tokens, rows: last)
        )
        workCount = max(
            c.layerCount > 1 ? TrainableBlock.workCount(c, tokens: tokens, rows: tokens) : 0,
            c.layerCount > 0 ? TrainableBlock.workCount(c, tokens: tokens, rows: last) : 0)
    }

    /// Rows that a layer carries on behind its attention.
    func carried(_ layer: Int) -> Int { carriesAll || layer < layers - 1 ? tokens : rows }

    /// Floats of the layers' inputs.
    var inputCount: Int { (keepsInputs ? layers : min(1, layers)) * tokens * width }
    /// Floats of all else that is saved.
    var savedCount: Int {
        if layers == 0 { return 0 }
        return keepsSaved ? (layers - 1) * saved.inner + saved.last : layers > 1 ? saved.inner : saved.last
    }
    /// Floats of the stream, its gradient, and the final rows: before and after the norm, gradient, inverse of the norm.
    var streamCount: Int { 2 * tokens * width + rows * (3 * width + 1) }

    func inputOffset(_ layer: Int) -> Int { keepsInputs ? layer * tokens * width : 0 }
    func savedOffset(_ layer: Int) -> Int { keepsSaved ? layer * saved.inner : 0 }
}
