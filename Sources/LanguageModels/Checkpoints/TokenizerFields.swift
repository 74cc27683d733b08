internal import Tokenizers

extension TokenizerDefinition {
    /// Adds the tokenizer as llama.cpp reads it (`tokenizer.ggml.*`, model `gpt2`, or `llama` for one over characters), filled
    /// up to the embedding's rows.
    func addGGUFFields(vocabularySize: Int, to writer: inout GGUFWriter) {
        var texts = tokens.map { vocabularyText(of: $0) }
        var types = tokens.map { token -> Int32 in
            switch token.kind {
            case .normal: 1
            case .special: 3
            case .added: 4
            case .byte: 6
            }
        }
        if let unknown = characters?.unknownToken { types[Int(unknown)] = 2 }
        for number in texts.count..<max(vocabularySize, texts.count) {
            texts.append("[unused \(number)]")
            types.append(5)
        }
        if let characters {
            writer.set("tokenizer.ggml.model", .string("llama"))
            writer.set("tokenizer.ggml.pre", .string("default"))
            let scores = scoresByOrder + [Float](repeating: -1e6, count: texts.count - tokens.count)
            writer.set("tokenizer.ggml.scores", .array(.float32(scores)))
            writer.set("tokenizer.ggml.add_space_prefix", .bool(characters.prefix != .never))
            if let unknown = characters.unknownToken {
                writer.set("tokenizer.ggml.unknown_token_id", .uint32(UInt32(unknown)))
            }
        } else {
            writer.set("tokenizer.ggml.model", .string("gpt2"))
            writer.set("tokenizer.ggml.pre", .string(patternName))
            writer.set("tokenizer.ggml.merges", .array(.string(merges.map { side($0.left) + " " + side($0.right) })))
        }
        writer.set("tokenizer.ggml.tokens", .array(.string(texts)))
        writer.set("tokenizer.ggml.token_type", .array(.int32(types)))
        if let beginToken { writer.set("tokenizer.ggml.bos_token_id", .uint32(UInt32(beginToken))) }
        if let endToken { writer.set("tokenizer.ggml.eos_token_id", .uint32(UInt32(endToken))) }
        if let turn = furtherEndTokens.first { writer.set("tokenizer.ggml.eot_token_id", .uint32(UInt32(turn))) }
        writer.set("tokenizer.ggml.add_bos_token", .bool(addsBeginToken))
    }

    private var patternName: String {
        switch preTokenizer {
        case .gpt2(individualDigits: false): "gpt-2"
        case .gpt2(individualDigits: true): "smollm"
        case .llama3: "llama-bpe"
        case .qwen2: "qwen2"
        case .whole, .spaces: "default"
        }
    }
}
