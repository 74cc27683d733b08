public import Foundation

extension TokenizerDefinition {
    /// This tokenizer as a Hugging Face `tokenizer.json`. Special tokens are found in any text there, which is that
    /// library's way.
    public func tokenizerJSON() -> Data {
        var text = #"{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#
        text += tokens.indices.filter { tokens[$0].kind == .added || tokens[$0].kind == .special }.map { id in
            let content = Self.quote(String(decoding: tokens[id].bytes, as: UTF8.self))
            return
                #"{"id":\#(id),"content":\#(content),"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":\#(tokens[id].kind == .special)}"#
        }.joined(separator: ",")
        text += #"],"normalizer":\#(normalizerJSON),"pre_tokenizer":"#
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
        case .whole, .spaces: text += metaspaceJSON
        }
        text += #","post_processor":\#(postProcessorJSON),"decoder":"#
        text += characters == nil ? byteLevel + "true}" : decoderJSON
        let unknown = characters?.unknownToken.map { Self.quote(vocabularyText(of: tokens[Int($0)])) } ?? "null"
        text += #","model":{"type":"BPE","dropout":null,"unk_token":\#(unknown),"continuing_subword_prefix":null,"#
        text += #""end_of_word_suffix":null,"fuse_unk":\#(characters?.fusesUnknown ?? false),"#
        text += #""byte_fallback":\#(tokens.contains { $0.kind == .byte }),"ignore_merges":\#(ignoresMerges),"vocab":{"#
        text += tokens.enumerated().map { "\(Self.quote(vocabularyText(of: $1))):\($0)" }.joined(separator: ",")
        text += #"},"merges":["#
        text += merges.map { "[\(Self.quote(side($0.left))),\(Self.quote(side($0.right)))]" }.joined(separator: ",")
        return Data((text + "]}}").utf8)
    }

    /// How a token is written in a vocabulary: in the byte alphabet or with `▁` for spaces, or as it is when it is found as a
    /// whole.
    package func vocabularyText(of token: Token) -> String {
        switch token.kind {
        case .normal: characters == nil ? ByteAlphabet.text(of: token.bytes) : Self.piece(of: token.bytes)
        case .byte: Self.name(ofByte: token.bytes[0])
        case .added, .special: String(decoding: token.bytes, as: UTF8.self)
        }
    }

    /// One side of a merge as files write it.
    package func side(_ id: Int32) -> String {
        let bytes = tokens[Int(id)].bytes
        return characters == nil ? ByteAlphabet.text(of: bytes) : Self.piece(of: bytes)
    }

    private var normalizerJSON: String {
        guard let characters else { return composesText ? #"{"type":"NFC"}"# : "null" }
        let replace = #"{"type":"Replace","pattern":{"String":" "},"content":"▁"}"#
        switch characters.prefix {
        case .always:
            return #"{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},\#(replace)]}"#
        case .never: return preTokenizer == .whole ? replace : "null"
        case .unlessSpaced, .firstUnlessSpaced: return "null"
        }
    }

    private var metaspaceJSON: String {
        let scheme: String
        switch characters?.prefix {
        case .unlessSpaced: scheme = "always"
        case .firstUnlessSpaced: scheme = "first"
        default:
            if preTokenizer == .whole { return "null" }
            scheme = "never"
        }
        return
            #"{"type":"Metaspace","replacement":"▁","prepend_scheme":"\#(scheme)","split":\#(preTokenizer == .spaces)}"#
    }

    private var decoderJSON: String {
        let strip = #",{"type":"Strip","content":" ","start":1,"stop":0}"#
        return
            #"{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}\#(characters?.prefix == .never ? "" : strip)]}"#
    }

    private var postProcessorJSON: String {
        guard addsBeginToken, let beginToken else { return "null" }
        let text = Self.quote(vocabularyText(of: tokens[Int(beginToken)]))
        let begin = #"{"SpecialToken":{"id":\#(text),"type_id":0}}"#
        return
            #"{"type":"TemplateProcessing","single":[\#(begin),{"Sequence":{"id":"A","type_id":0}}],"pair":[\#(begin),{"Sequence":{"id":"A","type_id":0}},\#(begin),{"Sequence":{"id":"B","type_id":1}}],"special_tokens":{\#(text):{"id":\#(text),"ids":[\#(beginToken)],"tokens":[\#(text)]}}}"#
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
