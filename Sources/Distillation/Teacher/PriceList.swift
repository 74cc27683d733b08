internal import Foundation
internal import LanguageModels
internal import Tokenizers

/// What a million tokens of a model cost, in dollars.
package struct TokenPrices: Sendable, Hashable, Codable {
    package var usdPerMillionInput: Double
    package var usdPerMillionOutput: Double

    package init(usdPerMillionInput: Double, usdPerMillionOutput: Double) {
        self.usdPerMillionInput = usdPerMillionInput
        self.usdPerMillionOutput = usdPerMillionOutput
    }

    /// What batches cost.
    var halved: TokenPrices {
        TokenPrices(usdPerMillionInput: usdPerMillionInput / 2, usdPerMillionOutput: usdPerMillionOutput / 2)
    }

    package func usd(input: Int, output: Int) -> Double {
        (Double(input) * usdPerMillionInput + Double(output) * usdPerMillionOutput) / 1e6
    }
}

/// Prices by model, in a file that the user edits: `prices.json` in the program's data folder.
package struct PriceList: Sendable {
    package var path: String
    private var models: [String: TokenPrices] = [:]
    private var other = TokenPrices(usdPerMillionInput: 2.4, usdPerMillionOutput: 9.6)

    /// What the file says when the user has none yet. Providers change their prices: these are a start.
    private static let template = """
        {
          "comment": "Dollars for a million tokens, by the model's name or its beginning. Put your contract's prices here; 'default' is for all other models.",
          "default": {"input": 2.4, "output": 9.6},
          "models": {
            "gpt-4o": {"input": 2.5, "output": 10},
            "gpt-4o-mini": {"input": 0.15, "output": 0.6},
            "gpt-4.1": {"input": 2, "output": 8},
            "gpt-4.1-mini": {"input": 0.4, "output": 1.6},
            "gpt-4.1-nano": {"input": 0.1, "output": 0.4},
            "deepseek-chat": {"input": 0.27, "output": 1.1},
            "qwen-max": {"input": 1.6, "output": 6.4},
            "qwen-plus": {"input": 0.4, "output": 1.2}
          }
        }

        """

    /// Reads the file, and writes it first when there is none.
    ///
    /// - Parameter path: nil: `$UNDERSTUDY_PRICES`, otherwise `prices.json` in the program's data folder.
    /// - Throws: ``TaskError`` when the file is not as expected.
    package init(path: String? = nil) throws {
        let named = ProcessInfo.processInfo.environment["UNDERSTUDY_PRICES"].flatMap { $0.isEmpty ? nil : $0 }
        let path = path ?? named ?? ModelStore.home + "/prices.json"
        self.path = path
        let data: Data
        if FileManager.default.fileExists(atPath: path) {
            guard let contents = FileManager.default.contents(atPath: path) else {
                throw TaskError("cannot be read", file: path)
            }
            data = contents
        } else {
            data = Data(Self.template.utf8)
            // A folder that cannot be written is no reason not to run.
            let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
            try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try? data.write(to: URL(fileURLWithPath: path), options: .atomic)
        }
        let value: JSONValue
        do { value = try JSONParser.parse(data) } catch { throw TaskError("not JSON: \(error)", file: path) }
        func prices(_ value: JSONValue, _ name: String) throws -> TokenPrices {
            func number(_ key: String) -> Double? {
                guard case .number(let text)? = value[key], let number = Double(text), number >= 0 else { return nil }
                return number
            }
            guard let input = number("input"), let output = number("output") else {
                throw TaskError(
                    "the price of '\(name)' must be {\"input\": …, \"output\": …}, dollars for a million tokens",
                    file: path)
            }
            return TokenPrices(usdPerMillionInput: input, usdPerMillionOutput: output)
        }
        if let entry = value["default"] { other = try prices(entry, "default") }
        guard case .object(let members)? = value["models"] else {
            throw TaskError("expected an object with 'models' and 'default'", file: path)
        }
        for member in members { models[member.key] = try prices(member.value, member.key) }
    }

    /// The price of a model: its own, that of the longest name it begins with, or the default.
    package subscript(model model: String) -> TokenPrices {
        if let own = models[model] { return own }
        let beginnings = models.keys.filter { model.hasPrefix($0) }
        guard let name = beginnings.max(by: { ($0.count, $1) < ($1.count, $0) }) else { return other }
        return models[name] ?? other
    }
}
