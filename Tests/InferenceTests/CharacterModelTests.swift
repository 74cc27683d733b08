import Foundation
import Inference
import LanguageModels
import Tensors
import Testing
import Tokenizers

/// A small random Gemma with a vocabulary over characters, through both layouts of files.
struct CharacterModelTests {
    private func definition() throws -> TokenizerDefinition {
        let bytes = (0..<256).map { byte in
            let digits = String(byte, radix: 16, uppercase: true)
            return "<0x" + (digits.count == 1 ? "0" : "") + digits + ">"
        }
        let characters = "▁abcdefghijklmnopqrstuvwxyz0123456789{}\":,.-".map { String($0) }
        let made = ["▁a", "ab", "▁ab", "th", "the", "▁the"]
        let pieces = ["<unk>", "<s>", "</s>"] + bytes + characters + made
        let scores = pieces.indices.map { -Float($0) }
        var definition = try TokenizerDefinition(
            ggufPieces: pieces, scores: scores,
            types: [2, 3, 3] + bytes.map { _ in 6 } + (characters + made).map { _ in 1 }, unknown: 0, addsSpace: true,
            bos: 1, eos: 2)
        definition.addsBeginToken = true
        return definition
    }

    @Test func bothLayoutsReadAndAnswerAlike() throws {
        let definition = try definition()
        var configuration = ModelConfiguration(
            family: .llama, vocabularySize: definition.tokens.count, width: 64, layerCount: 2, headCount: 4,
            keyValueHeadCount: 2, headDimension: 16, feedForwardWidth: 128, contextLength: 256, attentionBias: false)
        configuration.tiedEmbeddings = true
        var random = RandomNumbers(seed: 7)
        var values: [String: [Float]] = [:]
        for (name, shape) in configuration.tensors {
            values[name] = (0..<shape.reduce(1, *)).map { _ in name.hasSuffix("norm.weight") ? 1 : 0.3 * random.normal()
            }
        }
        let contents = ModelContents(
            configuration: configuration, tokenizer: definition, chatTemplate: TinyModels.template, name: "characters",
            values: { values[$0]! })
        let folder = FileManager.default.temporaryDirectory.appending(path: "understudy-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.path + "/model.gguf"
        try GGUFModelWriter.write(contents, type: .f32, to: file)
        try HuggingFaceModelWriter.write(contents, endToken: (2, "</s>"), type: .f32, to: folder.path)

        let models = try [file, folder.path].map {
            try LanguageModel(contentsOf: $0, precision: .float32, pool: TinyModels.pool)
        }
        for model in models {
            let read = model.tokenizer.definition
            #expect(read.tokens == definition.tokens)
            #expect(read.beginToken == 1 && read.endToken == 2 && read.addsBeginToken)
            #expect(model.stopTokens == [2])
            #expect(model.tokens(ofText: "ab the é").first == 1)
        }
        let prompts = ["ab the", "the  x{\"é", ""].map { text in models.map { $0.tokens(ofText: text) } }
        for pair in prompts { #expect(pair[0] == pair[1]) }
        let answers = try models.map { model in
            try BatchEngine(model: model, pool: TinyModels.pool).answer(
                prompts.map { GenerationRequest(prompt: $0[0], maximumTokens: 12) })
        }
        #expect(answers[0].map(\.tokens) == answers[1].map(\.tokens))

        // Constraints work on bytes, whatever the tokens are made of.
        var request = GenerationRequest(prompt: prompts[0][0], maximumTokens: 60)
        let schema =
            #"{"type":"object","properties":{"the":{"type":"boolean"}},"required":["the"],"additionalProperties":false}"#
        request.constraint = try Constraint(jsonSchema: JSONParser.parse(Data(schema.utf8)))
        request.writesText = true
        let answer = try BatchEngine(model: models[0], pool: TinyModels.pool).answer([request])[0]
        #expect([#"{"the":true}"#, #"{"the":false}"#].contains(answer.text), "\(answer.text)")
        #expect(answer.forcedTokens > 0)
    }
}
