public import Foundation

/// Where a key is read from: an environment variable or a file. A task names the place, never the key.
public enum APIKeySource: Sendable, Hashable, Codable {
    case environment(String)
    case file(String)

    /// - Parameter text: `env:NAME` or `file:PATH`; nil for anything else.
    public init?(_ text: String) {
        if text.hasPrefix("env:") {
            let name = String(text.dropFirst(4))
            guard let first = name.unicodeScalars.first, first == "_" || first.properties.isAlphabetic,
                name.unicodeScalars.allSatisfy({
                    $0.isASCII && ($0 == "_" || $0.properties.isAlphabetic || ("0"..."9").contains($0))
                })
            else { return nil }
            self = .environment(name)
        } else if text.hasPrefix("file:"), text.count > 5 {
            self = .file(String(text.dropFirst(5)))
        } else {
            return nil
        }
    }

    /// Reads the key.
    ///
    /// - Parameters:
    ///   - folder: what a relative path is relative to.
    ///   - environment: nil: this process's.
    /// - Throws: ``EndpointError`` `.key`, which never says more of the key than where it should be.
    public func read(in folder: URL? = nil, environment: [String: String]? = nil) throws -> APIKey {
        switch self {
        case .environment(let name):
            guard let text = (environment ?? ProcessInfo.processInfo.environment)[name], !text.isEmpty else {
                throw EndpointError(.key, "the environment variable \(name), which should hold the key, is not set")
            }
            guard let key = APIKey(text) else {
                throw EndpointError(.key, "the environment variable \(name) holds no key: it has spaces or line breaks")
            }
            return key
        case .file(let path):
            let expanded = path.hasPrefix("~/") ? NSHomeDirectory() + path.dropFirst(1) : path
            let url =
                expanded.hasPrefix("/") || folder == nil
                ? URL(fileURLWithPath: expanded) : folder!.appendingPathComponent(expanded)
            guard let handle = try? FileHandle(forReadingFrom: url), let data = try? handle.read(upToCount: 8193) else {
                throw EndpointError(.key, "the file \(url.path), which should hold the key, cannot be read")
            }
            guard data.count <= 8192, let key = APIKey(String(decoding: data, as: UTF8.self)) else {
                throw EndpointError(.key, "the file \(url.path) holds no key: expected one line without spaces")
            }
            return key
        }
    }
}

/// A key. It is written nowhere: printing, dumping and interpolating it give a mask.
public struct APIKey: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let text: String

    /// - Parameter text: what surrounds it is cut off; nil when what is left is empty or cannot stand in a header.
    public init?(_ text: String) {
        let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !trimmed.isEmpty, trimmed.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        self.text = trimmed
    }

    public var description: String { "•••" }
    public var debugDescription: String { "•••" }
    public var customMirror: Mirror { Mirror(self, children: []) }

    /// The key itself, for who checks it.
    package var secret: String { text }

    /// The value of the header `Authorization`.
    var authorization: String { "Bearer " + text }

    /// The text without the key, for errors that quote what a server said; a server may quote the key, or its beginning.
    public func redacting(_ message: String) -> String {
        var result = message.replacing(text, with: "•••")
        guard text.count >= 12 else { return result }
        let beginning = String(text.prefix(8))
        while let range = result.range(of: beginning) {
            var end = range.upperBound
            while end < result.endIndex, !result[end].isWhitespace, !"\"'`,;)".contains(result[end]) {
                end = result.index(after: end)
            }
            result.replaceSubrange(range.lowerBound..<end, with: "•••")
        }
        return result
    }
}
