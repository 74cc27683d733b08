/// Vocabularies over characters in a `tokenizer.json`.
extension TokenizerDefinition {
    /// What the file says about characters; nil when its vocabulary is over bytes.
    ///
    /// - Throws: `TokenizerError` for steps this program does not do.
    static func characterCoding(_ file: File, file path: String) throws -> CharacterCoding? {
        let steps = file.preTokenizer?.pretokenizers ?? (file.preTokenizer.map { [$0] } ?? [])
        let normalizers = file.normalizer?.normalizers ?? (file.normalizer.map { [$0] } ?? [])
        let metaspace = steps.first { $0.type == "Metaspace" }
        guard file.model.byteFallback == true || metaspace != nil || normalizers.contains(where: { $0.content == "▁" })
        else { return nil }
        var coding = CharacterCoding(prefix: .never, fusesUnknown: file.model.fuseUnk ?? false)
        var replaces = false
        for normalizer in normalizers {
            switch normalizer.type {
            case "Prepend" where normalizer.prepend == "▁" || normalizer.prepend == " ": coding.prefix = .always
            case "Replace" where normalizer.pattern?.string == " " && normalizer.content == "▁": replaces = true
            default:
                throw TokenizerError(
                    .unsupported,
                    "normalizer \(TokenizerError.quoted(normalizer.type)) is not supported here (Prepend of '▁' and Replace of ' ' by '▁' are)",
                    file: path)
            }
        }
        for step in steps {
            switch step.type {
            case "Metaspace" where step.replacement == "▁":
                switch step.prependScheme ?? (step.addPrefixSpace == false ? "never" : "always") {
                case "always": coding.prefix = .unlessSpaced
                case "first": coding.prefix = .firstUnlessSpaced
                default: break
                }
            // Gemma's: there are no spaces left to split at.
            case "Split" where step.pattern?.string == " " && replaces: break
            default:
                throw TokenizerError(
                    .unsupported,
                    "pre-tokenizer \(TokenizerError.quoted(step.type)) is not supported here (Metaspace with '▁' is)",
                    file: path)
            }
        }
        guard replaces || metaspace != nil else {
            throw TokenizerError(.unsupported, "a vocabulary over characters without '▁' for spaces", file: path)
        }
        return coding
    }

    /// - Parameter tokens: empty ones, as many as there are numbers.
    init(_ parsed: File, coding: CharacterCoding, tokens: [Token], file: String) throws {
        var tokens = tokens
        var coding = coding
        for (text, id) in parsed.model.vocab {
            if parsed.model.byteFallback == true, let byte = Self.byte(named: text) {
                tokens[id] = Token(bytes: [byte], kind: .byte)
            } else {
                tokens[id] = Token(bytes: Self.bytes(ofPiece: text))
            }
        }
        if let unknown = parsed.model.unkToken {
            guard
                let id = parsed.model.vocab[unknown] ?? parsed.addedTokens?.first(where: { $0.content == unknown })?.id
            else {
                throw TokenizerError(
                    .malformed, "'unk_token' \(TokenizerError.quoted(unknown)) is not in the vocabulary", file: file)
            }
            coding.unknownToken = Int32(id)
            tokens[id].kind = .special
        }
        for token in parsed.addedTokens ?? [] {
            // Runs of spaces, which merging makes as well; a text that is looked through before has none.
            if token.special != true, token.content.contains("▁"), parsed.model.vocab[token.content] == token.id {
                continue
            }
            tokens[token.id] = Token(bytes: Array(token.content.utf8), kind: token.special == true ? .special : .added)
        }
        var texts: [(left: [UInt8], right: [UInt8])] = []
        texts.reserveCapacity(parsed.model.merges.count)
        for (rank, merge) in parsed.model.merges.enumerated() {
            guard let (left, right) = merge.sides, !left.isEmpty, !right.isEmpty else {
                throw TokenizerError(.malformed, "merge \(rank) is not two tokens", file: file)
            }
            texts.append((Self.bytes(ofPiece: left), Self.bytes(ofPiece: right)))
        }
        let steps = parsed.preTokenizer?.pretokenizers ?? (parsed.preTokenizer.map { [$0] } ?? [])
        let splits = steps.contains { $0.type == "Metaspace" && $0.split ?? true }
        try self.init(
            tokens: tokens, mergeTexts: texts, preTokenizer: splits ? .spaces : .whole, characters: coding, file: file)
        ignoresMerges = parsed.model.ignoreMerges ?? false
        setBegin(parsed)
    }

    /// The token that the file puts before a text.
    mutating func setBegin(_ parsed: File) {
        guard let first = parsed.postProcessor?.first,
            let id = parsed.addedTokens?.first(where: { $0.content == first })?.id ?? parsed.model.vocab[first]
        else { return }
        beginToken = Int32(id)
        addsBeginToken = true
    }
}
