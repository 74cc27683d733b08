internal import CKernels
internal import Synchronization
internal import Tensors

/// Packs a model's weights for inference, tensor by tensor, and gives the file's pages back.
final class WeightPacker: Sendable {
    private let source: any WeightSource
    private let precision: LanguageModel.Precision
    private let bytes = Atomic<Int>(0)
    private let store: PackedStore?
    private let made = Mutex([String: PackedMatrix]())

    /// - Parameter store: where matrices may lie packed already.
    init(source: any WeightSource, precision: LanguageModel.Precision, store: PackedStore? = nil) {
        self.source = source
        self.precision = precision
        self.store = store
    }

    /// Matrices that were packed just now.
    var packed: [String: PackedMatrix] { made.withLock { $0 } }

    /// Bytes packed so far.
    var byteCount: Int { bytes.load(ordering: .relaxed) }

    /// All blocks, layers in parallel.
    ///
    /// - Throws: the error of the lowest layer that has one.
    func blocks(_ c: ModelConfiguration, pool: WorkerPool) throws -> [PackedBlock] {
        let results = Mutex([Int: Result<PackedBlock, any Error>]())
        pool.run(c.layerCount) { layer, _ in
            let result = Result { try self.block(layer, c) }
            results.withLock { $0[layer] = result }
        }
        let all = results.withLock { $0 }
        return try (0..<c.layerCount).map { try all[$0]!.get() }
    }

    private func block(_ layer: Int, _ c: ModelConfiguration) throws -> PackedBlock {
        let p = "model.layers.\(layer)."
        let q = c.headCount * c.headDimension
        let k = c.keyValueHeadCount * c.headDimension
        func linear(_ name: String, rows: Int) throws -> PackedLinear {
            PackedLinear(
                matrix: try matrix(p + name + ".weight", rows: rows, columns: c.width),
                bias: c.attentionBias ? try vector(p + name + ".bias", count: rows) : nil)
        }
        return PackedBlock(
            attentionNorm: try vector(p + "input_layernorm.weight", count: c.width),
            query: try linear("self_attn.q_proj", rows: q), key: try linear("self_attn.k_proj", rows: k),
            value: try linear("self_attn.v_proj", rows: k),
            output: try matrix(p + "self_attn.o_proj.weight", rows: c.width, columns: q),
            queryNorm: c.normalizesQueriesAndKeys
                ? try vector(p + "self_attn.q_norm.weight", count: c.headDimension) : nil,
            keyNorm: c.normalizesQueriesAndKeys
                ? try vector(p + "self_attn.k_norm.weight", count: c.headDimension) : nil,
            attentionPostNorm: c.hasPostNorms
                ? try vector(p + "post_attention_layernorm.weight", count: c.width) : nil,
            feedForwardPostNorm: c.hasPostNorms
                ? try vector(p + "post_feedforward_layernorm.weight", count: c.width) : nil,
            feedForwardNorm: try vector(p + c.feedForwardNormName + ".weight", count: c.width),
            feedForward: try feedForward(p + "mlp.", c))
    }

    private func feedForward(_ p: String, _ c: ModelConfiguration) throws -> PackedBlock.FeedForward {
        func network(_ p: String, width: Int) throws -> PackedFeedForward {
            PackedFeedForward(
                gate: try matrix(p + "gate_proj.weight", rows: width, columns: c.width),
                up: try matrix(p + "up_proj.weight", rows: width, columns: c.width),
                down: try matrix(p + "down_proj.weight", rows: c.width, columns: width))
        }
        guard let e = c.experts else { return .dense(try network(p, width: c.feedForwardWidth)) }
        return .experts(
            PackedExperts(
                router: try matrix(p + "gate.weight", rows: e.routedCount, columns: c.width, exact: true),
                routed: try (0..<e.routedCount).map { try network(p + "experts.\($0).", width: e.width) },
                shared: e.sharedWidth > 0 ? try network(p + "shared_expert.", width: e.sharedWidth) : nil,
                sharedGate: e.sharedWidth > 0 && e.gatesShared
                    ? try matrix(p + "shared_expert_gate.weight", rows: 1, columns: c.width, exact: true) : nil))
    }

    /// A tensor in its file, with its shape checked.
    func stored(_ name: String, rows: Int, columns: Int) throws -> StoredTensor {
        let tensor = try source.tensor(name)
        guard tensor.rows == rows, tensor.columns == columns else {
            throw ModelError(
                .missingTensor,
                "tensor '\(name)' has shape [\(tensor.rows), \(tensor.columns)], expected [\(rows), \(columns)]",
                file: source.name)
        }
        return tensor
    }

    func vector(_ name: String, count: Int) throws -> FloatBuffer {
        let tensor = try source.tensor(name)
        guard tensor.rows * tensor.columns == count else {
            throw ModelError(
                .missingTensor, "tensor '\(name)' has \(tensor.rows * tensor.columns) elements, expected \(count)",
                file: source.name)
        }
        let buffer = FloatBuffer(count: count)
        for row in 0..<tensor.rows { tensor.dequantizeRow(row, into: buffer.base + row * tensor.columns) }
        if source.normOffset != 0, name.hasSuffix("norm.weight") {
            for index in 0..<count { buffer.base[index] += source.normOffset }
        }
        return buffer
    }

    /// - Parameter exact: keep floats whatever the precision is.
    func matrix(_ name: String, rows: Int, columns: Int, exact: Bool = false) throws -> PackedMatrix {
        let tensor = try stored(name, rows: rows, columns: columns)
        if !exact, let known = store?.matrix(name, rows: rows, columns: columns) {
            bytes.add(known.byteCount, ordering: .relaxed)
            return known
        }
        let format: uk_packed? = exact || precision == .float32 ? UK_PACKED_F32 : nil
        let matrix = PackedMatrix(rows: rows, columns: columns, type: tensor.type.rawValue, format: format) {
            tensor.rowPointer($0)
        }
        tensor.release()
        bytes.add(matrix.byteCount, ordering: .relaxed)
        if !exact { made.withLock { $0[name] = matrix } }
        return matrix
    }
}
