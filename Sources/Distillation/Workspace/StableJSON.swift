import Foundation
import Synchronization

/// JSON whose bytes depend on the value alone: sorted keys, infinities and NaN as strings.
enum StableJSON {
    private static let infinity = "inf"
    private static let minusInfinity = "-inf"
    private static let nan = "nan"

    /// Nothing that is stored is larger than this.
    static let maximumBytes = 512 << 20

    /// - Parameter files: receives each ``FileReference`` in the value.
    static func encode(_ value: some Encodable, files: FileCollector? = nil) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: infinity, negativeInfinity: minusInfinity, nan: nan)
        if let files { encoder.userInfo[FileCollector.userInfoKey] = files }
        return try encoder.encode(value)
    }

    static func decode<Value: Decodable>(
        _ type: Value.Type = Value.self, from data: Data, files: FileCollector? = nil
    ) throws -> Value {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: infinity, negativeInfinity: minusInfinity, nan: nan)
        if let files { decoder.userInfo[FileCollector.userInfoKey] = files }
        return try decoder.decode(type, from: data)
    }
}

/// Notes every ``FileReference`` that passes an encoder or decoder.
final class FileCollector: Sendable {
    // A literal that is a valid key: the initialiser never gives nil.
    static let userInfoKey = CodingUserInfoKey(rawValue: "understudy.files")!
    private let stored = Mutex<[FileReference]>([])

    init() {}

    var references: [FileReference] { stored.withLock { $0 } }
    func note(_ reference: FileReference) { stored.withLock { $0.append(reference) } }
}
