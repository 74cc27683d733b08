public import Foundation

extension TokenizerDefinition {
    /// A tokenizer as Hugging Face keeps it.
    ///
    /// - Parameters:
    ///   - data: contents of a `tokenizer.json`.
    ///   - file: what to call it in messages.
    /// - Throws: `TokenizerError` for files that break the format, and kinds this program does not know.
    public init(tokenizerJSON data: Data, file: String) throws {
        let parsed: File
        do {
            parsed = try JSONDecoder().decode(File.self, from: data)
        } catch {
            throw TokenizerError(.malformed, "not a tokenizer.json: \(Self.reason(error))", file: file)
        }
        guard parsed.model.type ?? "BPE" == "BPE" else {
            throw TokenizerError(
                .unsupported, "model \(TokenizerError.quoted(parsed.model.type ?? "")) is not supported (BPE is)",
                file: file)
        }
        let added = parsed.addedTokens ?? []
        let highest = max(parsed.model.vocab.values.max() ?? -1, added.map(\.id).max() ?? -1)
        guard highest >= 0, highest < Self.sizeLimit, !parsed.model.vocab.values.contains(where: { $0 < 0 }),
            !added.contains(where: { $0.id < 0 })
        else {
            throw TokenizerError(.malformed, "token numbers must be between 0 and \(Self.sizeLimit)", file: file)
        }
        // A number nobody uses is a token that no text holds.
        var tokens = [Token](repeating: Token(bytes: [], kind: .special), count: highest + 1)
        for (text, id) in parsed.model.vocab {
            tokens[id] = Token(bytes: ByteAlphabet.bytes(of: text) ?? Array(text.utf8))
        }
        for token in added {
            tokens[token.id] = Token(bytes: Array(token.content.utf8), kind: token.special == true ? .special : .added)
        }
        let merges = parsed.model.merges.map { merge -> (String, String)? in
            switch merge {
            case .text(let text): Self.split(text)
            case .pair(let list): list.count == 2 ? (list[0], list[1]) : nil
            }
        }
        try self.init(
            tokens: tokens, mergeTexts: try Self.mergeTexts(merges, file: file),
            preTokenizer: try Self.pattern(parsed.preTokenizer, file: file), file: file)
        ignoresMerges = parsed.model.ignoreMerges ?? false
        switch parsed.normalizer?.type {
        case nil: break
        case "NFC": composesText = true
        case .some(let other):
            throw TokenizerError(
                .unsupported, "normalizer \(TokenizerError.quoted(other)) is not supported (NFC is)", file: file)
        }
    }

    private static func pattern(_ step: PreTokenizerStep?, file: String) throws -> PreTokenizer {
        let steps = step?.pretokenizers ?? (step.map { [$0] } ?? [])
        switch steps.map(\.type) {
        case ["ByteLevel"] where steps[0].usesPattern:
            return .gpt2(individualDigits: false)
        case ["Digits", "ByteLevel"] where steps[0].individualDigits == true && steps[1].usesPattern:
            return .gpt2(individualDigits: true)
        case ["Split", "ByteLevel"] where !steps[1].usesPattern:
            switch steps[0].pattern?.regex {
            case llama3Pattern: return .llama3
            case qwen2Pattern: return .qwen2
            default: break
            }
        default: break
        }
        throw TokenizerError(
            .unsupported, "this pre-tokenizer is not supported (GPT-2's, SmolLM's, Llama 3's and Qwen 2's are)",
            file: file)
    }

    private static let llama3Pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    private static let qwen2Pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    private static func reason(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return error.localizedDescription }
        switch error {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
            .dataCorrupted(let context):
            let path = context.codingPath.map(\.stringValue).joined(separator: ".")
            return path.isEmpty ? context.debugDescription : "'\(path)': \(context.debugDescription)"
        @unknown default: return "\(error)"
        }
    }

    private struct File: Decodable {
        var addedTokens: [AddedToken]?
        var normalizer: Step?
        var preTokenizer: PreTokenizerStep?
        var model: Model

        enum CodingKeys: String, CodingKey {
            case addedTokens = "added_tokens"
            case preTokenizer = "pre_tokenizer"
            case normalizer, model
        }
    }

    private struct AddedToken: Decodable {
        var id: Int
        var content: String
        var special: Bool?
    }

    private struct Step: Decodable { var type: String }

    private struct PreTokenizerStep: Decodable {
        var type: String
        var pretokenizers: [PreTokenizerStep]?
        var individualDigits: Bool?
        var useRegex: Bool?
        var pattern: Pattern?

        var usesPattern: Bool { useRegex ?? true }

        enum CodingKeys: String, CodingKey {
            case individualDigits = "individual_digits"
            case useRegex = "use_regex"
            case type, pretokenizers, pattern
        }

        struct Pattern: Decodable {
            var regex: String?
            enum CodingKeys: String, CodingKey { case regex = "Regex" }
        }
    }

    private struct Model: Decodable {
        var type: String?
        var vocab: [String: Int]
        var merges: [MergeText]
        var ignoreMerges: Bool?

        enum CodingKeys: String, CodingKey {
            case ignoreMerges = "ignore_merges"
            case type, vocab, merges
        }
    }

    private enum MergeText: Decodable {
        case text(String)
        case pair([String])

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self = .text(text)
            } else {
                self = .pair(try container.decode([String].self))
            }
        }
    }
}

extension TokenizerDefinition {
    /// This tokenizer as a Hugging Face `tokenizer.json`. Special tokens are found in any text there, which is that
    /// library's way.
    public func tokenizerJSON() -> Data {
        var text = #"{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#
        text += tokens.indices.filter { tokens[$0].kind != .normal }.map { id in
            let content = Self.quote(String(decoding: tokens[id].bytes, as: UTF8.self))
            return
                #"{"id":\#(id),"content":\#(content),"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":\#(tokens[id].kind == .special)}"#
        }.joined(separator: ",")
        text += #"],"normalizer":\#(composesText ? #"{"type":"NFC"}"# : "null"),"pre_tokenizer":"#
        let byteLevel = #"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":"#
        func splitting(_ pattern: String) -> String {
            #"{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":\#(Self.quote(pattern))},"behavior":"Isolated","invert":false},\#(byteLevel)false}]}"#
        }
        switch preTokenizer {
        case .gpt2(individualDigits: false): text += byteLevel + "true}"
        case .gpt2(individualDigits: true):
            text +=
                #"{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},\#(byteLevel)true}]}"#
        case .llama3: text += splitting(Self.llama3Pattern)
        case .qwen2: text += splitting(Self.qwen2Pattern)
        }
        text += #","post_processor":null,"decoder":\#(byteLevel)true},"model":{"type":"BPE","dropout":null,"#
        text += #""unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"#
        text += #""byte_fallback":false,"ignore_merges":\#(ignoresMerges),"vocab":{"#
        text += tokens.enumerated().map { "\(Self.quote(vocabularyText(of: $1))):\($0)" }.joined(separator: ",")
        text += #"},"merges":["#
        text += merges.map {
            let left = ByteAlphabet.text(of: tokens[Int($0.left)].bytes)
            return "[\(Self.quote(left)),\(Self.quote(ByteAlphabet.text(of: tokens[Int($0.right)].bytes)))]"
        }.joined(separator: ",")
        return Data((text + "]}}").utf8)
    }

    /// How a token is written in a vocabulary: in the byte alphabet, or as it is when it is found as a whole.
    package func vocabularyText(of token: Token) -> String {
        token.kind == .normal ? ByteAlphabet.text(of: token.bytes) : String(decoding: token.bytes, as: UTF8.self)
    }

    /// A JSON string.
    private static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
