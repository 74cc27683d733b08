internal import Tensors

/// Frozen weights of a model that stay where they are stored, in the blocks of their type, beside adapters that train (QLoRA,
/// Dettmers et al., arXiv 2305.14314): a layer is unpacked when it is needed, into memory that all layers share.
package protocol StoredWeights: Sendable {
    /// Writes rows of a tensor in fp32.
    ///
    /// - Parameters:
    ///   - name: of a tensor whose specification has a `sharedLayer`.
    ///   - destination: of the first of these rows.
    func write(_ name: String, rows: Range<Int>, to destination: Floats)
}

/// Brings the layers of stored weights into the memory they share.
final class LayerLoader {
    private let weights: any StoredWeights
    private let parameters: Parameters
    private let compute: Compute
    private let entries: [Int: [Parameters.Entry]]
    /// What the shared memory holds.
    private var loaded: (layer: Int, isMerged: Bool)?

    /// Rows a thread unpacks at a time.
    private static let grain = 64

    init(_ weights: any StoredWeights, parameters: Parameters, compute: Compute) {
        self.weights = weights
        self.parameters = parameters
        self.compute = compute
        var entries: [Int: [Parameters.Entry]] = [:]
        for entry in parameters.entries {
            if let layer = entry.specification.sharedLayer { entries[layer, default: []].append(entry) }
        }
        self.entries = entries
    }

    /// Makes the shared memory hold a layer's weights, with its adapters added where `scale` says how much of them.
    func load(_ layer: Int, merging scale: Float? = nil) {
        let wanted = (layer: layer, isMerged: scale != nil)
        if let loaded, loaded == wanted { return }
        guard let own = entries[layer] else { return }
        loaded = wanted
        for entry in own {
            let (rows, columns) = (entry.specification.shape[0], entry.specification.shape[1])
            let values = parameters.values.base + entry.offset
            compute.rows(rows, grain: Self.grain) { range in
                weights.write(entry.specification.name, rows: range, to: values + range.lowerBound * columns)
            }
        }
        if let scale { parameters.mergeAdapters(ofLayer: layer, scale: scale, compute: compute) }
    }
}
