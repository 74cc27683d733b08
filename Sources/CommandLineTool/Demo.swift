internal import ArgumentParser
internal import Distillation
internal import Foundation
internal import LanguageModels

struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The whole loop on a pack that ships with the product.",
        discussion: "Fetches the teacher when it is not here, copies the pack into a folder of its own, and runs it.")

    @Argument(help: "The pack: finance.") var pack = "finance"
    @Flag(help: "All inputs and all epochs, however long it takes.") var full = false
    @Option(help: "Minutes for adapting, labelling and training together.") var minutes = 5.0
    @Option(help: "Where to work; nil: understudy-demo-PACK in this folder.") var folder: String?
    @Option(help: "Threads; 0: one for each core.") var threads = 0
    @Flag(help: "Print the certificate as JSON on standard output.") var json = false

    func validate() throws {
        guard minutes > 0, minutes.isFinite else { throw ValidationError("--minutes must be above 0.") }
        guard threads >= 0, threads <= 1024 else { throw ValidationError("--threads must be 0 to 1024.") }
    }

    func run() async throws {
        let source = try PackStore().folder(of: pack)
        let work = URL(fileURLWithPath: folder ?? "understudy-demo-\(pack)")
        try PackStore.copy(source, to: work)
        let task = try TaskDefinition(folder: work)
        for model in Set([task.teacher, task.student.base].compactMap { $0 }) {
            if ModelStore.catalogue.contains(where: { $0.name == model }) {
                _ = try await ModelStore().pull(model) { Terminal.note($0) }
            }
        }
        let options = RunOptions(minutes: full ? nil : minutes, threads: threads)
        try await RunReport(folder: work.path, options: options, json: json).run()
    }
}

/// Finds the packs that ship with the product.
struct PackStore {
    /// - Throws: ``TaskError`` when there is no such pack.
    func folder(of pack: String) throws -> URL {
        var places: [URL] = []
        if let named = ProcessInfo.processInfo.environment["UNDERSTUDY_PACKS"] {
            places.append(URL(fileURLWithPath: named))
        }
        places.append(URL(fileURLWithPath: "Packs"))
        // Beside the program, or above it: a build folder lies in the checkout.
        var above = URL(fileURLWithPath: Bundle.main.executablePath ?? "").resolvingSymlinksInPath()
        for _ in 0..<5 {
            above.deleteLastPathComponent()
            places.append(above.appendingPathComponent("Packs"))
            places.append(above.appendingPathComponent("share/understudy/Packs"))
        }
        guard pack.allSatisfy({ $0.isLetter || $0.isNumber || $0 == "-" }) else {
            throw TaskError("'\(pack)' is no pack's name")
        }
        for place in places {
            let folder = place.appendingPathComponent(pack)
            if FileManager.default.fileExists(atPath: folder.appendingPathComponent("task.yaml").path) { return folder }
        }
        throw TaskError("there is no pack '\(pack)' (known: finance); set UNDERSTUDY_PACKS to the folder of the packs")
    }

    /// Copies a pack's files; files that are there with the same contents stay, so that a run can go on.
    static func copy(_ source: URL, to destination: URL) throws {
        let files = FileManager.default
        do {
            try files.createDirectory(at: destination, withIntermediateDirectories: true)
            for file in try files.contentsOfDirectory(at: source, includingPropertiesForKeys: nil) {
                let place = destination.appendingPathComponent(file.lastPathComponent)
                let data = try Data(contentsOf: file)
                if (try? Data(contentsOf: place)) != data { try data.write(to: place, options: .atomic) }
            }
        } catch {
            throw TaskError("the pack cannot be copied: \(error.localizedDescription)", file: destination.path)
        }
    }
}
