internal import Tokenizers

extension TokenizerDefinition {
    /// Adds the tokenizer as llama.cpp reads it (`tokenizer.ggml.*`, model `gpt2`), filled up to the embedding's rows.
    func addGGUFFields(vocabularySize: Int, to writer: inout GGUFWriter) {
        writer.set("tokenizer.ggml.model", .string("gpt2"))
        let pattern =
            switch preTokenizer {
            case .gpt2(individualDigits: false): "gpt-2"
            case .gpt2(individualDigits: true): "smollm"
            case .llama3: "llama-bpe"
            case .qwen2: "qwen2"
            }
        writer.set("tokenizer.ggml.pre", .string(pattern))
        var texts = tokens.map { vocabularyText(of: $0) }
        var types = tokens.map { token -> Int32 in
            switch token.kind {
            case .normal: 1
            case .special: 3
            case .added: 4
            }
        }
        for number in texts.count..<max(vocabularySize, texts.count) {
            texts.append("[unused \(number)]")
            types.append(5)
        }
        writer.set("tokenizer.ggml.tokens", .array(.string(texts)))
        writer.set("tokenizer.ggml.token_type", .array(.int32(types)))
        let sides = merges.map {
            let left = ByteAlphabet.text(of: tokens[Int($0.left)].bytes)
            return left + " " + ByteAlphabet.text(of: tokens[Int($0.right)].bytes)
        }
        writer.set("tokenizer.ggml.merges", .array(.string(sides)))
        if let beginToken { writer.set("tokenizer.ggml.bos_token_id", .uint32(UInt32(beginToken))) }
        if let endToken { writer.set("tokenizer.ggml.eos_token_id", .uint32(UInt32(endToken))) }
        writer.set("tokenizer.ggml.add_bos_token", .bool(false))
    }
}
