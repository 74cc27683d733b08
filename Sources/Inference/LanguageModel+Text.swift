public import LanguageModels
public import Tokenizers

extension LanguageModel {
    /// Tokens that end an answer: the model's own, and those that end a turn in the usual chat templates.
    public var stopTokens: Set<Int32> {
        var stops: Set<Int32> = []
        let names = ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "<eos>", "</s>"]
        for name in names {
            if let id = tokenizer.id(of: name), tokenizer.definition.tokens[Int(id)].kind != .normal {
                stops.insert(id)
            }
        }
        stops.formUnion(tokenizer.definition.furtherEndTokens)
        if let end = tokenizer.definition.endToken { stops.insert(end) }
        return stops
    }

    /// The tokens of a text to continue, after the token that begins texts where the model expects it or the text is empty.
    public func tokens(ofText text: String) -> [Int32] {
        let tokens = tokenizer.encode(text)
        if tokenizer.definition.addsBeginToken, let begin = tokenizer.definition.beginToken { return [begin] + tokens }
        return tokens.isEmpty ? tokenizer.definition.beginToken.map { [$0] } ?? [] : tokens
    }

    /// The tokens of a conversation in the model's chat template, up to where its answer begins.
    ///
    /// - Throws: `InferenceError` when the model has no chat template; `TokenizerError` when the template refuses.
    public func tokens(of messages: [ChatMessage]) throws -> [Int32] {
        guard let chatTemplate else {
            throw InferenceError(.noChatTemplate, "\(name) has no chat template; ask it to complete a text")
        }
        func text(_ token: Int32?) -> String { token.map { tokenizer.decode([$0]) } ?? "" }
        let written = try chatTemplate.render(
            messages, beginToken: text(tokenizer.definition.beginToken), endToken: text(tokenizer.definition.endToken))
        return tokenizer.encodeParsingSpecials(written)
    }
}
