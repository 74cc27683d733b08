internal import ArgumentParser
internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Tokenizers

extension Models {
    struct Quantize: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a model as GGUF with fewer bits.",
            discussion: """
                With --importance, a text shows which inputs of each matrix matter, and errors there count more. Rows that are \
                no whole blocks of 256 take Q4_1 instead of Q4_K, and Q8_0 instead of Q6_K.
                """)
        @Argument(help: "A GGUF file, a folder in the Hugging Face layout, or a name of the catalogue.") var model:
            String
        @Option(help: "q8_0, q6_k, q4_k, q4_1 or q4_0.") var type: String
        @Option(help: "The file to write.") var output: String
        @Option(help: "A text like those the model will read.") var importance: String?
        @Option(help: "The most tokens of that text to use.") var importanceTokens = 8192

        func run() throws {
            let allowed: [ElementType] = [.q8_0, .q6_K, .q4_K, .q4_1, .q4_0]
            guard let element = ElementType(named: type), allowed.contains(element) else {
                throw ValidationError(
                    "--type must be one of \(allowed.map { $0.name.lowercased() }.joined(separator: ", ")), not \(type)."
                )
            }
            let path = try ModelStore().resolve(model)
            var contents = try ModelContents(openModel(path))
            contents.searches = true
            if let importance {
                contents.importance = try Self.importance(of: importance, model: path, tokens: importanceTokens)
            }
            try GGUFModelWriter.write(contents, type: element, to: output)
            Terminal.note("\(output): \(try FileManager.default.attributesOfItem(atPath: output)[.size] ?? 0) bytes")
        }

        private static func importance(of file: String, model: String, tokens limit: Int) throws -> [String: [Float]] {
            guard let data = FileManager.default.contents(atPath: file) else {
                throw ModelError(.notFound, "no such file, or not readable", file: file)
            }
            let pool = WorkerPool()
            let model = try LanguageModel(contentsOf: model, contextLength: 512, pool: pool)
            let tokens = Array(model.tokenizer.encode(String(decoding: data, as: UTF8.self)).prefix(limit))
            guard !tokens.isEmpty else { throw ModelError(.malformed, "no text in it", file: file) }
            let pass = DecoderPass(model: model, pool: pool)
            let collector = ImportanceCollector()
            pass.collector = collector
            for start in stride(from: 0, to: tokens.count, by: 512) {
                let part = Array(tokens[start..<min(start + 512, tokens.count)])
                _ = pass.run([SequenceInput(cache: SequenceCache(model.configuration), tokens: part, rows: .all)])
            }
            return collector.importance
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a model or a student for other programs.",
            discussion: "gguf: one file for llama.cpp and its kin. huggingface: a folder for Transformers and vLLM.")
        enum Format: String, ExpressibleByArgument, CaseIterable {
            case gguf
            case huggingface
        }

        @Argument(
            help: "A GGUF file, a folder in the Hugging Face layout, a student package, or a name of the catalogue.")
        var model: String
        @Option(help: "gguf or huggingface.") var format: Format
        @Option(help: "Element type: f32, f16 or bf16; gguf also q8_0, q6_k, q4_k, q4_1, q4_0.") var type = "bf16"
        @Option(help: "The file or folder to write.") var output: String

        func run() throws {
            let floats: [ElementType] = [.f32, .f16, .bf16]
            let allowed = format == .gguf ? floats + [.q8_0, .q6_K, .q4_K, .q4_1, .q4_0] : floats
            guard let element = ElementType(named: type), allowed.contains(element) else {
                throw ValidationError(
                    "--type must be one of \(allowed.map { $0.name.lowercased() }.joined(separator: ", ")), not \(type)."
                )
            }
            var contents = try ModelContents(openModel(ModelStore().resolve(model)))
            contents.searches = true
            switch format {
            case .gguf: try GGUFModelWriter.write(contents, type: element, to: output)
            case .huggingface:
                do {
                    try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
                } catch {
                    throw ModelError(.inputOutput, "can't make the folder", file: output)
                }
                let end = contents.tokenizer.endToken
                let text = end.map { String(decoding: contents.tokenizer.tokens[Int($0)].bytes, as: UTF8.self) }
                try HuggingFaceModelWriter.write(contents, endToken: (end ?? 0, text ?? ""), type: element, to: output)
            }
            Terminal.note("written to \(output)")
        }
    }
}
