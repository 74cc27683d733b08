import Distillation
import Foundation
import TestSupport
import Testing

@Suite(.serialized) struct WorkspaceKillTests {
    static let batch = 7

    /// A process writes answers, stages, curves and a file as fast as it can, and is killed at some moment; what it
    /// leaves must be whole. The exit test runs its body in a process of its own.
    @Test(arguments: [3, 17, 31, 58, 90, 133, 170, 211])
    func killedAtAnyMomentItStaysConsistent(milliseconds: Int) async throws {
        let folder = try TemporaryFolder()
        await #expect(processExitsWith: .signal(SIGKILL)) {
            [path = folder.url.path as String, milliseconds = milliseconds as Int] in
            let workspace = try Workspace(folder: URL(fileURLWithPath: path))
            Thread.detachNewThread {
                usleep(UInt32(milliseconds) * 1000)
                kill(getpid(), SIGKILL)
            }
            for round in 0..<Int.max {
                try workspace.store(
                    (0..<WorkspaceKillTests.batch).map {
                        StoredAnswer(request: ContentKey(of: "\(round)-\($0)"), body: Data(count: 900), usd: 1)
                    })
                let file = URL(fileURLWithPath: path).appendingPathComponent("model.bin")
                _ = try await workspace.stage("train", key: ContentKey(of: "\(round)")) {
                    try AtomicFile.write(Data(repeating: UInt8(round % 251), count: 200_000), to: file)
                    return [try workspace.reference(to: file)]
                }
                try workspace.record([MetricValue(step: round, name: "loss", value: 1)], run: "r")
            }
        }
        // The lock died with its holder, and the database is whole.
        let workspace = try Workspace(folder: folder.url)
        try workspace.checkIntegrity()
        let totals = try workspace.answerTotals()
        #expect(totals.count % Self.batch == 0)
        #expect(totals.usd == Double(totals.count))
        let steps = try workspace.metrics(run: "r")["loss"]?.count ?? 0
        let records = try workspace.stageRecords()
        let finished = records.count { $0.state == .finished }
        #expect(records.count { $0.state == .running } <= 1)
        #expect(steps <= finished && finished <= steps + 1)
        #expect(records.count * Self.batch <= totals.count)
        // The file has the content of one round from the first byte to the last.
        if let content = try? Data(contentsOf: folder.file("model.bin")) {
            #expect(content.count == 200_000)
            #expect(Set(content).count == 1)
        }
        // The next write clears what the killed one left behind.
        try AtomicFile.write("x", to: folder.file("model.bin"))
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.url.path)
        #expect(Set(names) == [".understudy", "model.bin"])
    }

    @Test func aStageKilledInTheMiddleRunsAgain() async throws {
        let folder = try TemporaryFolder()
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = folder.url.path as String] in
            let workspace = try Workspace(folder: URL(fileURLWithPath: path))
            _ = try await workspace.stage("train", key: ContentKey(of: "a")) { () -> Int in
                kill(getpid(), SIGKILL)
                return 1
            }
        }
        let workspace = try Workspace(folder: folder.url)
        #expect(try workspace.stageRecord("train", key: ContentKey(of: "a"))?.state == .running)
        let value = try await workspace.stage("train", key: ContentKey(of: "a")) { 2 }
        #expect(value == 2)
    }

    @Test func aWriteThatFailsLeavesTheOldFile() throws {
        struct Stop: Error {}
        let folder = try TemporaryFolder()
        let file = folder.file("certificate.json")
        try AtomicFile.write("old", to: file)
        #expect(throws: Stop.self) {
            try AtomicFile.write(to: file) { writer in
                try writer.write(Data(repeating: 1, count: 1 << 20))
                throw Stop()
            }
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == "old")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == ["certificate.json"])
        try AtomicFile.write(to: file) { writer in
            for line in 0..<30_000 { try writer.write("line \(line)\n") }
            #expect(writer.count == 318_890)
        }
        let text = try String(contentsOf: file, encoding: .utf8)
        #expect(text.utf8.count == 318_890 && text.hasSuffix("line 29999\n"))
        let error = #expect(throws: WorkspaceError.self) { try AtomicFile.write("x", to: folder.file("no/file")) }
        #expect(error?.code == .missing)
    }
}
