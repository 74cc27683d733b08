internal import Foundation
internal import Tokenizers

/// A base model's vocabulary trimmed to a task, with tokens for what its answers are made of.
struct StudentVocabulary {
    var tokenizer: Tokenizer
    var format: TaskFormat
    /// For each token of the task, the base model's tokens that its embedding starts from: their mean.
    var origins: [[Int32]]
    /// Words of the language: tokens of the base that are a space and some small letters, without the rarest.
    var words: [String]

    /// Tokens of the base that are always kept: the most frequent of its training text come first.
    private static let alwaysKept: Int32 = 1500

    init(base: Tokenizer, task: TaskDefinition, data: Dataset) throws {
        let definition = base.definition
        func name(_ candidates: [String], or fallback: Int32?) throws -> Int32 {
            for candidate in candidates {
                if let id = base.id(of: candidate), definition.tokens[Int(id)].kind == .special { return id }
            }
            guard let fallback else {
                throw TaskError("the base model's tokenizer has no token that begins or ends a text")
            }
            return fallback
        }
        let start = try name(["<|im_start|>", "<|start_header_id|>"], or: definition.beginToken ?? definition.endToken)
        let end = try name(["<|im_end|>", "<|eot_id|>"], or: definition.endToken ?? definition.beginToken)

        words = definition.tokens.prefix(20_000).compactMap { token in
            guard token.kind == .normal, token.bytes.count >= 4, token.bytes[0] == UInt8(ascii: " "),
                token.bytes.dropFirst().allSatisfy({ (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) })
            else { return nil }
            return String(decoding: token.bytes.dropFirst(), as: UTF8.self)
        }
        let lowercases = task.kind == .text && AnswerCase.followsFromWords(data.train.map(\.output))
        let answers = data.train.map { TaskFormat.written($0.output, kind: task.kind) }
        let inputs = (data.train.map(\.input) + data.inputsWithoutNoise).map {
            " " + (lowercases ? $0.lowercased() : $0)
        }
        var fragments: [String] = []
        switch task.kind {
        case .label, .labels: fragments = data.labels.map(TaskFormat.labelToken)
        case .json, .tool: fragments = AnswerFragments.json(zip(data.train, answers).map { ($0.input, $1) })
        case .text: fragments = AnswerFragments.brackets(answers)
        }
        var kept = Set(0..<min(Self.alwaysKept, Int32(base.vocabularySize)))
        for text in inputs + (task.kind.hasLabels ? [] : answers) { kept.formUnion(base.encode(text)) }
        var (trimmed, oldIDs) = try definition.trimmed(keeping: kept, specials: [start, end], adding: fragments)
        if task.kind == .text {
            let whole = try trimmed.extended(with: inputs + answers, count: 2000)
            oldIDs += [Int32?](repeating: nil, count: whole.tokens.count - trimmed.tokens.count)
            trimmed = whole
        }
        trimmed.endToken = oldIDs.firstIndex(of: end).map(Int32.init)
        trimmed.beginToken = oldIDs.firstIndex(of: start).map(Int32.init)
        let tokenizer = try Tokenizer(trimmed)
        self.tokenizer = tokenizer
        origins = oldIDs.enumerated().map { place, old in
            if let old { return [old] }
            return base.encode(AnswerFragments.meaning(tokenizer.decode([Int32(place)])))
        }
        format = TaskFormat(
            kind: task.kind, labels: data.labels, lowercases: lowercases,
            startToken: base.decode([start]), endToken: base.decode([end]),
            maximumAnswerTokens: task.kind == .label ? 2 : min(512, data.labels.count + 1), schema: task.schema)
        if !task.kind.hasLabels {
            let longest = answers.map { tokenizer.encode($0).count }.max() ?? 1
            // A schema may allow more than was seen, and what it begins it should end.
            let room = task.schema == nil ? longest / 4 + 8 : longest + 64
            format.maximumAnswerTokens = min(512, longest + room)
        }
    }

    /// Of everything that is computed with these tokens; whatever else the base's tokenizer says is its own.
    func key() throws -> ContentKey {
        let definition = tokenizer.definition
        return try ContentKey.of {
            try $0.add("tokens", encoding: definition.tokens.map(\.bytes))
            try $0.add("merges", encoding: definition.merges.map { [$0.left, $0.right] })
            try $0.add("origins", encoding: origins)
            try $0.add("format", encoding: format)
        }
    }

    /// For each token, another vocabulary's tokens for the same bytes: the one that has them, or what its words are
    /// written with.
    func origins(in other: Tokenizer) -> [[Int32]] {
        let known = other.definition.idsByBytes
        return tokenizer.definition.tokens.enumerated().map { place, token in
            let text = tokenizer.decode([Int32(place)])
            if token.kind == .special { return other.id(of: text).map { [$0] } ?? [] }
            return known[token.bytes].map { [$0] } ?? other.encode(AnswerFragments.meaning(text))
        }
    }
}
