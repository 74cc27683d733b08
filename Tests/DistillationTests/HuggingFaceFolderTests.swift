import Foundation
import LanguageModels
import Tensors
import TestSupport
import Testing
import Tokenizers

/// Folders in the Hugging Face layout: written and read back, and broken in many ways.
struct HuggingFaceFolderTests {
    private func folder() throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        let gguf = folder.url.appendingPathComponent("tiny.gguf").path
        try TinyModel.write(to: gguf)
        let source = try openModel(gguf)
        let contents = ModelContents(
            configuration: source.configuration, tokenizer: try TokenizerDefinition(source.tokenizerSource),
            chatTemplate: source.chatTemplate, name: "tiny", values: { try! source.tensor($0).floats() })
        try HuggingFaceModelWriter.write(contents, endToken: (2, "<|im_end|>"), to: folder.url.path)
        return folder
    }

    @Test func writtenAndReadBackItIsTheSame() throws {
        let folder = try folder()
        let first = try openModel(folder.url.appendingPathComponent("tiny.gguf").path)
        let second = try openModel(folder.url.path)
        #expect(second.configuration == first.configuration)
        #expect(second.chatTemplate == first.chatTemplate)
        for (name, _) in first.configuration.tensors {
            let a = try first.tensor(name).floats()
            let b = try second.tensor(name).floats()
            // BF16 keeps eight bits.
            #expect(zip(a, b).allSatisfy { abs($0 - $1) <= abs($0) / 256 }, "\(name)")
        }
        let tokenizers = try [first, second].map { try Tokenizer(TokenizerDefinition($0.tokenizerSource)) }
        #expect(tokenizers[0].encode("Hi <|im_end|> é") == tokenizers[1].encode("Hi <|im_end|> é"))
    }

    @Test func brokenFilesNeverCrash() throws {
        let folder = try folder()
        let pool = WorkerPool(threadCount: 1)
        let names = ["config.json", "tokenizer.json", "model.safetensors"]
        let files = try names.map { try Data(contentsOf: folder.url.appendingPathComponent($0)) }
        var random = SystemRandomNumberGenerator()
        for round in 0..<max(30_000, Int(ProcessInfo.processInfo.environment["UNDERSTUDY_FUZZ"] ?? "") ?? 0) {
            let number = round % names.count
            var bytes = files[number]
            // The header is what is parsed; the numbers behind it may be anything.
            let span = min(bytes.count, number == 2 ? 4096 : bytes.count)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<span, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes[place] = Array("0123456789-\"{}[],:".utf8).randomElement(using: &random)!
                case 2: bytes = bytes.prefix(place) + bytes.dropFirst(place + 1)
                default: if Int.random(in: 0..<8, using: &random) == 0 { bytes = bytes.prefix(place + 1) }
                }
                bytes = Data(bytes)
                if bytes.count <= span { break }
            }
            let file = folder.url.appendingPathComponent(names[number])
            try bytes.write(to: file)
            if let source = try? openModel(folder.url.path), source.configuration.vocabularySize < 1000,
                source.configuration.contextLength < 10_000
            {
                if let definition = try? TokenizerDefinition(source.tokenizerSource) { _ = try? Tokenizer(definition) }
                if round % 100 == number {
                    _ = try? LanguageModel(contentsOf: folder.url.path, contextLength: 64, pool: pool)
                }
            }
            try files[number].write(to: file)
        }
    }
}
