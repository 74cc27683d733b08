internal import Foundation
package import LanguageModels
internal import Tensors
internal import Tokenizers

/// A llama of two layers with drawn weights and a byte vocabulary, for runs that need a base but no knowledge.
package enum TinyModel {
    private static func definition(pairs: Bool) throws -> TokenizerDefinition {
        let bytes = (UInt8.min...UInt8.max).map { ByteAlphabet.text(of: [$0]) }
        let specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        var merges: [(String, String)] = []
        if pairs {
            // The frequent ones come first: here those that no test writes.
            let small = bytes[0x61...0x7a]
            for first in bytes[0x21...0x5a] { for second in small { merges.append((first, second)) } }
            for first in small { for second in small { merges.append((first, second)) } }
        }
        let tokens = specials + bytes + merges.map { $0.0 + $0.1 }
        return try TokenizerDefinition(
            ggufTokens: tokens, merges: merges.map { "\($0.0) \($0.1)" },
            types: tokens.indices.map { $0 < specials.count ? 3 : 1 }, preTokenizer: "smollm", bos: 1, eos: 2)
    }

    /// - Parameter pairs: whether two small letters are one token, too, all of which come late in the vocabulary.
    package static func write(
        to path: String, type: ElementType = .f32, layers: Int = 2, pairs: Bool = false
    ) throws {
        let definition = try definition(pairs: pairs)
        let configuration = ModelConfiguration(
            family: .llama, vocabularySize: definition.tokens.count, width: 32, layerCount: layers, headCount: 4,
            keyValueHeadCount: 2,
            headDimension: 8, feedForwardWidth: 128, contextLength: 1024)
        var random = RandomNumbers(seed: 5)
        var values: [String: [Float]] = [:]
        for (name, shape) in configuration.tensors {
            let count = shape.reduce(1, *)
            values[name] =
                name.hasSuffix("norm.weight")
                ? [Float](repeating: 1, count: count) : (0..<count).map { _ in 0.15 * random.normal() }
        }
        let contents = ModelContents(
            configuration: configuration, tokenizer: definition,
            chatTemplate:
                "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
            name: "tiny", values: { values[$0]! })
        try GGUFModelWriter.write(contents, type: type, to: path)
    }
}
