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
        if let coding = try Self.characterCoding(parsed, file: file) {
            try self.init(parsed, coding: coding, tokens: tokens, file: file)
            return
        }
        for (text, id) in parsed.model.vocab {
            tokens[id] = Token(bytes: ByteAlphabet.bytes(of: text) ?? Array(text.utf8))
        }
        for token in added {
            tokens[token.id] = Token(bytes: Array(token.content.utf8), kind: token.special == true ? .special : .added)
        }
        try self.init(
            tokens: tokens, mergeTexts: try Self.mergeTexts(parsed.model.merges.map(\.sides), file: file),
            preTokenizer: try Self.pattern(parsed.preTokenizer, file: file), file: file)
        ignoresMerges = parsed.model.ignoreMerges ?? false
        setBegin(parsed)
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
        if steps.contains(where: { $0.addPrefixSpace == true }) {
            throw TokenizerError(.unsupported, "'add_prefix_space' is not supported here", file: file)
        }
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

    static let llama3Pattern =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
    static let qwen2Pattern =
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

    struct File: Decodable {
        var addedTokens: [AddedToken]?
        var normalizer: Normalizer?
        var preTokenizer: PreTokenizerStep?
        var postProcessor: PostProcessor?
        var model: Model

        enum CodingKeys: String, CodingKey {
            case addedTokens = "added_tokens"
            case preTokenizer = "pre_tokenizer"
            case postProcessor = "post_processor"
            case normalizer, model
        }
    }

    struct AddedToken: Decodable {
        var id: Int
        var content: String
        var special: Bool?
    }

    /// A change of the text before it is cut.
    struct Normalizer: Decodable {
        var type: String
        var normalizers: [Normalizer]?
        /// Of `Prepend`: what.
        var prepend: String?
        /// Of `Replace`: what by what.
        var pattern: Pattern?
        var content: String?
    }

    /// What is put around a text.
    struct PostProcessor: Decodable {
        var type: String
        var processors: [PostProcessor]?
        var single: [Piece]?

        struct Piece: Decodable {
            var special: Special?
            enum CodingKeys: String, CodingKey { case special = "SpecialToken" }
        }

        struct Special: Decodable { var id: String }

        /// The token before a text, if any.
        var first: String? { single?.first?.special?.id ?? processors?.lazy.compactMap(\.first).first }
    }

    struct Pattern: Decodable {
        var regex: String?
        var string: String?

        enum CodingKeys: String, CodingKey {
            case regex = "Regex"
            case string = "String"
        }
    }

    struct PreTokenizerStep: Decodable {
        var type: String
        var pretokenizers: [PreTokenizerStep]?
        var individualDigits: Bool?
        var useRegex: Bool?
        var addPrefixSpace: Bool?
        var pattern: Pattern?
        /// Of `Metaspace`.
        var replacement, prependScheme: String?
        var split: Bool?

        var usesPattern: Bool { useRegex ?? true }

        enum CodingKeys: String, CodingKey {
            case individualDigits = "individual_digits"
            case useRegex = "use_regex"
            case addPrefixSpace = "add_prefix_space"
            case prependScheme = "prepend_scheme"
            case type, pretokenizers, pattern, replacement, split
        }
    }

    struct Model: Decodable {
        var type: String?
        var vocab: [String: Int]
        var merges: [MergeText]
        var ignoreMerges: Bool?
        var byteFallback: Bool?
        var fuseUnk: Bool?
        var unkToken: String?

        enum CodingKeys: String, CodingKey {
            case ignoreMerges = "ignore_merges"
            case byteFallback = "byte_fallback"
            case fuseUnk = "fuse_unk"
            case unkToken = "unk_token"
            case type, vocab, merges
        }
    }

    enum MergeText: Decodable {
        case text(String)
        case pair([String])

        var sides: (String, String)? {
            switch self {
            case .text(let text): TokenizerDefinition.split(text)
            case .pair(let list): list.count == 2 ? (list[0], list[1]) : nil
            }
        }

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
