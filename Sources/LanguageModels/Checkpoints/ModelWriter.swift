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
    /// Writes all tensors as BF16 (rounded to nearest even), one at a time. Atomic.
    ///
    /// - Throws: `ModelError` when the file cannot be written.
    static func write(_ contents: ModelContents, to path: String) throws {
        var offset = 0
        var fields: [String] = []
        for (name, shape) in contents.tensors {
            let bytes = shape.reduce(2, *)
            fields.append(
                "\"\(name)\":{\"dtype\":\"BF16\",\"shape\":[\(shape.map(String.init).joined(separator: ","))],\"data_offsets\":[\(offset),\(offset + bytes)]}"
            )
            offset += bytes
        }
        var header = Array("{\"__metadata__\":{\"format\":\"pt\"},\(fields.joined(separator: ","))}".utf8)
        // The data begins at a multiple of eight.
        header += repeatElement(UInt8(ascii: " "), count: (8 - header.count % 8) % 8)
        let file = try AtomicFile(path: path)
        try file.write(withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) })
        try file.write(header)
        for (name, shape) in contents.tensors {
            let values = contents.values(name)
            precondition(values.count == shape.reduce(1, *), "\(name): \(values.count) values for shape \(shape)")
            let halves = values.map { roundToBFloat16($0).littleEndian }
            try halves.withUnsafeBytes { try file.write($0) }
        }
        try file.commit()
    }

    /// The upper half of a float, rounded to nearest even.
    static func roundToBFloat16(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(bits >> 16) | 0x40 }
        return UInt16((bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16)
    }
}
