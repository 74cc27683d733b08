internal import CKernels
internal import Foundation
internal import Tokenizers

/// Writes a model as GGUF, in the names and the layout that llama.cpp reads.
package enum GGUFModelWriter {
    /// - Parameter type: element type of the matrices (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K). Vectors, the router and
    ///   matrices whose rows are no multiple of 32 stay F32; rows that are no multiple of 256 are Q4_1 instead of Q4_K and
    ///   Q8_0 instead of Q6_K.
    /// - Throws: `ModelError` when the file cannot be written; nothing is left behind then.
    package static func write(_ contents: ModelContents, type: ElementType, to path: String) throws {
        let c = contents.configuration
        var writer = GGUFWriter()
        setConfiguration(contents, in: &writer)
        contents.tokenizer.addGGUFFields(vocabularySize: c.vocabularySize, to: &writer)
        if let template = contents.chatTemplate { writer.set("tokenizer.chat_template", .string(template)) }

        let pieces = pieces(contents)
        for piece in pieces {
            let element = elementType(of: piece, wanted: type)
            var dimensions = [piece.shape[piece.shape.count - 1]] + piece.shape.dropLast().reversed()
            if piece.sources.count > 1 || piece.isStack { dimensions.append(piece.sources.count) }
            writer.addTensor(piece.name, dimensions: dimensions, type: element)
        }
        var byName: [String: Piece] = [:]
        for piece in pieces { byName[piece.name] = piece }
        try writer.write(to: path) { name, emit in
            let piece = byName[name]!
            let element = elementType(of: piece, wanted: type)
            let columns = piece.shape[piece.shape.count - 1]
            for source in piece.sources {
                let values = source == factorsName ? contents.configuration.rotaryFactors : contents.values(source)
                let rows = values.count / columns
                let rowBytes = columns / element.blockElements * element.blockBytes
                let importance = contents.importance[source].flatMap { $0.count == columns ? $0 : nil }
                var bytes = [UInt8](repeating: 0, count: rows * rowBytes)
                values.withUnsafeBufferPointer { values in
                    bytes.withUnsafeMutableBytes { bytes in
                        for row in 0..<rows {
                            let place = piece.order.stored(row)
                            let from = values.baseAddress! + row * columns
                            let to = bytes.baseAddress! + place * rowBytes
                            if contents.searches || element == .q4_K || element == .q6_K {
                                _ = uk_quantize_row_weighted(element.rawValue, from, columns, importance, to)
                            } else {
                                _ = uk_quantize_row(element.rawValue, from, columns, to)
                            }
                        }
                    }
                }
                try bytes.withUnsafeBytes { try emit($0) }
            }
        }
    }

    private static let factorsName = "rope_freqs.weight"

    /// One tensor of the file, made from one or (stacked experts) several of the model's.
    private struct Piece {
        var name: String
        var shape: [Int]
        var sources: [String]
        var isStack = false
        var isExact = false
        var order = StoredTensor.RowOrder.straight
    }

    private static func elementType(of piece: Piece, wanted: ElementType) -> ElementType {
        let columns = piece.shape[piece.shape.count - 1]
        if piece.shape.count == 1 || piece.isExact { return .f32 }
        if columns % wanted.blockElements == 0 { return wanted }
        // Rows that are no whole blocks of 256 take blocks of 32 with as many bits, or more.
        let smaller: ElementType = wanted == .q4_K ? .q4_1 : .q8_0
        return columns % smaller.blockElements == 0 ? smaller : .f32
    }

    private static func pieces(_ contents: ModelContents) -> [Piece] {
        let c = contents.configuration
        let shapes = Dictionary(uniqueKeysWithValues: contents.tensors.map { ($0.name, $0.shape) })
        var list: [Piece] = []
        func add(_ name: String, _ source: String, exact: Bool = false, rotated: Bool = false) {
            guard let shape = shapes[source] else { return }
            var piece = Piece(name: name, shape: shape, sources: [source], isExact: exact)
            if rotated, c.family.interleavesRotatedPairs {
                piece.order = .interleavedPairs(headDimension: c.headDimension)
            }
            list.append(piece)
        }
        add("token_embd.weight", "model.embed_tokens.weight")
        for layer in 0..<c.layerCount {
            let p = "model.layers.\(layer)."
            let b = "blk.\(layer)."
            add(b + "attn_norm.weight", p + "input_layernorm.weight")
            for name in ["q", "k", "v"] {
                add(b + "attn_\(name).weight", p + "self_attn.\(name)_proj.weight", rotated: name != "v")
                add(b + "attn_\(name).bias", p + "self_attn.\(name)_proj.bias")
            }
            add(b + "attn_output.weight", p + "self_attn.o_proj.weight")
            add(b + "attn_q_norm.weight", p + "self_attn.q_norm.weight")
            add(b + "attn_k_norm.weight", p + "self_attn.k_norm.weight")
            if c.hasPostNorms {
                add(b + "post_attention_norm.weight", p + "post_attention_layernorm.weight")
                add(b + "post_ffw_norm.weight", p + "post_feedforward_layernorm.weight")
            }
            add(b + "ffn_norm.weight", p + c.feedForwardNormName + ".weight")
            for name in ["gate", "up", "down"] {
                add(b + "ffn_\(name).weight", p + "mlp.\(name)_proj.weight")
                add(b + "ffn_\(name)_shexp.weight", p + "mlp.shared_expert.\(name)_proj.weight")
                if let e = c.experts {
                    let sources = (0..<e.routedCount).map { p + "mlp.experts.\($0).\(name)_proj.weight" }
                    list.append(
                        Piece(
                            name: b + "ffn_\(name)_exps.weight", shape: shapes[sources[0]]!, sources: sources,
                            isStack: true))
                }
            }
            add(b + "ffn_gate_inp.weight", p + "mlp.gate.weight", exact: true)
            // llama.cpp keeps the shared expert's gate as a vector.
            if shapes[p + "mlp.shared_expert_gate.weight"] != nil {
                list.append(
                    Piece(
                        name: b + "ffn_gate_inp_shexp.weight", shape: [c.width],
                        sources: [p + "mlp.shared_expert_gate.weight"], isExact: true))
            }
        }
        add("output_norm.weight", "model.norm.weight")
        let factors = c.rotaryFactors
        if !factors.isEmpty {
            list.append(Piece(name: factorsName, shape: [factors.count], sources: [factorsName], isExact: true))
        }
        // llama.cpp's qwen2moe does not tie the vocabulary projection to the embedding.
        add("output.weight", c.tiedEmbeddings && c.family == .qwen2MoE ? "model.embed_tokens.weight" : "lm_head.weight")
        return list
    }

    private static func setConfiguration(_ contents: ModelContents, in writer: inout GGUFWriter) {
        let c = contents.configuration
        let architecture = c.family.ggufArchitecture
        writer.set("general.architecture", .string(architecture))
        writer.set("general.name", .string(contents.name))
        func number(_ key: String, _ value: Int) { writer.set("\(architecture).\(key)", .uint32(UInt32(value))) }
        func float(_ key: String, _ value: Float) { writer.set("\(architecture).\(key)", .float32(value)) }
        number("vocab_size", c.vocabularySize)
        number("context_length", c.contextLength)
        number("embedding_length", c.width)
        number("block_count", c.layerCount)
        number(
            "feed_forward_length", c.experts.map { $0.sharedWidth + $0.routedCount * $0.width } ?? c.feedForwardWidth)
        number("attention.head_count", c.headCount)
        number("attention.head_count_kv", c.keyValueHeadCount)
        number("attention.key_length", c.headDimension)
        number("attention.value_length", c.headDimension)
        number("rope.dimension_count", c.headDimension)
        writer.set("\(architecture).rope.freq_base", .float32(c.ropeTheta))
        writer.set("\(architecture).attention.layer_norm_rms_epsilon", .float32(c.normEpsilon))
        if c.embeddingScale != 1, c.family != .gemma3 { float("embedding_scale", c.embeddingScale) }
        if c.residualScale != 1 { float("residual_scale", c.residualScale) }
        if c.logitScale != 1 { float("logit_scale", 1 / c.logitScale) }
        if let scale = c.attentionScale { float("attention.scale", scale) }
        if let window = c.slidingWindow { number("attention.sliding_window", window) }
        if case .linear(let factor) = c.rotaryScaling {
            writer.set("\(architecture).rope.scaling.type", .string("linear"))
            float("rope.scaling.factor", factor)
        }
        if let e = c.experts {
            number("expert_count", e.routedCount)
            number("expert_used_count", e.activeCount)
            number("expert_feed_forward_length", e.width)
            number("expert_shared_feed_forward_length", e.sharedWidth)
        }
    }
}

extension ModelConfiguration {
    /// What each rotary frequency is divided by, where that takes more than one number; else empty.
    fileprivate var rotaryFactors: [Float] {
        switch rotaryScaling {
        case nil, .linear: return []
        case .factors(let factors): return factors
        case .llama3:
            return (0..<headDimension / 2).map { place in
                let plain = pow(Double(ropeTheta), -Double(2 * place) / Double(headDimension))
                return Float(plain / rotaryScaling!.scaled(plain, place: place))
            }
        }
    }
}
