import Foundation
import LanguageModels
import Tensors
import Tokenizers

/// Models of drawn weights and a byte vocabulary, for tests that need no knowledge.
enum TinyModels {
    static let pool = WorkerPool()

    static func definition() throws -> TokenizerDefinition {
        let bytes = (UInt8.min...UInt8.max).map { ByteAlphabet.text(of: [$0]) }
        let specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        let extra = ["ab", "abc", "{\"", "\":", "the"]
        return try TokenizerDefinition(
            ggufTokens: specials + bytes + ["ab", "th"] + extra.dropFirst(),
            merges: ["a b", "t h", "ab c", "{ \"", "\" :", "th e"],
            types: specials.map { _ in 3 } + [Int32](repeating: 1, count: 256 + 6), preTokenizer: "smollm", bos: 1,
            eos: 2)
    }

    static let template =
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

    /// - Parameter sharpness: the greater, the surer the model is of what it says.
    static func model(
        seed: UInt64 = 5, layers: Int = 2, experts: Bool = false, contextLength: Int = 512, sharpness: Float = 0.3
    ) throws -> LanguageModel {
        let definition = try definition()
        var configuration = ModelConfiguration(
            family: experts ? .qwen2MoE : .llama, vocabularySize: definition.tokens.count, width: 64,
            layerCount: layers, headCount: 4, keyValueHeadCount: 2, headDimension: 16, feedForwardWidth: 128,
            contextLength: contextLength, attentionBias: experts)
        if experts {
            configuration.experts = ExpertConfiguration(routedCount: 4, activeCount: 2, width: 32, sharedWidth: 32)
        }
        var random = RandomNumbers(seed: seed)
        var values: [String: [Float]] = [:]
        for (name, shape) in configuration.tensors {
            let count = shape.reduce(1, *)
            values[name] =
                name.hasSuffix("norm.weight")
                ? [Float](repeating: 1, count: count) : (0..<count).map { _ in sharpness * random.normal() }
        }
        let path = FileManager.default.temporaryDirectory.appending(path: "understudy-\(UUID().uuidString).gguf").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try GGUFModelWriter.write(
            ModelContents(
                configuration: configuration, tokenizer: definition, chatTemplate: template, name: "tiny",
                values: { values[$0]! }), type: .q8_0, to: path)
        return try LanguageModel(contentsOf: path, pool: pool)
    }
}
