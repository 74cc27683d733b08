internal import CKernels
package import Tokenizers

/// What a model file is written from.
package struct ModelContents {
    package var configuration: ModelConfiguration
    package var tokenizer: TokenizerDefinition
    /// Jinja source.
    package var chatTemplate: String?
    /// What to call the model in the file.
    package var name: String
    /// A tensor's values by its canonical name, row-major.
    package var values: (_ name: String) -> [Float]
    /// How much each input of a matrix matters, for quantising: by canonical name, [columns]. Others count alike.
    package var importance: [String: [Float]] = [:]
    /// Whether quantising searches for the least error.
    package var searches = false

    /// A model as its files hold it.
    ///
    /// - Throws: `ModelError` when a tensor is missing; tokenizer errors.
    package init(_ source: any WeightSource) throws {
        for (name, _) in source.configuration.tensors { _ = try source.tensor(name) }
        self.init(
            configuration: source.configuration, tokenizer: try TokenizerDefinition(source.tokenizerSource),
            chatTemplate: source.chatTemplate, name: source.name,
            values: { name in
                // All were found above.
                let values = (try? source.tensor(name).floats()) ?? []
                guard source.normOffset != 0, name.hasSuffix("norm.weight") else { return values }
                return values.map { $0 + source.normOffset }
            })
    }

    package init(
        configuration: ModelConfiguration, tokenizer: TokenizerDefinition, chatTemplate: String?, name: String,
        values: @escaping (_ name: String) -> [Float]
    ) {
        self.configuration = configuration
        self.tokenizer = tokenizer
        self.chatTemplate = chatTemplate
        self.name = name
        self.values = values
    }

    /// Canonical names and shapes of all tensors.
    package var tensors: [(name: String, shape: [Int])] { configuration.tensors }
}

extension ModelConfiguration {
    /// Canonical names and shapes of all tensors.
    package var tensors: [(name: String, shape: [Int])] {
        let c = self
        let q = c.headCount * c.headDimension
        let k = c.keyValueHeadCount * c.headDimension
        var list: [(String, [Int])] = [("model.embed_tokens.weight", [c.vocabularySize, c.width])]
        for layer in 0..<c.layerCount {
            let p = "model.layers.\(layer)."
            list.append((p + "input_layernorm.weight", [c.width]))
            for (name, rows) in [("q", q), ("k", k), ("v", k)] {
                list.append((p + "self_attn.\(name)_proj.weight", [rows, c.width]))
                if c.attentionBias { list.append((p + "self_attn.\(name)_proj.bias", [rows])) }
            }
            list.append((p + "self_attn.o_proj.weight", [c.width, q]))
            if c.normalizesQueriesAndKeys {
                list.append((p + "self_attn.q_norm.weight", [c.headDimension]))
                list.append((p + "self_attn.k_norm.weight", [c.headDimension]))
            }
            list.append((p + "post_attention_layernorm.weight", [c.width]))
            if c.hasPostNorms {
                list.append((p + "pre_feedforward_layernorm.weight", [c.width]))
                list.append((p + "post_feedforward_layernorm.weight", [c.width]))
            }
            func network(_ p: String, _ width: Int) {
                list.append((p + "gate_proj.weight", [width, c.width]))
                list.append((p + "up_proj.weight", [width, c.width]))
                list.append((p + "down_proj.weight", [c.width, width]))
            }
            guard let e = c.experts else {
                network(p + "mlp.", c.feedForwardWidth)
                continue
            }
            list.append((p + "mlp.gate.weight", [e.routedCount, c.width]))
            for expert in 0..<e.routedCount { network(p + "mlp.experts.\(expert).", e.width) }
            if e.sharedWidth > 0 {
                network(p + "mlp.shared_expert.", e.sharedWidth)
                if e.gatesShared { list.append((p + "mlp.shared_expert_gate.weight", [1, c.width])) }
            }
        }
        list.append(("model.norm.weight", [c.width]))
        if !c.tiedEmbeddings { list.append(("lm_head.weight", [c.vocabularySize, c.width])) }
        return list
    }
}

/// Writes tensors as a safetensors file: length of a JSON header, the header, the data.
enum SafetensorsWriter {
    /// Writes all tensors in the family's names, one at a time, rounded to nearest even. Atomic.
    ///
    /// - Parameter type: F32, F16 or BF16.
    /// - Throws: `ModelError` when the file cannot be written.
    static func write(_ contents: ModelContents, type: ElementType = .bf16, to path: String) throws {
        let pieces = pieces(contents)
        var offset = 0
        var fields: [String] = []
        for piece in pieces {
            let bytes = piece.shape.reduce(type.blockBytes, *)
            fields.append(
                "\"\(piece.name)\":{\"dtype\":\"\(type.name)\",\"shape\":[\(piece.shape.map(String.init).joined(separator: ","))],\"data_offsets\":[\(offset),\(offset + bytes)]}"
            )
            offset += bytes
        }
        var header = Array("{\"__metadata__\":{\"format\":\"pt\"},\(fields.joined(separator: ","))}".utf8)
        // The data begins at a multiple of eight.
        header += repeatElement(UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
        let file = try AtomicFile(path: path)
        try file.write(withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) })
        try file.write(header)
        let offsetOfNorms: Float = contents.configuration.family == .gemma3 ? 1 : 0
        for piece in pieces {
            for (name, count) in piece.sources {
                var values = contents.values(name)
                precondition(values.count == count, "\(name): \(values.count) values, expected \(count)")
                if offsetOfNorms != 0, name.hasSuffix("norm.weight") { values = values.map { $0 - offsetOfNorms } }
                var bytes = [UInt8](repeating: 0, count: count * type.blockBytes)
                bytes.withUnsafeMutableBytes {
                    _ = uk_quantize_row(type.rawValue, values, count, $0.baseAddress!)
                }
                try bytes.withUnsafeBytes { try file.write($0) }
            }
        }
        try file.commit()
    }

    /// A tensor of the file, made of one or several of the model's.
    private struct Piece {
        var name: String
        var shape: [Int]
        var sources: [(name: String, count: Int)]
    }

    private static func pieces(_ contents: ModelContents) -> [Piece] {
        var pieces: [Piece] = []
        var places: [String: Int] = [:]
        let family = contents.configuration.family
        for (name, shape) in contents.tensors {
            let place = TensorPlace(name, family: family)
            if let known = places[place.name] {
                pieces[known].sources.append((name, shape.reduce(1, *)))
            } else {
                places[place.name] = pieces.count
                pieces.append(Piece(name: place.name, shape: shape, sources: [(name, shape.reduce(1, *))]))
            }
        }
        for index in pieces.indices where pieces[index].sources.count > 1 {
            // Matrices of experts: [experts, rows, columns], of each first the gate, then what it gates.
            let sorted = pieces[index].sources.map { ($0, TensorPlace($0.name, family: family)) }.sorted {
                ($0.1.stack ?? 0, $0.1.half == .second ? 1 : 0) < ($1.1.stack ?? 0, $1.1.half == .second ? 1 : 0)
            }
            let halves = sorted.contains { $0.1.half != nil } ? 2 : 1
            pieces[index].sources = sorted.map(\.0)
            pieces[index].shape[0] *= halves
            if sorted[0].1.stack != nil { pieces[index].shape.insert(sorted.count / halves, at: 0) }
        }
        return pieces
    }
}
