internal import Foundation
package import Tensors
package import Training

/// A local teacher at every process of a group, which share the inputs of each call. Use at rank 0.
///
/// The models' files are sent, since the others may be on other machines. An answer does not depend on what is answered
/// beside it, so that on processors of one kind the answers are those of one process.
package final class SharedTeacher {
    private let group: any ProcessGroup
    private let own: ([String]) throws -> [TaskAnswer]

    /// What the other processes get before the files.
    struct Description: Codable {
        var teacher: LocalTeacher
        /// The names of each model's files; one without a folder where the model is a single file.
        var models: [Model]

        struct Model: Codable {
            var isFolder: Bool
            var names: [String]
        }
    }

    /// What a process says of its share.
    struct Share: Codable {
        var answers: [TaskAnswer] = []
        /// What went wrong; nil: nothing.
        var error: String?
    }

    /// Bytes of a file that are sent at a time.
    private static let piece = 1 << 26

    /// - Parameter paths: of the models.
    /// - Throws: ``TaskError`` when a process can't open it; `ModelError`.
    package init(_ teacher: LocalTeacher, paths: [String], group: any ProcessGroup, pool: WorkerPool) throws {
        precondition(group.rank == 0, "SharedTeacher belongs to rank 0, this is rank \(group.rank)")
        self.group = group
        let files = try paths.map(Self.files)
        let contents = try files.map { try $0.urls.map { try Data(contentsOf: $0, options: .mappedIfSafe) } }
        let description = Description(
            teacher: teacher,
            models: files.map { .init(isFolder: $0.isFolder, names: $0.urls.map(\.lastPathComponent)) })
        _ = group.announce([GroupMessage.teacher.rawValue] + (try JSONEncoder().encode(description)))
        for data in contents.joined() {
            for start in stride(from: 0, to: data.count, by: Self.piece) {
                _ = group.announce([UInt8](data[start..<min(data.count, start + Self.piece)]))
            }
            _ = group.announce([])
        }
        // The others say how it went before this one does.
        let opened = Result { try teacher.open(paths, pool: pool) }
        let others = group.collect([])
        own = try opened.get()
        for (rank, bytes) in others.enumerated().dropFirst() { _ = try Self.share(bytes, rank: rank) }
    }

    /// Answers inputs in their order.
    ///
    /// - Throws: ``TaskError`` when a process fails.
    package func answer(_ inputs: [String]) throws -> [TaskAnswer] {
        _ = group.announce([GroupMessage.inputs.rawValue] + (try JSONEncoder().encode(inputs)))
        let answers = Result { try own(Self.part(of: inputs, in: group)) }
        let others = group.collect([])
        var all = try answers.get()
        for (rank, bytes) in others.enumerated().dropFirst() { all += try Self.share(bytes, rank: rank) }
        guard all.count == inputs.count else {
            throw TaskError("\(group.size) processes gave \(all.count) answers to \(inputs.count) inputs")
        }
        return all
    }

    /// The inputs that this process answers.
    static func part(of inputs: [String], in group: any ProcessGroup) -> [String] {
        // What is written around each input takes some time, too.
        Array(inputs[group.shares(of: inputs.map { $0.utf8.count + 16 })[group.rank]])
    }

    private static func share(_ bytes: [UInt8], rank: Int) throws -> [TaskAnswer] {
        let share = try JSONDecoder().decode(Share.self, from: Data(bytes))
        if let error = share.error { throw TaskError("process \(rank): \(error)") }
        return share.answers
    }

    /// What a model at a path is made of.
    private static func files(_ path: String) throws -> (isFolder: Bool, urls: [URL]) {
        let url = URL(fileURLWithPath: path)
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        guard isFolder.boolValue else { return (false, [url]) }
        let urls = try FileManager.default.contentsOfDirectory(at: url, includingPropertiesForKeys: [.isRegularFileKey])
            .filter { (try? $0.resourceValues(forKeys: [.isRegularFileKey]))?.isRegularFile ?? false }
        return (true, urls.sorted { $0.lastPathComponent < $1.lastPathComponent })
    }
}
