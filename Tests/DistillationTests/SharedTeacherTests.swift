import Distillation
import Foundation
import GRDB
import Inference
import Tensors
import TestSupport
import Testing
import Training

/// Local teachers whose inputs are shared by several processes.
@Suite(.serialized)
struct SharedTeacherTests {
    /// Fails to open what it is sent.
    private final class Failing: GroupHelper {
        func help(_ message: GroupMessage, _ body: ArraySlice<UInt8>, in group: any ProcessGroup) {
            guard message == .teacher else { return }
            while !group.announce([]).isEmpty {}
            _ = group.collect(Array(#"{"answers": [], "error": "no room on the disk"}"#.utf8))
        }
    }

    private func labelWorkers(_ threads: ThreadGroup) -> ThreadGroup.Helpers {
        threads.help {
            let pool = WorkerPool(threadCount: 1)
            return [GradientWorker(pool: pool), LabelWorker(pool: pool)]
        }
    }

    private let inputs = (0..<23).map { "number \($0) " + String(repeating: "thing ", count: $0 * 7 % 5) }

    /// A tiny student, which answers a task as an adapted teacher does.
    private func student() async throws -> (folder: TemporaryFolder, package: StudentPackage) {
        let folder = try TinyTask.folder(
            student: "layers: 1, experts: {routed: 3, shared: 1, active: 2}", training: "{epochs: 1, batch: 8}")
        let outcome = try await TaskRun(folder: folder.url, options: RunOptions(threads: 2), observer: Silent()).run()
        return (folder, try StudentPackage(folder: outcome.package))
    }

    @Test func sharedAnswersAreThoseOfOne() async throws {
        let (folder, package) = try await student()
        let model = folder.url.appendingPathComponent("student/student.gguf").path
        let teacher = LocalTeacher.adapted(package.format, alternatives: 3)
        let pool = WorkerPool(threadCount: 2)
        let alone = try teacher.open([model, model], pool: pool)
        func received() throws -> Set<String> {
            let folder = FileManager.default.temporaryDirectory.path
            return Set(try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains("model-") })
        }
        let before = try received()
        for processes in [2, 3] {
            let threads = ThreadGroup(processes)
            let helpers = labelWorkers(threads)
            let shared = try SharedTeacher(teacher, paths: [model, model], group: threads.members[0], pool: pool)
            // More processes than inputs, too.
            for count in [23, 1, 0, 2] {
                let some = Array(inputs.prefix(count))
                let (own, expected) = (try shared.answer(some), try alone(some))
                #expect(own.map(\.output) == expected.map(\.output))
                #expect(own.map(\.confidence) == expected.map(\.confidence))
                #expect(own.map(\.tokens) == expected.map(\.tokens))
                #expect(
                    own.map { $0.alternatives.map(\.probabilities) }
                        == expected.map { $0.alternatives.map(\.probabilities) })
            }
            helpers.end()
        }
        #expect(try received().subtracting(before).isEmpty)
    }

    @Test func whatAProcessCannotOpenIsSaid() async throws {
        let (folder, package) = try await student()
        let teacher = LocalTeacher.adapted(package.format, alternatives: 3)
        func message(_ path: String, _ helper: @escaping @Sendable () -> any GroupHelper) throws -> String {
            let threads = ThreadGroup(2)
            let helpers = threads.help { [helper()] }
            defer { helpers.end() }
            do {
                _ = try SharedTeacher(
                    teacher, paths: [path], group: threads.members[0], pool: WorkerPool(threadCount: 1))
                return "nothing was thrown"
            } catch { return "\(error)" }
        }
        let model = folder.url.appendingPathComponent("student/student.gguf").path
        #expect(try message(model) { Failing() }.contains("process 1: no room on the disk"))
        // No model anywhere: this process's own error.
        try folder.write("no model", "no.gguf")
        let own = try message(folder.file("no.gguf").path) { LabelWorker(pool: WorkerPool(threadCount: 1)) }
        #expect(own.contains("no.gguf"), "\(own)")
        #expect(try message(model) { LabelWorker(pool: WorkerPool(threadCount: 1)) } == "nothing was thrown")
    }

    /// The answers of a run as the workspace keeps them, by request.
    private func answers(_ folder: TemporaryFolder) throws -> [String] {
        let path = folder.url.appendingPathComponent(".understudy/workspace.sqlite").path
        return try DatabaseQueue(path: path).read { db in
            try Row.fetchAll(db, sql: "SELECT hex(request) AS request, body FROM answers ORDER BY request").map { row in
                let answer = try JSONDecoder().decode(TaskAnswer.self, from: row["body"])
                return "\(row["request"] as String) \(answer.output) \(answer.confidence) \(answer.tokens)"
            }
        }
    }

    /// - Parameter teacher: keys beside the model.
    private func run(teacher: String, processes: Int) async throws -> [String] {
        let folder = try TinyTask.folder(
            student: "layers: 1, experts: {routed: 3, shared: 1, active: 2}", training: "{epochs: 1, batch: 8}")
        let yaml = try String(contentsOf: folder.file("task.yaml"), encoding: .utf8)
        let base = folder.url.appendingPathComponent("tiny.gguf").path
        try folder.write(
            yaml.replacing("data: {", with: "data: {inputs: inputs.jsonl, ")
                + "\nteacher: {model: \(base)\(teacher)}", "task.yaml")
        try folder.write(inputs.map { "{\"input\":\"\($0)\"}" }.joined(separator: "\n"), "inputs.jsonl")
        var options = RunOptions(threads: 1)
        let threads = ThreadGroup(processes)
        let helpers = labelWorkers(threads)
        if processes > 1 { options.group = threads.members[0] }
        defer { helpers.end() }
        _ = try await TaskRun(folder: folder.url, options: options, observer: Silent()).run()
        return try answers(folder)
    }

    @Test func aRunsTeacherAnswersTheSameWithSeveralProcesses() async throws {
        let one = try await run(teacher: "", processes: 1)
        #expect(one.count == 23)
        #expect(try await run(teacher: "", processes: 3) == one)
        // Fitted by several, the teacher differs by the order of sums; what it is asked does not.
        let adapted = ", adapt: {epochs: 1, rank: 4, members: 2}"
        let alone = try await run(teacher: adapted, processes: 1)
        #expect(alone.count > 23)
        #expect(try await run(teacher: adapted, processes: 2).count == alone.count)
    }
}
