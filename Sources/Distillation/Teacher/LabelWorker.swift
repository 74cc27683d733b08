internal import Foundation
package import Tensors
package import Training

/// Answers a process's share of the inputs of a ``SharedTeacher``.
package final class LabelWorker: GroupHelper {
    private let pool: WorkerPool
    private var answer: (([String]) throws -> [TaskAnswer])?

    package init(pool: WorkerPool) { self.pool = pool }

    package func help(_ message: GroupMessage, _ body: ArraySlice<UInt8>, in group: any ProcessGroup) {
        switch message {
        case .teacher:
            // The last teacher's memory is given back first.
            answer = nil
            guard let description = try? JSONDecoder().decode(SharedTeacher.Description.self, from: Data(body)) else {
                preconditionFailure("LabelWorker: rank 0 is another version of the program")
            }
            let folder = FileManager.default.temporaryDirectory
                .appendingPathComponent("understudy-model-" + UUID().uuidString)
            // An open model does not need its files' names.
            defer { try? FileManager.default.removeItem(at: folder) }
            let paths = Self.receive(description.models, into: folder, from: group)
            reply(to: group) {
                answer = try description.teacher.open(try paths.get(), pool: pool)
                return []
            }
        case .inputs:
            guard let answer, let inputs = try? JSONDecoder().decode([String].self, from: Data(body)) else {
                preconditionFailure("LabelWorker: answers are asked for before a teacher")
            }
            reply(to: group) { try answer(SharedTeacher.part(of: inputs, in: group)) }
        case .model:
            answer = nil
        case .end, .gradients: break
        }
    }

    private func reply(to group: any ProcessGroup, _ answers: () throws -> [TaskAnswer]) {
        var share = SharedTeacher.Share()
        do { share.answers = try answers() } catch { share.error = "\(error)" }
        do { _ = group.collect([UInt8](try JSONEncoder().encode(share))) } catch {
            preconditionFailure("LabelWorker: answers with numbers that are not finite")
        }
    }

    /// Writes the files that rank 0 sends, all of them even if the first can't be written.
    ///
    /// - Returns: the models' paths.
    private static func receive(
        _ models: [SharedTeacher.Description.Model], into folder: URL, from group: any ProcessGroup
    ) -> Result<[String], any Error> {
        var failure: (any Error)?
        var paths: [String] = []
        for (place, model) in models.enumerated() {
            let own = folder.appendingPathComponent("\(place)")
            do { try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true) } catch {
                failure = failure ?? error
            }
            for name in model.names {
                let file = own.appendingPathComponent(name)
                let handle = Result {
                    try Data().write(to: file)
                    return try FileHandle(forWritingTo: file)
                }
                while true {
                    let bytes = group.announce([])
                    if bytes.isEmpty { break }
                    do { if failure == nil { try handle.get().write(contentsOf: bytes) } } catch { failure = error }
                }
                try? (try? handle.get())?.close()
            }
            paths.append(model.isFolder ? own.path : own.appendingPathComponent(model.names[0]).path)
        }
        return failure.map { .failure($0) } ?? .success(paths)
    }
}
