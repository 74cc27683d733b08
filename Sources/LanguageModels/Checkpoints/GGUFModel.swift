internal import Foundation

/// A model in a GGUF file.
package struct GGUFModel: WeightSource {
    package let name: String
    package let configuration: ModelConfiguration
    package let tokenizerSource: TokenizerSource
    package let chatTemplate: String?
    private let file: GGUFFile

    /// - Throws: `ModelError` for files that break the format, and architectures this program does not run.
    package init(path: String) throws {
        file = try GGUFFile(path: path)
        let fields = Fields(file: file, path: path)
        name = file.metadata["general.name"]?.stringValue ?? (path as NSString).lastPathComponent
        configuration = try Self.readConfiguration(fields)
        tokenizerSource = try Self.readTokenizer(fields)
        chatTemplate = file.metadata["tokenizer.chat_template"]?.stringValue
    }

    package func has(_ name: String) -> Bool {
        guard let place = Self.place(name, configuration.family) else { return false }
        return file.tensor(named: place.name) != nil
    }

    package func tensor(_ name: String) throws -> StoredTensor {
        let place = Self.place(name, configuration.family)
        guard let place, let entry = file.tensor(named: place.name) else {
            throw ModelError(.missingTensor, "tensor '\(place?.name ?? name)' is missing", file: file.file.path)
        }
        let columns = entry.dimensions[0]
        var rows = entry.dimensions.dropFirst().reduce(1, *)
        var offset = entry.offset
        if let expert = place.expert {
            guard entry.dimensions.count == 3, expert < entry.dimensions[2] else {
                throw ModelError(
                    .missingTensor, "tensor '\(entry.name)' has no expert \(expert)", file: file.file.path)
            }
            rows = entry.dimensions[1]
            offset += expert * rows * (columns / entry.type.blockElements * entry.type.blockBytes)
        }
        var order = StoredTensor.RowOrder.straight
        if configuration.family.interleavesRotatedPairs, place.isRotated, rows % configuration.headDimension == 0 {
            order = .interleavedPairs(headDimension: configuration.headDimension)
        }
        return StoredTensor(
            name: name, type: entry.type, rows: rows, columns: columns, file: file.file, offset: offset, order: order)
    }

    /// A canonical tensor's name in the file; for one expert's matrix, its number in the stack.
    private struct Place {
        var name: String
        var expert: Int?
        var isRotated = false
    }

    private static let blockNames = [
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
        "mlp.shared_expert.gate_proj": "ffn_gate_shexp", "mlp.shared_expert.up_proj": "ffn_up_shexp",
        "mlp.shared_expert.down_proj": "ffn_down_shexp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
        "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    ]

    /// Names that mean something else where outputs are normalised, too.
    private static let postNormNames = [
        "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
        "post_feedforward_layernorm": "post_ffw_norm",
    ]

    private static func place(_ name: String, _ family: ModelConfiguration.Family) -> Place? {
        switch name {
        case "model.embed_tokens.weight": return Place(name: "token_embd.weight")
        case "model.norm.weight": return Place(name: "output_norm.weight")
        case "lm_head.weight": return Place(name: "output.weight")
        default: break
        }
        let parts = name.split(separator: ".")
        guard parts.count >= 4, parts[0] == "model", parts[1] == "layers", let layer = Int(parts[2]) else { return nil }
        let kind = parts[parts.count - 1]
        let middle = parts[3..<(parts.count - 1)]
        if middle.starts(with: ["mlp", "experts"]), middle.count == 4, let expert = Int(parts[5]) {
            let names = ["gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps"]
            guard let stacked = names[String(parts[6])] else { return nil }
            return Place(name: "blk.\(layer).\(stacked).\(kind)", expert: expert)
        }
        let block = middle.joined(separator: ".")
        guard let own = (family == .gemma3 ? postNormNames[block] : nil) ?? blockNames[block] else { return nil }
        return Place(name: "blk.\(layer).\(own).\(kind)", isRotated: own == "attn_q" || own == "attn_k")
    }

    private static func readConfiguration(_ fields: Fields) throws -> ModelConfiguration {
        let architecture = try fields.string("general.architecture")
        let families = ModelConfiguration.Family.allCases.filter { $0.ggufArchitecture == architecture }
        let expertCount = fields.file.metadata[architecture + ".expert_count"]?.intValue ?? 0
        guard let family = families.first(where: { $0.hasExperts == (expertCount > 0) }) ?? families.first else {
            let known = Set(ModelConfiguration.Family.allCases.map(\.ggufArchitecture)).sorted().joined(separator: ", ")
            throw ModelError(
                .unsupported, "architecture \(ModelError.quoted(architecture)) is not supported (\(known) are)",
                file: fields.path)
        }
        let prefix = architecture + "."
        let width = try fields.integer(prefix + "embedding_length")
        let heads = try fields.integer(prefix + "attention.head_count")
        guard heads > 0 else {
            throw ModelError(.malformed, "'\(prefix)attention.head_count' is \(heads)", file: fields.path)
        }
        let isTied = fields.file.tensor(named: "output.weight") == nil
        guard let embedding = fields.file.tensor(named: "token_embd.weight"), embedding.dimensions.count == 2 else {
            throw ModelError(.missingTensor, "tensor 'token_embd.weight' is missing", file: fields.path)
        }
        var configuration = ModelConfiguration(
            family: family, vocabularySize: embedding.dimensions[1], width: width,
            layerCount: try fields.integer(prefix + "block_count"), headCount: heads,
            keyValueHeadCount: try fields.integer(prefix + "attention.head_count_kv", or: heads),
            headDimension: try fields.integer(prefix + "attention.key_length", or: width / heads),
            feedForwardWidth: try fields.integer(prefix + "feed_forward_length", or: 0),
            contextLength: try fields.integer(prefix + "context_length"),
            normEpsilon: try fields.float(prefix + "attention.layer_norm_rms_epsilon", or: 1e-5),
            ropeTheta: try fields.float(prefix + "rope.freq_base", or: 10_000), tiedEmbeddings: isTied,
            attentionBias: family.hasAttentionBias)
        configuration.normalizesQueriesAndKeys = family.normalizesQueriesAndKeys
        configuration.embeddingScale = try fields.float(prefix + "embedding_scale", or: 1)
        configuration.residualScale = try fields.float(prefix + "residual_scale", or: 1)
        configuration.logitScale = 1 / (try fields.float(prefix + "logit_scale", or: 1))
        if fields.file.metadata[prefix + "attention.scale"] != nil {
            configuration.attentionScale = try fields.float(prefix + "attention.scale", or: 1)
        }
        if family == .gemma3 {
            configuration.setGemma(width: width)
            configuration.slidingWindow = try fields.integer(prefix + "attention.sliding_window", or: 1024)
        }
        configuration.rotaryScaling = try readRotaryScaling(fields, prefix)
        if family.hasExperts {
            configuration.experts = ExpertConfiguration(
                routedCount: try fields.integer(prefix + "expert_count"),
                activeCount: try fields.integer(prefix + "expert_used_count"),
                width: try fields.integer(
                    prefix + "expert_feed_forward_length", or: configuration.feedForwardWidth),
                sharedWidth: try fields.integer(prefix + "expert_shared_feed_forward_length", or: 0),
                normalizesWeights: family.alwaysNormalizesWeights || family == .qwen3MoE,
                gatesShared: family == .qwen2MoE)
        } else if expertCount > 0 {
            throw ModelError(.unsupported, "\(architecture) with experts is not supported", file: fields.path)
        }
        try configuration.validate(file: fields.path)
        return configuration
    }

    private static func readRotaryScaling(_ fields: Fields, _ prefix: String) throws
        -> ModelConfiguration.RotaryScaling?
    {
        let kind = fields.file.metadata[prefix + "rope.scaling.type"]?.stringValue ?? "none"
        let factor = try fields.float(prefix + "rope.scaling.factor", or: 1)
        switch kind {
        case "none" where fields.file.tensor(named: "rope_freqs.weight") != nil:
            return .factors(try fields.rotaryFactors())
        case "none": return nil
        case "linear": return .linear(factor: factor)
        default:
            throw ModelError(
                .unsupported, "rotary scaling \(ModelError.quoted(kind)) is not supported (linear is)",
                file: fields.path)
        }
    }

    private static func readTokenizer(_ fields: Fields) throws -> TokenizerSource {
        let model = try fields.string("tokenizer.ggml.model")
        func malformed(_ what: String) -> ModelError { ModelError(.malformed, what, file: fields.path) }
        guard let tokens = fields.file.metadata["tokenizer.ggml.tokens"]?.stringArray else {
            throw malformed("'tokenizer.ggml.tokens' must be a list of strings")
        }
        let types = fields.file.metadata["tokenizer.ggml.token_type"]?.int32Array ?? []
        var ends = TokenizerEnds(
            begin: try fields.token("tokenizer.ggml.bos_token_id", of: tokens.count),
            end: try fields.token("tokenizer.ggml.eos_token_id", of: tokens.count))
        if let turn = try fields.token("tokenizer.ggml.eot_token_id", of: tokens.count) { ends.furtherEnds = [turn] }
        ends.addsBegin = fields.file.metadata["tokenizer.ggml.add_bos_token"]?.boolValue
        let pattern = fields.file.metadata["tokenizer.ggml.pre"]?.stringValue ?? "default"
        switch model {
        case "gpt2":
            guard let merges = fields.file.metadata["tokenizer.ggml.merges"]?.stringArray else {
                throw malformed("'tokenizer.ggml.merges' must be a list of strings")
            }
            return .gguf(tokens: tokens, merges: merges, types: types, preTokenizer: pattern, ends: ends)
        case "llama":
            guard case .array(.float32(let scores)) = fields.file.metadata["tokenizer.ggml.scores"] else {
                throw malformed("'tokenizer.ggml.scores' must be a list of 32-bit floats")
            }
            ends.addsBegin = ends.addsBegin ?? true
            return .ggufPieces(
                tokens, scores: scores, types: types,
                unknown: try fields.token("tokenizer.ggml.unknown_token_id", of: tokens.count),
                addsSpace: fields.file.metadata["tokenizer.ggml.add_space_prefix"]?.boolValue ?? true, ends: ends)
        default:
            throw ModelError(
                .unsupported, "tokenizer \(ModelError.quoted(model)) is not supported (gpt2 and llama are)",
                file: fields.path)
        }
    }

    /// Metadata with its types checked.
    private struct Fields {
        var file: GGUFFile
        var path: String

        func string(_ key: String) throws -> String {
            guard let value = file.metadata[key]?.stringValue else {
                throw ModelError(.malformed, "metadata '\(key)' must be a string", file: path)
            }
            return value
        }

        func integer(_ key: String, or fallback: Int? = nil) throws -> Int {
            guard let value = file.metadata[key] else {
                if let fallback { return fallback }
                throw ModelError(.malformed, "metadata '\(key)' is missing", file: path)
            }
            guard let number = value.intValue, number >= 0 else {
                throw ModelError(.malformed, "metadata '\(key)' must be a whole number", file: path)
            }
            return number
        }

        func float(_ key: String, or fallback: Float) throws -> Float {
            guard let value = file.metadata[key] else { return fallback }
            guard let number = value.floatValue else {
                throw ModelError(.malformed, "metadata '\(key)' must be a number", file: path)
            }
            return number
        }

        /// What each rotary frequency is divided by.
        func rotaryFactors() throws -> [Float] {
            guard let entry = file.tensor(named: "rope_freqs.weight"), entry.type == .f32, entry.dimensions.count == 1
            else { throw ModelError(.malformed, "'rope_freqs.weight' must be a list of F32", file: path) }
            return StoredTensor(
                name: entry.name, type: .f32, rows: 1, columns: entry.dimensions[0], file: file.file,
                offset: entry.offset
            ).floats()
        }

        func token(_ key: String, of count: Int) throws -> Int32? {
            guard file.metadata[key] != nil else { return nil }
            let value = try integer(key)
            guard value < count else {
                throw ModelError(.malformed, "metadata '\(key)' is \(value), but there are \(count) tokens", file: path)
            }
            return Int32(value)
        }
    }
}
