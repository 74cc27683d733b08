package import LanguageModels
internal import Tensors
internal import Tokenizers
package import Training

/// A dense model's weights in fp32, by canonical name: where adapting and carving start.
package struct DenseModel {
    package var configuration: ModelConfiguration
    package var values: [String: [Float]]

    /// Some layers of a model, with the vocabulary of a task.
    ///
    /// - Parameter layers: numbers of the source's layers, in the order they get.
    /// - Parameter origins: for each new token the old ones whose mean is its embedding; nil: the vocabulary stays.
    /// - Throws: `ModelError` when a tensor is missing or has another shape; ``TaskError`` for models that have experts.
    package init(_ source: any WeightSource, layers: [Int], origins: [[Int32]]?) throws {
        var c = source.configuration
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
        let old = c.vocabularySize
        c.vocabularySize = origins?.count ?? old
        values = [:]
        for (name, shape) in c.tensors {
            let tensor = try source.tensor(DenseModel.sourceName(name, layers))
            let isVocabulary = name == "model.embed_tokens.weight" || name == "lm_head.weight"
            let rows = shape.count == 1 ? 1 : isVocabulary ? old : shape[0]
            guard tensor.rows == rows, tensor.columns == shape[shape.count - 1] else {
                throw ModelError(
                    .missingTensor, "'\(name)' has the shape [\(tensor.rows), \(tensor.columns)], expected \(shape)",
                    file: source.name)
            }
            let all = tensor.floats()
            values[name] = isVocabulary && origins != nil ? DenseModel.means(all, width: c.width, of: origins!) : all
        }
        configuration = c
    }

    /// The same model with some of its layers, in this order.
    func keeping(_ layers: [Int]) -> DenseModel {
        var result = self
        result.configuration.layerCount = layers.count
        result.values = [:]
        for (name, _) in result.configuration.tensors { result.values[name] = values[Self.sourceName(name, layers)] }
        return result
    }

    private static func sourceName(_ name: String, _ layers: [Int]) -> String {
        let prefix = "model.layers."
        guard name.hasPrefix(prefix), let end = name.dropFirst(prefix.count).firstIndex(of: "."),
            let layer = Int(name[name.index(name.startIndex, offsetBy: prefix.count)..<end])
        else { return name }
        return prefix + "\(layers[layer])" + name[end...]
    }

    private static func means(_ table: [Float], width: Int, of origins: [[Int32]]) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(origins.count * width)
        for origin in origins {
            var row = [Float](repeating: 0, count: width)
            for token in origin {
                let start = Int(token) * width
                for column in 0..<width { row[column] += table[start + column] }
            }
            result += origin.isEmpty ? row : row.map { $0 / Float(origin.count) }
        }
        return result
    }

    /// Parameters for the trainer that hold these weights; adapters' A is drawn, B is zero.
    package func parameters(adapterRank: Int?, trains: Bool = true, seed: UInt64) -> Parameters {
        var specifications = TrainableDecoder.specifications(configuration, adapterRank: adapterRank)
        if !trains { for index in specifications.indices { specifications[index].trains = false } }
        let parameters = Parameters(specifications)
        for (name, values) in values { parameters.set(name, values) }
        var random = RandomNumbers(seed: seed)
        for entry in parameters.entries where entry.specification.name.hasSuffix(".a") {
            let scale = 1 / Float(entry.specification.shape[1]).squareRoot()
            parameters.set(
                entry.specification.name, (0..<entry.specification.count).map { _ in random.normal() * scale })
        }
        return parameters
    }
}
