internal import Foundation

/// A model in a folder as Hugging Face lays it out: `config.json`, `tokenizer.json`, one or several safetensors files.
package struct HuggingFaceModel: WeightSource {
    package let name: String
    package let configuration: ModelConfiguration
    package let tokenizerSource: TokenizerSource
    package let chatTemplate: String?
    private let files: [SafetensorsFile]
    private let places: [String: Int]

    /// - Throws: `ModelError` naming the file and what is wrong with it.
    package init(folder: String) throws {
        name = URL(fileURLWithPath: folder).standardizedFileURL.lastPathComponent
        configuration = try Self.readConfiguration(folder + "/config.json")
        let tokenizerFile = folder + "/tokenizer.json"
        tokenizerSource = .json(try Self.read(tokenizerFile), file: tokenizerFile)
        chatTemplate = try Self.readTemplate(folder)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".safetensors") }.sorted()
        guard !names.isEmpty else { throw ModelError(.notFound, "no *.safetensors file in it", file: folder) }
        files = try names.map { try SafetensorsFile(path: folder + "/" + $0) }
        var places: [String: Int] = [:]
        for (index, file) in files.enumerated() {
            for name in file.entries.keys { places[name] = index }
        }
        self.places = places
    }

    package func has(_ name: String) -> Bool { places[name] != nil }

    package func tensor(_ name: String) throws -> StoredTensor {
        guard let place = places[name], let entry = files[place].entries[name] else {
            throw ModelError(.missingTensor, "tensor '\(name)' is missing", file: self.name)
        }
        guard entry.shape.count <= 2, let columns = entry.shape.last else {
            throw ModelError(.malformed, "tensor '\(name)' has the shape \(entry.shape)", file: files[place].file.path)
        }
        return StoredTensor(
            name: name, type: entry.type, rows: entry.shape.count == 2 ? entry.shape[0] : 1, columns: columns,
            file: files[place].file, offset: entry.offset)
    }

    private static func read(_ path: String) throws -> Data {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ModelError(.notFound, "no such file, or not readable", file: path)
        }
        return data
    }

    private static func decode<Value: Decodable>(_ type: Value.Type, _ path: String) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            return try decoder.decode(type, from: try read(path))
        } catch let error as DecodingError {
            switch error {
            case .keyNotFound(let key, _):
                throw ModelError(.malformed, "'\(key.stringValue)' is missing", file: path)
            case .typeMismatch(_, let context), .valueNotFound(_, let context):
                let key = context.codingPath.map(\.stringValue).joined(separator: ".")
                throw ModelError(.malformed, "'\(key)': \(context.debugDescription)", file: path)
            default: throw ModelError(.malformed, "not JSON", file: path)
            }
        }
    }

    private static func readTemplate(_ folder: String) throws -> String? {
        let own = folder + "/chat_template.jinja"
        if FileManager.default.fileExists(atPath: own) {
            return String(decoding: try read(own), as: UTF8.self)
        }
        let path = folder + "/tokenizer_config.json"
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        struct Configuration: Decodable { var chatTemplate: String? }
        return try decode(Configuration.self, path).chatTemplate
    }

    private struct Configuration: Decodable {
        var modelType: String
        var vocabSize, hiddenSize, numHiddenLayers, numAttentionHeads: Int
        var numKeyValueHeads, headDim, intermediateSize, maxPositionEmbeddings: Int?
        var rmsNormEps, ropeTheta: Double?
        var tieWordEmbeddings: Bool?
        var attentionBias: Bool?
        var hiddenAct: String?
        var ropeScaling: Scaling?
        var numExperts, numExpertsPerTok, moeIntermediateSize, sharedExpertIntermediateSize: Int?
        var normTopkProb: Bool?
        var decoderSparseStep: Int?
        var mlpOnlyLayers: [Int]?

        struct Scaling: Decodable {}
    }

    private static func readConfiguration(_ path: String) throws -> ModelConfiguration {
        let c = try decode(Configuration.self, path)
        func unsupported(_ what: String) -> ModelError {
            ModelError(.unsupported, "\(what) is not supported", file: path)
        }
        guard let family = ModelConfiguration.Family(rawValue: c.modelType) else {
            let known = ModelConfiguration.Family.allCases.map(\.rawValue).joined(separator: ", ")
            throw ModelError(
                .unsupported, "model_type \(ModelError.quoted(c.modelType)) is not supported (\(known) are)", file: path
            )
        }
        guard c.hiddenAct ?? "silu" == "silu" else { throw unsupported("hidden_act other than silu") }
        guard c.ropeScaling == nil else { throw unsupported("rope_scaling") }
        guard family != .llama || c.attentionBias != true else { throw unsupported("attention_bias in llama") }
        guard c.numAttentionHeads > 0 else {
            throw ModelError(.malformed, "'num_attention_heads' is \(c.numAttentionHeads)", file: path)
        }
        var configuration = ModelConfiguration(
            family: family, vocabularySize: c.vocabSize, width: c.hiddenSize, layerCount: c.numHiddenLayers,
            headCount: c.numAttentionHeads, keyValueHeadCount: c.numKeyValueHeads ?? c.numAttentionHeads,
            headDimension: c.headDim ?? c.hiddenSize / c.numAttentionHeads, feedForwardWidth: c.intermediateSize ?? 0,
            contextLength: c.maxPositionEmbeddings ?? 2048, normEpsilon: Float(c.rmsNormEps ?? 1e-6),
            ropeTheta: Float(c.ropeTheta ?? 10_000), tiedEmbeddings: c.tieWordEmbeddings ?? false,
            attentionBias: family != .llama)
        if family == .qwen2MoE {
            guard c.decoderSparseStep ?? 1 == 1, c.mlpOnlyLayers?.isEmpty ?? true else {
                throw unsupported("a mix of dense and expert layers")
            }
            configuration.experts = ExpertConfiguration(
                routedCount: c.numExperts ?? 60, activeCount: c.numExpertsPerTok ?? 4,
                width: c.moeIntermediateSize ?? 1408, sharedWidth: c.sharedExpertIntermediateSize ?? 5632,
                normalizesWeights: c.normTopkProb ?? false, gatesShared: true)
        }
        try configuration.validate(file: path)
        return configuration
    }
}
