internal import Foundation

/// What a family's files call things: canonical tensor names are those of Qwen2-MoE in the Hugging Face layout.
extension ModelConfiguration.Family {
    /// `general.architecture` of GGUF files.
    package var ggufArchitecture: String {
        switch self {
        case .llama, .mixtral: "llama"
        case .qwen2: "qwen2"
        case .qwen3: "qwen3"
        case .gemma3: "gemma3"
        case .qwen2MoE: "qwen2moe"
        case .qwen3MoE: "qwen3moe"
        case .graniteMoEShared: "granitemoe"
        }
    }

    /// Class that Transformers builds.
    package var transformersClass: String {
        switch self {
        case .llama: "LlamaForCausalLM"
        case .qwen2: "Qwen2ForCausalLM"
        case .qwen3: "Qwen3ForCausalLM"
        case .gemma3: "Gemma3ForCausalLM"
        case .mixtral: "MixtralForCausalLM"
        case .qwen2MoE: "Qwen2MoeForCausalLM"
        case .qwen3MoE: "Qwen3MoeForCausalLM"
        case .graniteMoEShared: "GraniteMoeSharedForCausalLM"
        }
    }

    /// Whether GGUF files keep rotated pairs of query and key rows side by side.
    var interleavesRotatedPairs: Bool {
        switch self {
        case .llama, .mixtral, .graniteMoEShared: true
        default: false
        }
    }

    /// Whether query, key and value projections have biases.
    var hasAttentionBias: Bool { self == .qwen2 || self == .qwen2MoE }

    /// Whether each head's queries and keys pass a norm.
    var normalizesQueriesAndKeys: Bool { self == .qwen3 || self == .qwen3MoE || self == .gemma3 }

    var hasExperts: Bool {
        switch self {
        case .mixtral, .qwen2MoE, .qwen3MoE, .graniteMoEShared: true
        default: false
        }
    }

    /// Whether the chosen experts' weights sum to one whatever the file says.
    var alwaysNormalizesWeights: Bool { self == .mixtral || self == .graniteMoEShared }
}

/// Where a canonical tensor lies in a Hugging Face file: all of a tensor, or some rows of one.
struct TensorPlace: Sendable, Hashable {
    var name: String
    /// Which matrix of a stack of three dimensions.
    var stack: Int?
    /// One of two halves of the rows.
    var half: Half?

    enum Half: Sendable, Hashable {
        case first
        case second
    }

    /// - Parameter name: canonical.
    init(_ name: String, family: ModelConfiguration.Family) {
        self.name = name
        guard family == .mixtral || family == .graniteMoEShared, let mlp = name.range(of: ".mlp.") else { return }
        let layer = name[..<mlp.lowerBound]
        let parts = name[mlp.upperBound...].split(separator: ".").map(String.init)
        if family == .mixtral {
            let names = ["gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"]
            if parts[0] == "experts", parts.count == 4, let own = names[parts[2]] {
                self.name = "\(layer).block_sparse_moe.experts.\(parts[1]).\(own).weight"
            } else if parts[0] == "gate" {
                self.name = "\(layer).block_sparse_moe.gate.weight"
            }
            return
        }
        let isDown = parts.contains("down_proj")
        let linear = isDown ? "output_linear.weight" : "input_linear.weight"
        if !isDown { half = parts.contains("gate_proj") ? .first : .second }
        switch parts[0] {
        case "experts" where parts.count == 4:
            self.name = "\(layer).block_sparse_moe.\(linear)"
            stack = Int(parts[1])
        case "shared_expert": self.name = "\(layer).shared_mlp.\(linear)"
        default:
            self.name = "\(layer).block_sparse_moe.router.layer.weight"
            half = nil
        }
    }
}
