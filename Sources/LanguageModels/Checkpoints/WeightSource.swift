package import Foundation

/// A tokenizer as model files hold it.
package enum TokenizerSource: Sendable {
    case gguf(
        tokens: [String], merges: [String], types: [Int32], preTokenizer: String, ends: TokenizerEnds)
    /// A vocabulary over characters.
    case ggufPieces([String], scores: [Float], types: [Int32], unknown: Int32?, addsSpace: Bool, ends: TokenizerEnds)
    /// A Hugging Face `tokenizer.json`, and the file's name for messages.
    case json(Data, file: String, ends: TokenizerEnds)
}

/// Which tokens begin and end a text, as far as a model's files say.
package struct TokenizerEnds: Sendable {
    package var begin, end: Int32?
    package var furtherEnds: [Int32] = []
    package var addsBegin: Bool?
    /// Names of the first two, where the files have names instead of numbers.
    package var beginName, endName: String?
}

/// A model's files: configuration, tokenizer, and tensors by their canonical (Hugging Face) names.
package protocol WeightSource: Sendable {
    /// What to call the model in messages.
    var name: String { get }
    var configuration: ModelConfiguration { get }
    var tokenizerSource: TokenizerSource { get }
    /// The Jinja source of the chat template.
    var chatTemplate: String? { get }
    /// What to add to the weights of norms (Gemma's files hold them less one).
    var normOffset: Float { get }
    func has(_ name: String) -> Bool
    /// - Throws: `ModelError` when there is no such tensor.
    func tensor(_ name: String) throws -> StoredTensor
}

/// Opens a GGUF file, or a folder in the Hugging Face layout.
///
/// - Throws: `ModelError` that names the file and what is wrong with it.
package func openModel(_ path: String) throws -> any WeightSource {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
        throw ModelError(.notFound, "no such file or folder", file: path)
    }
    return isFolder.boolValue ? try HuggingFaceModel(folder: path) : try GGUFModel(path: path)
}

extension WeightSource {
    package var normOffset: Float { 0 }

    /// Bytes of all tensors the configuration asks for, as stored.
    package var storedBytes: Int {
        get throws { try configuration.tensors.reduce(0) { try $0 + (has($1.name) ? tensor($1.name).byteCount : 0) } }
    }
}
