internal import Foundation
internal import LanguageModels
internal import Tokenizers
internal import Training

/// An earlier student to go on from: its shape and weights, under a vocabulary made for the data of today.
///
/// A token that the earlier student has keeps its embedding; a new one starts from the mean of the tokens it would
/// have been written with.
struct PackageStart {
    let name: String
    /// The earlier student's, with as many tokens as there are now.
    let configuration: ModelConfiguration
    private let source: any WeightSource
    private let origins: [[Int32]]

    /// - Throws: ``TaskError`` when the folder is no student package, `ModelError` when its files are damaged.
    init(_ folder: URL, vocabulary: StudentVocabulary) throws {
        let package = try StudentPackage(folder: folder)
        name = package.name
        source = try openModel(folder.path)
        var shape = source.configuration
        guard shape.family == .qwen2MoE, shape.experts != nil else {
            throw TaskError("a student of the family \(shape.family.rawValue) can't be gone on from", file: folder.path)
        }
        let own = try Tokenizer(TokenizerDefinition(source.tokenizerSource))
        guard own.vocabularySize <= shape.vocabularySize else {
            throw TaskError(
                "its tokenizer has \(own.vocabularySize) tokens, its model \(shape.vocabularySize)", file: folder.path)
        }
        origins = vocabulary.origins(in: own)
        shape.vocabularySize = origins.count
        configuration = shape
    }

    /// Its weights.
    ///
    /// - Throws: `ModelError` when a tensor is missing or has another shape.
    func parameters() throws -> Parameters {
        let parameters = Parameters(TrainableDecoder.specifications(configuration))
        for (name, shape) in configuration.tensors {
            parameters.set(name, try source.values(name, shape: shape, origins: origins))
        }
        return parameters
    }
}
