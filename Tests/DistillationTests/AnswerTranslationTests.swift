import Distillation
import Foundation
import Inference
import Testing
import Tokenizers

/// A teacher's distributions in another vocabulary's tokens.
@Suite struct AnswerTranslationTests {
    /// A vocabulary over bytes with some longer tokens.
    private static func vocabulary(
        _ merges: [String], kind: TaskDefinition.OutputKind, labels: [String] = []
    ) throws -> (tokenizer: Tokenizer, translation: AnswerTranslation.Vocabulary) {
        let bytes = (UInt8.min...UInt8.max).map { ByteAlphabet.text(of: [$0]) }
        let specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        let longer = merges.map { $0.replacing(" ", with: "") }
        let words = labels.map { "→" + $0 }
        let tokens = specials + bytes + longer + words
        let definition = try TokenizerDefinition(
            ggufTokens: tokens, merges: merges,
            types: [3, 3, 3] + tokens.dropFirst(3).map { words.contains($0) ? 4 : 1 },
            preTokenizer: "smollm", bos: 1, eos: 2)
        let tokenizer = try Tokenizer(definition)
        let names = labels.map { "\"\($0)\"" }.joined(separator: ",")
        let format = try JSONDecoder().decode(
            TaskFormat.self,
            from: Data(
                """
                {"kind": "\(kind.rawValue)", "labels": [\(names)], "lowercases": false, "startToken": "<|im_start|>",
                 "endToken": "<|im_end|>", "maximumAnswerTokens": 64, "maximumInputTokens": 480}
                """.utf8))
        return (tokenizer, try .init(tokenizer: tokenizer, format: format))
    }

    private static func distribution(_ tokens: [Int32], _ probabilities: [Float]) -> TokenDistribution {
        TokenDistribution(tokens: tokens, probabilities: probabilities, tail: 1 - probabilities.reduce(0, +))
    }

    /// The teacher writes ` ho|use`, the student ` h|ou|se`.
    @Test func distributionsAreTakenWhereBothBeginAToken() throws {
        let teacher = try Self.vocabulary(["h o", "u s", "us e", "p u"], kind: .text)
        let student = try Self.vocabulary(["o u", "s e"], kind: .text)
        func id(_ text: String, _ tokenizer: Tokenizer) -> Int32 { tokenizer.encode(text)[0] }
        let written = teacher.tokenizer.encode(" house") + [2]
        #expect(written.map { teacher.tokenizer.decode([$0]) } == [" ", "ho", "use", "<|im_end|>"])
        let answer = TaskAnswer(
            output: "house", confidence: 0.5, inputTokens: 3, outputTokens: 4, tokens: written,
            alternatives: [
                Self.distribution([written[0]], [1]),
                // "ho" was written; "t" is a token of both, "pu" of the teacher alone.
                Self.distribution(
                    [written[1], id("t", teacher.tokenizer), id("pu", teacher.tokenizer)], [0.6, 0.3, 0.1]),
                Self.distribution([written[2]], [0.9]),
                Self.distribution([2, id("t", teacher.tokenizer)], [0.75, 0.25]),
            ])
        let own = try AnswerTranslation(from: teacher.translation, to: student.translation).translate(answer)
        #expect(own.tokens.map { student.tokenizer.decode([$0]) } == [" ", "h", "ou", "se", "<|im_end|>"])
        #expect(own.output == "house" && own.confidence == 0.5)
        #expect(own.alternatives.count == 5)
        #expect(own.alternatives[1].tokens == [own.tokens[1], id("t", student.tokenizer)])
        #expect(own.alternatives[1].probabilities == [0.6, 0.3])
        #expect(abs(own.alternatives[1].tail - 0.1) < 1e-6)
        // In the middle of the teacher's "ho" and "use" nothing is known but the answer.
        for place in [2, 3] {
            #expect(own.alternatives[place].tokens == [own.tokens[place]])
            #expect(own.alternatives[place].probabilities == [1])
        }
        #expect(own.alternatives[4].tokens == [2, id("t", student.tokenizer)])
        #expect(own.alternatives[4].probabilities == [0.75, 0.25])
    }

    @Test func theSameVocabularyChangesNothing() throws {
        let one = try Self.vocabulary(["h o"], kind: .text)
        let tokens = one.tokenizer.encode(" hot") + [2]
        let answer = TaskAnswer(
            output: "hot", confidence: 1, inputTokens: 1, outputTokens: 4, tokens: tokens,
            alternatives: tokens.map { Self.distribution([$0, 3 + 66], [0.75, 0.125]) })
        let own = try AnswerTranslation(from: one.translation, to: one.translation).translate(answer)
        #expect(own.tokens == tokens)
        #expect(own.alternatives == answer.alternatives)
    }

    @Test func labelsAreFoundByName() throws {
        let teacher = try Self.vocabulary(["h o", "p u"], kind: .label, labels: ["a", "b", "c"])
        let student = try Self.vocabulary([], kind: .label, labels: ["c", "a", "b"])
        func ids(_ labels: [String], _ tokenizer: Tokenizer) -> [Int32] {
            labels.compactMap { tokenizer.id(of: "→" + $0) }
        }
        let known = ids(["a", "b", "c"], teacher.tokenizer)
        try #require(known.count == 3)
        let answer = TaskAnswer(
            output: "b", confidence: 0.5, inputTokens: 3, outputTokens: 2, tokens: [known[1], 2],
            alternatives: [Self.distribution([known[1], known[2], known[0]], [0.5, 0.375, 0.125])])
        let own = try AnswerTranslation(from: teacher.translation, to: student.translation).translate(answer)
        let names = ids(["b", "c", "a"], student.tokenizer)
        #expect(names.count == 3 && names != [known[1], known[2], known[0]])
        #expect(own.tokens == [names[0], 2])
        #expect(own.alternatives == [Self.distribution(names, [0.5, 0.375, 0.125])])
    }
}
