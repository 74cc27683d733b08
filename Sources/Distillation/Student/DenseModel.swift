package import LanguageModels
internal import Tensors
internal import Tokenizers
package import Training

/// Layers of a dense model with the vocabulary of a task: where adapting and carving start. Its weights stay in the
/// model's file until they are asked for.
package struct DenseModel {
    package let configuration: ModelConfiguration
    private let source: any WeightSource
    private let layers: [Int]
    private let origins: [[Int32]]?

    /// Some layers of a model, with the vocabulary of a task.
    ///
    /// - Parameter layers: numbers of the source's layers, in the order they get; nil: all.
    /// - Parameter origins: for each new token the old ones whose mean is its embedding; nil: the vocabulary stays.
    /// - Throws: ``TaskError`` for models that have experts.
    package init(_ source: any WeightSource, layers: [Int]? = nil, origins: [[Int32]]?) throws {
        var c = source.configuration
        let layers = layers ?? Array(0..<c.layerCount)
        guard c.experts == nil else {
            throw TaskError("\(source.name) has experts already; students are carved out of dense models")
        }
        guard c.family == .llama else {
            throw TaskError(
                "\(source.name) is of the family \(c.family.rawValue); students are carved out of llama models")
        }
        guard !layers.isEmpty, layers.allSatisfy({ (0..<c.layerCount).contains($0) }) else {
            throw TaskError("\(layers.count) layers asked for, but \(source.name) has \(c.layerCount)")
        }
        c.layerCount = layers.count
        c.vocabularySize = origins?.count ?? c.vocabularySize
        configuration = c
        self.source = source
        self.layers = layers
        self.origins = origins
    }

    private static let layerPrefix = "model.layers."

    private static func sourceName(_ name: String, _ layers: [Int]) -> String {
        let prefix = layerPrefix
        guard name.hasPrefix(prefix), let end = name.dropFirst(prefix.count).firstIndex(of: "."),
            let layer = Int(name[name.index(name.startIndex, offsetBy: prefix.count)..<end])
        else { return name }
        return prefix + "\(layers[layer])" + name[end...]
    }

    /// Parameters for the trainer that hold these weights; adapters' A is drawn, B is zero. One tensor is read at a time.
    ///
    /// - Parameter staysStored: whether the matrices beside adapters are left to ``stored()``.
    /// - Throws: `ModelError` when a tensor is missing or has another shape.
    package func parameters(adapterRank: Int?, trains: Bool = true, staysStored: Bool = false, seed: UInt64) throws
        -> Parameters
    {
        var specifications = TrainableDecoder.specifications(
            configuration, adapterRank: adapterRank, staysStored: staysStored)
        if !trains { for index in specifications.indices { specifications[index].trains = false } }
        let parameters = Parameters(specifications)
        for (name, shape) in configuration.tensors where parameters.entry(name).specification.sharedLayer == nil {
            parameters.set(
                name, try source.values(DenseModel.sourceName(name, layers), shape: shape, origins: origins))
        }
        var random = RandomNumbers(seed: seed)
        for entry in parameters.entries where entry.specification.name.hasSuffix(".a") {
            let scale = 1 / Float(entry.specification.shape[1]).squareRoot()
            parameters.set(
                entry.specification.name, (0..<entry.specification.count).map { _ in random.normal() * scale })
        }
        return parameters
    }
}

extension DenseModel {
    /// The model for forward passes alone.
    ///
    /// - Parameter longest: tokens of the longest sequence.
    /// - Throws: `ModelError` when a tensor is missing or has another shape.
    func reader(longest: Int, compute: Compute) throws -> TrainableDecoder {
        TrainableDecoder(
            configuration, parameters: try parameters(adapterRank: nil, trains: false, seed: 0),
            contextLength: max(8, longest), compute: compute)
    }

    /// The matrices of the layers, unpacked when they are asked for.
    ///
    /// - Throws: `ModelError` when a tensor is missing or has another shape.
    package func stored() throws -> any StoredWeights {
        var tensors: [String: StoredTensor] = [:]
        for (name, shape) in configuration.tensors where shape.count > 1 && name.hasPrefix(Self.layerPrefix) {
            tensors[name] = try source.tensor(Self.sourceName(name, layers), shape: shape)
        }
        return Stored(tensors: tensors)
    }

    private struct Stored: StoredWeights {
        let tensors: [String: StoredTensor]

        func write(_ name: String, rows: Range<Int>, to destination: UnsafeMutablePointer<Float>) {
            guard let tensor = tensors[name] else { preconditionFailure("no stored tensor named \(name)") }
            for row in rows {
                tensor.dequantizeRow(row, into: destination + (row - rows.lowerBound) * tensor.columns)
            }
        }
    }
}

extension WeightSource {
    /// A tensor of a certain shape.
    ///
    /// - Parameter rows: what it must have; nil: what the shape says.
    /// - Throws: `ModelError` when it is missing or has another shape.
    fileprivate func tensor(_ name: String, shape: [Int], rows: Int? = nil) throws -> StoredTensor {
        let tensor = try tensor(name)
        guard tensor.rows == rows ?? (shape.count == 1 ? 1 : shape[0]), tensor.columns == shape[shape.count - 1] else {
            throw ModelError(
                .missingTensor, "'\(name)' has the shape [\(tensor.rows), \(tensor.columns)], expected \(shape)",
                file: self.name)
        }
        return tensor
    }

    /// A tensor in fp32.
    ///
    /// - Parameters:
    ///   - shape: what it must have, but for the tokens of a vocabulary's rows.
    ///   - origins: for each token the rows whose mean is the new one; nil: the vocabulary stays.
    /// - Throws: `ModelError` when it is missing or has another shape.
    func values(_ name: String, shape: [Int], origins: [[Int32]]?) throws -> [Float] {
        let isVocabulary = name == "model.embed_tokens.weight" || name == "lm_head.weight"
        let tensor = try tensor(name, shape: shape, rows: isVocabulary ? configuration.vocabularySize : nil)
        let all = tensor.floats()
        guard isVocabulary, let origins else { return all }
        let width = tensor.columns
        var result: [Float] = []
        result.reserveCapacity(origins.count * width)
        for origin in origins {
            var row = [Float](repeating: 0, count: width)
            for token in origin {
                let start = Int(token) * width
                for column in 0..<width { row[column] += all[start + column] }
            }
            result += origin.isEmpty ? row : row.map { $0 / Float(origin.count) }
        }
        return result
    }
}
