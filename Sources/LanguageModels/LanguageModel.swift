internal import CKernels
public import Tensors
public import Tokenizers

/// A model ready to run: packed weights, tokenizer and chat template. Immutable; share it between threads.
public final class LanguageModel: Sendable {
    /// How weights and activations are kept.
    public enum Precision: Sendable, Hashable {
        /// As stored where the packed formats hold it without loss (Q4_0, Q4_1, Q4_K, Q5, Q8_0), otherwise 8 bits in groups
        /// of 32; activations in 8 bits.
        case packed
        /// Everything in fp32, for checks.
        case float32
    }

    public let configuration: ModelConfiguration
    /// The file's or folder's name, or what the file calls itself.
    public let name: String
    public let tokenizer: Tokenizer
    /// How conversations are written, where the files say so.
    public let chatTemplate: ChatTemplate?
    public let precision: Precision
    /// Bytes of packed weights.
    public let weightBytes: Int

    package let blocks: [PackedBlock]
    package let finalNorm: FloatBuffer
    package let head: PackedMatrix
    private let rope: RotaryTable
    private let localRope: RotaryTable?
    private let embedding: StoredTensor

    /// Opens a GGUF file or a folder in the Hugging Face layout.
    ///
    /// - Parameters:
    ///   - contextLength: the longest sequence that will be asked for; nil: the model's, at most 8,192.
    ///   - cache: a folder where packed weights are kept, so that the model opens faster the next time; nil: nowhere.
    /// - Throws: `ModelError` naming the file and the tensor or field; tokenizer errors.
    public convenience init(
        contentsOf path: String, precision: Precision = .packed, contextLength: Int? = nil,
        pool: WorkerPool = WorkerPool(), cache: String? = nil
    ) throws {
        let source = try openModel(path)
        let key = cache != nil && precision == .packed ? PackedStore.key(of: path) : nil
        try self.init(
            source, precision: precision, contextLength: contextLength, pool: pool,
            store: key.map { ($0, "\(cache!)/\($0).packed") })
    }

    package init(
        _ source: any WeightSource, precision: Precision = .packed, contextLength: Int? = nil, pool: WorkerPool,
        store place: (key: String, path: String)? = nil
    ) throws {
        var configuration = source.configuration
        configuration.contextLength = min(contextLength ?? 8192, configuration.contextLength)
        self.configuration = configuration
        self.precision = precision
        name = source.name
        // Two pieces of work that have nothing to do with each other.
        var cut: Result<Tokenizer, any Error>?
        var angles: RotaryTable?
        withUnsafeMutablePointer(to: &cut) { cut in
            withUnsafeMutablePointer(to: &angles) { angles in
                pool.run(2) { task, _ in
                    if task == 0 {
                        cut.pointee = Result { try Tokenizer(TokenizerDefinition(source.tokenizerSource)) }
                    } else {
                        angles.pointee = RotaryTable(
                            headDimension: configuration.headDimension, base: configuration.ropeTheta,
                            positions: configuration.contextLength, scaling: configuration.rotaryScaling)
                    }
                }
            }
        }
        tokenizer = try cut!.get()
        rope = angles!
        guard tokenizer.vocabularySize <= configuration.vocabularySize else {
            throw ModelError(
                .malformed,
                "the tokenizer has \(tokenizer.vocabularySize) tokens, the embedding only \(configuration.vocabularySize)",
                file: source.name)
        }
        chatTemplate = try source.chatTemplate.map { try ChatTemplate($0) }
        let store = place.flatMap { PackedStore(path: $0.path, key: $0.key) }
        let packer = WeightPacker(source: source, precision: precision, store: store)
        blocks = try packer.blocks(configuration, pool: pool)
        finalNorm = try packer.vector("model.norm.weight", count: configuration.width)
        let headName = configuration.tiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight"
        head = try packer.matrix(headName, rows: configuration.vocabularySize, columns: configuration.width)
        embedding = try packer.stored(
            "model.embed_tokens.weight", rows: configuration.vocabularySize, columns: configuration.width)
        embedding.release()
        localRope = configuration.localRopeTheta.map {
            RotaryTable(headDimension: configuration.headDimension, base: $0, positions: configuration.contextLength)
        }
        weightBytes = packer.byteCount
        if let place, store == nil { PackedStore.write(packer.packed, key: place.key, to: place.path) }
    }

    /// row[width] = the embedding of a token.
    package func embed(_ token: Int32, into row: UnsafeMutablePointer<Float>) {
        embedding.dequantizeRow(Int(token), into: row)
        let scale = configuration.embeddingScale
        if scale != 1 { uk_scale(row, configuration.width, scale) }
    }

    /// Gives the memory of embeddings that were read back to the system: they stay in the file.
    package func releaseEmbeddings() { embedding.release() }

    /// Angles of a layer's rotary embedding.
    package func rotary(_ layer: Int) -> RotaryTable {
        if let localRope, configuration.window(layer) != nil { return localRope }
        return rope
    }

    package func window(_ layer: Int) -> Int? { configuration.window(layer) }

    package var attentionScale: Float {
        configuration.attentionScale ?? 1 / Float(configuration.headDimension).squareRoot()
    }
}

extension TokenizerDefinition {
    /// The tokenizer as a model's files hold it.
    package init(_ source: TokenizerSource) throws {
        let known: TokenizerEnds
        switch source {
        case .gguf(let tokens, let merges, let types, let preTokenizer, let ends):
            try self.init(
                ggufTokens: tokens, merges: merges, types: types, preTokenizer: preTokenizer, bos: ends.begin,
                eos: ends.end)
            known = ends
        case .ggufPieces(let pieces, let scores, let types, let unknown, let addsSpace, let ends):
            try self.init(
                ggufPieces: pieces, scores: scores, types: types, unknown: unknown, addsSpace: addsSpace,
                bos: ends.begin, eos: ends.end)
            known = ends
        case .json(let data, let file, let ends):
            try self.init(tokenizerJSON: data, file: file)
            known = ends
            func number(_ name: String?) -> Int32? {
                guard let name else { return nil }
                let bytes = Array(name.utf8)
                return tokens.lastIndex { $0.kind != .normal && $0.bytes == bytes }.map { Int32($0) }
            }
            func inside(_ id: Int32?) -> Int32? { id.flatMap { tokens.indices.contains(Int($0)) ? $0 : nil } }
            beginToken = beginToken ?? number(ends.beginName) ?? inside(ends.begin)
            endToken = number(ends.endName) ?? inside(ends.end)
        }
        furtherEndTokens = known.furtherEnds.filter { $0 != endToken && tokens.indices.contains(Int($0)) }
        if let adds = known.addsBegin { addsBeginToken = adds && beginToken != nil }
    }
}
