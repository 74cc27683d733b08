package import Foundation
package import LanguageModels
package import Tensors
internal import Tokenizers
internal import Training

/// The folder a run leaves behind: the student in the Hugging Face layout and as GGUF, its task, certificate and report.
package struct StudentPackage: Sendable {
    package let folder: URL
    package let name: String
    package let format: TaskFormat

    package static let formatFile = "understudy.json"
    package static let quantizedFile = "student.gguf"

    /// What `understudy.json` holds.
    struct Description: Codable {
        var version = 1
        var name: String
        var format: TaskFormat
    }

    /// Opens a package.
    ///
    /// - Throws: ``TaskError`` when the folder is none.
    package init(folder: URL) throws {
        let file = folder.appendingPathComponent(Self.formatFile)
        guard let data = try? Data(contentsOf: file) else {
            throw TaskError("not a student package: there is no \(Self.formatFile) in it", file: folder.path)
        }
        guard let description = try? JSONDecoder().decode(Description.self, from: data) else {
            throw TaskError("not what a student package's \(Self.formatFile) holds", file: file.path)
        }
        guard description.version == 1 else {
            throw TaskError(
                "a package of version \(description.version); this program reads version 1", file: file.path)
        }
        self.folder = folder
        name = description.name
        format = description.format
    }

    /// The student, from the quantised file where there is one.
    package func model(pool: WorkerPool) throws -> TaskModel {
        try TaskModel(model: try languageModel(pool: pool), format: format, pool: pool)
    }

    /// The student's network and tokenizer, from the quantised file where there is one.
    package func languageModel(pool: WorkerPool) throws -> LanguageModel {
        let quantized = folder.appendingPathComponent(Self.quantizedFile)
        let path = FileManager.default.fileExists(atPath: quantized.path) ? quantized.path : folder.path
        return try LanguageModel(
            contentsOf: path, contextLength: contextLength, pool: pool, cache: ModelStore.packedCache)
    }

    private var contextLength: Int { format.maximumInputTokens + format.maximumAnswerTokens + 8 }

    /// Writes model files into a folder, each atomically.
    static func write(_ contents: ModelContents, format: TaskFormat, name: String, to folder: URL) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let tokenizer = try Tokenizer(contents.tokenizer)
        let end = try format.marks(tokenizer).end
        try HuggingFaceModelWriter.write(contents, endToken: (end, format.endToken), to: folder.path)
        try GGUFModelWriter.write(
            contents, type: .q8_0, to: folder.appendingPathComponent(quantizedFile).path)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let description = try encoder.encode(Description(name: name, format: format))
        try LanguageModels.AtomicFile.write(description, to: folder.appendingPathComponent(formatFile).path)
    }

    /// The chat template of a student: the last message is the input.
    static func chatTemplate(_ format: TaskFormat) -> String {
        "{{ '\(format.startToken)' + messages[-1]['content'] + '\(format.endToken)' }}"
    }
}
