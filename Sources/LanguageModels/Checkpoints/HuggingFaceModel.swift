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
        tokenizerSource = .json(try Self.read(tokenizerFile), file: tokenizerFile, ends: Self.readEnds(folder))
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

    package var normOffset: Float { configuration.family == .gemma3 ? 1 : 0 }

    package func has(_ name: String) -> Bool { find(TensorPlace(name, family: configuration.family).name) != nil }

    /// The file and the entry; language models inside of multimodal ones have longer names.
    private func find(_ name: String) -> (file: SafetensorsFile, entry: SafetensorsFile.Entry)? {
        let others = name.hasPrefix("model.") ? ["model.language_model." + name.dropFirst(6)] : []
        for name in [name, "language_model." + name] + others {
            if let place = places[name], let entry = files[place].entries[name] { return (files[place], entry) }
        }
        return nil
    }

    package func tensor(_ name: String) throws -> StoredTensor {
        let place = TensorPlace(name, family: configuration.family)
        guard let (file, entry) = find(place.name) else {
            throw ModelError(.missingTensor, "tensor '\(place.name)' is missing", file: self.name)
        }
        func malformed() -> ModelError {
            ModelError(.malformed, "tensor '\(place.name)' has the shape \(entry.shape)", file: file.file.path)
        }
        var shape = entry.shape
        var offset = entry.offset
        if let stack = place.stack {
            guard shape.count == 3, stack < shape[0] else { throw malformed() }
            shape.removeFirst()
            offset += stack * shape[0] * shape[1] * entry.type.blockBytes
        }
        guard shape.count <= 2, let columns = shape.last else { throw malformed() }
        var rows = shape.count == 2 ? shape[0] : 1
        if let half = place.half {
            guard rows % 2 == 0 else { throw malformed() }
            rows /= 2
            if half == .second { offset += rows * columns * entry.type.blockBytes }
        }
        return StoredTensor(
            name: name, type: entry.type, rows: rows, columns: columns, file: file.file, offset: offset)
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

    /// Which tokens begin and end a text: names in `tokenizer_config.json`, numbers in `generation_config.json` and
    /// `config.json`. What cannot be read is not known.
    private static func readEnds(_ folder: String) -> TokenizerEnds {
        /// A token's name, or an object with it.
        struct Name: Decodable {
            var text: String?

            init(from decoder: any Decoder) throws {
                struct Object: Decodable { var content: String? }
                let container = try decoder.singleValueContainer()
                text = (try? container.decode(String.self)) ?? (try? container.decode(Object.self))?.content
            }
        }
        /// A number, or a list of numbers.
        struct Numbers: Decodable {
            var list: [Int32] = []

            init(from decoder: any Decoder) throws {
                let container = try decoder.singleValueContainer()
                list = (try? container.decode(Int32.self)).map { [$0] } ?? (try? container.decode([Int32].self)) ?? []
            }
        }
        struct Names: Decodable {
            var bosToken, eosToken: Name?
        }
        struct Ends: Decodable {
            var bosTokenId, eosTokenId: Numbers?
        }
        let names = try? decode(Names.self, folder + "/tokenizer_config.json")
        let files = ["generation_config.json", "config.json"].compactMap { try? decode(Ends.self, folder + "/" + $0) }
        let numbers = files.flatMap { $0.eosTokenId?.list ?? [] }
        return TokenizerEnds(
            begin: files.lazy.compactMap { $0.bosTokenId?.list.first }.first, end: numbers.first, furtherEnds: numbers,
            addsBegin: nil, beginName: names?.bosToken?.text, endName: names?.eosToken?.text)
    }

    private static func readConfiguration(_ path: String) throws -> ModelConfiguration {
        struct Outer: Decodable { var textConfig: HuggingFaceConfiguration? }
        let inner = try decode(Outer.self, path).textConfig
        return try (inner ?? decode(HuggingFaceConfiguration.self, path)).configuration(path)
    }
}
