import Distillation
import Foundation
import TestSupport
import Testing

private func key(_ text: String) -> ContentKey { ContentKey(of: text) }

@Suite struct WorkspaceStageTests {
    private struct Output: Codable, Equatable {
        var number: Double
        var model: FileReference?
        var others: [String: [FileReference]] = [:]
    }

    @Test func runsOnceForAKeyAlsoAfterReopening() async throws {
        let folder = try TemporaryFolder()
        var runs = 0
        for round in 0..<3 {
            let workspace = try Workspace(folder: folder.url)
            var reused = 0
            let output = try await workspace.stage("label", key: key("a"), reused: { _ in reused += 1 }) {
                runs += 1
                return Output(number: 0.1 + 0.2)
            }
            #expect(output == Output(number: 0.1 + 0.2))
            #expect(reused == (round == 0 ? 0 : 1))
        }
        #expect(runs == 1)
    }

    @Test func anotherKeyOrNameRunsAndTheFirstStaysStored() async throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        var log: [String] = []
        for (name, input) in [("label", "a"), ("label", "b"), ("train", "a"), ("label", "a"), ("label", "b")] {
            let text = try await workspace.stage(name, key: key(input)) {
                log.append(name + input)
                return name + input
            }
            #expect(text == name + input)
        }
        #expect(log == ["labela", "labelb", "traina"])
        let records = try workspace.stageRecords()
        #expect(records.count == 3)
        #expect(records.allSatisfy { $0.state == .finished && $0.runs == 1 && ($0.seconds ?? -1) >= 0 })
        #expect(try workspace.stageRecord("label", key: key("a"))?.outputKey == ContentKey(of: "\"labela\""))
    }

    @Test func filesNamedAnywhereInTheOutputMustStillBeThere() async throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        let (first, second) = (folder.file("model.bin"), folder.file("deep.bin"))
        var runs = 0
        func run() async throws {
            _ = try await workspace.stage("train", key: key("a")) {
                runs += 1
                try AtomicFile.write("weights", to: first)
                try AtomicFile.write("others", to: second)
                return Output(
                    number: 1, model: try workspace.reference(to: first),
                    others: ["x": [try workspace.reference(to: second)]])
            }
        }
        try await run()
        try await run()
        #expect(runs == 1)
        // Same size, other content.
        try Data("wEights".utf8).write(to: first)
        try await run()
        #expect(runs == 2)
        try FileManager.default.removeItem(at: second)
        try await run()
        #expect(runs == 3)
        try await run()
        #expect(runs == 3)
        // Rewritten with the same content: still good.
        try AtomicFile.write("weights", to: first)
        try await run()
        #expect(runs == 3)
    }

    @Test func aFileChangedInPlaceIsNoticed() throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        let file = folder.file("data.jsonl")
        try Data("one".utf8).write(to: file)
        // Too young to trust its time: never answered from the cache.
        let before = try workspace.reference(to: file)
        let handle = try FileHandle(forWritingTo: file)
        try handle.write(contentsOf: Data("two".utf8))
        try handle.close()
        #expect(try workspace.reference(to: file).sha256 != before.sha256)
        #expect(!workspace.isCurrent(before))
        // An old file is answered from the cache, until it changes.
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -60)], ofItemAtPath: file.path)
        let old = try workspace.reference(to: file)
        #expect(try workspace.reference(to: file) == old)
        #expect(old.path == "data.jsonl" && old.size == 3 && old.sha256 == ContentKey(of: "two"))
        try Data("six".utf8).write(to: file)
        #expect(try workspace.reference(to: file).sha256 == ContentKey(of: "six"))
    }

    @Test func aFailedOrCancelledStageRunsAgain() async throws {
        struct Failure: Error, CustomStringConvertible { var description: String { "the teacher is away" } }
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        await #expect(throws: Failure.self) {
            _ = try await workspace.stage("label", key: key("a")) { () -> Int in throw Failure() }
        }
        #expect(try workspace.stageRecord("label", key: key("a"))?.state == .failed)
        #expect(try workspace.stageRecord("label", key: key("a"))?.error == "the teacher is away")
        await #expect(throws: CancellationError.self) {
            _ = try await workspace.stage("label", key: key("a")) { () -> Int in throw CancellationError() }
        }
        let value = try await workspace.stage("label", key: key("a")) { 7 }
        #expect(value == 7)
        #expect(try workspace.stageRecord("label", key: key("a"))?.runs == 3)
    }

    @Test func anOutputOfAnotherShapeRunsAgain() async throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        _ = try await workspace.stage("plan", key: key("a")) { "old shape" }
        let value = try await workspace.stage("plan", key: key("a")) { 5 }
        #expect(value == 5)
        #expect(try workspace.output(Int.self, of: "plan", key: key("a")) == 5)
        #expect(try workspace.output(String.self, of: "plan", key: key("a")) == nil)
        try workspace.forget("plan")
        #expect(try workspace.output(Int.self, of: "plan", key: key("a")) == nil)
    }

    @Test func numbersThatJSONCannotHoldComeBack() async throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        let value = try await workspace.stage("x", key: key("a")) { [Double.nan, .infinity, -.infinity, 1e-300] }
        #expect(value[0].isNaN && value[1] == .infinity && value[2] == -.infinity && value[3] == 1e-300)
    }

    @Test func theSameStageTwiceAtOnceIsRefused() async throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        let value = try await workspace.stage("x", key: key("a")) {
            let error = await #expect(throws: WorkspaceError.self) {
                _ = try await workspace.stage("x", key: key("a")) { 1 }
            }
            #expect(error?.code == .busy)
            return try await workspace.stage("x", key: key("b")) { 2 }
        }
        #expect(value == 2)
    }
}

@Suite struct WorkspaceStoreTests {
    @Test func keysDependOnNamesValuesAndKindsNotOnOrder() throws {
        let one = ContentKey.of {
            $0.add("a", 1)
            $0.add("b", "x")
        }
        let other = ContentKey.of {
            $0.add("b", "x")
            $0.add("a", 1)
        }
        #expect(one == other)
        let variants: [ContentKey] = [
            one,
            .of {
                $0.add("a", "1"); $0.add("b", "x")
            },
            .of {
                $0.add("a", 1.0); $0.add("b", "x")
            },
            .of { $0.add("a", 1) }, .of { $0.add("ab", "1x") },
            .of {
                $0.add("a", 1); $0.add("b", ["x"])
            },
            .of {
                $0.add("a", 1); $0.add("b", ["x", ""])
            },
            .of {
                $0.add("a", 2); $0.add("b", "x")
            }, .of { _ in },
            .of { $0.add("l", ["ab", "c"]) }, .of { $0.add("l", ["a", "bc"]) },
        ]
        #expect(Set(variants).count == variants.count)
        // The key is part of the format on disk: it must not change between versions.
        #expect(one.hexadecimal == "81f28c0517230a5ab72ebb114a1766af465f0aaf0521305c2433a1bda24e84a5")
        #expect(ContentKey(hexadecimal: one.hexadecimal) == one)
        #expect(ContentKey(hexadecimal: "zz" + one.hexadecimal.dropFirst(2)) == nil)
        #expect(ContentKey(hexadecimal: String(one.hexadecimal.dropLast())) == nil)
    }

    @Test func answersAreStoredBeforeTheNextBatchIsAsked() async throws {
        struct Stop: Error {}
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        let requests = ["a", "b", "a", "c", "d", "e"].map(key)
        var asked: [[Int]] = []
        await #expect(throws: Stop.self) {
            _ = try await workspace.answers(to: requests, batch: 2) { indices in
                asked.append(indices)
                if asked.count == 2 { throw Stop() }
                return indices.map {
                    StoredAnswer(request: requests[$0], body: Data("\($0)".utf8), inputTokens: 3, usd: 0.5)
                }
            }
        }
        #expect(asked == [[0, 1], [3, 4]])
        #expect(try workspace.answerTotals().count == 2)
        #expect(try workspace.answerTotals().usd == 1)
        var steps: [Int] = []
        let answers = try await workspace.answers(to: requests, batch: 2, progress: { steps.append($0) }) { indices in
            asked.append(indices)
            return indices.map { StoredAnswer(request: requests[$0], body: Data("\($0)".utf8), inputTokens: 3) }
        }
        #expect(asked.dropFirst(2) == [[3, 4], [5]])
        #expect(steps == [3, 5, 6])
        #expect(answers.map { $0.map { String(decoding: $0.body, as: UTF8.self) } } == ["0", "1", "0", "3", "4", "5"])
        #expect(try workspace.answerTotals().inputTokens == 15)
    }

    @Test func aSpentBudgetLeavesTheRestUnanswered() async throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        let requests = (0..<10).map { key("\($0)") }
        let answers = try await workspace.answers(to: requests, batch: 4) { indices in
            indices.prefix(indices[0] == 4 ? 1 : 4).map { StoredAnswer(request: requests[$0], body: Data()) }
        }
        #expect(answers.map { $0 != nil } == [true, true, true, true, true] + Array(repeating: false, count: 5))
    }

    @Test func curvesComeBackInOrderAndCanBeCutOff() throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        try workspace.record(
            (0..<20).reversed().map { MetricValue(step: $0, name: "loss", value: 1 / Double($0 + 1)) }, run: "r")
        try workspace.record([MetricValue(step: 3, name: "validation", value: .nan)], run: "r")
        try workspace.record([MetricValue(step: 0, name: "loss", value: 9)], run: "other")
        try workspace.discardMetrics(run: "r", after: 9)
        let curves = try workspace.metrics(run: "r")
        #expect(curves["loss"]?.map(\.step) == Array(0...9))
        #expect(curves["loss"]?[4].value == 0.2)
        #expect(curves["validation"]?[0].value.isNaN == true)
        #expect(try workspace.metricRuns() == ["other", "r"])
        try workspace.discardMetrics(run: "r")
        #expect(try workspace.metrics(run: "r").isEmpty)
        #expect(try workspace.metrics(run: "other").count == 1)
    }

    @Test func oneRunAtATimeButAnyNumberOfReaders() async throws {
        let folder = try TemporaryFolder()
        #expect(throws: WorkspaceError.self) { try Workspace(folder: folder.url, access: .reading) }
        do {
            let workspace = try Workspace(folder: folder.url)
            _ = try await workspace.stage("x", key: key("a")) { 1 }
            let error = #expect(throws: WorkspaceError.self) { try Workspace(folder: folder.url) }
            #expect(error?.code == .busy)
            #expect(error?.message.contains("process \(ProcessInfo.processInfo.processIdentifier)") == true)
            #expect(error?.message.contains("\n") == false)
            let reader = try Workspace(folder: folder.url, access: .reading)
            #expect(try reader.output(Int.self, of: "x", key: key("a")) == 1)
            #expect(throws: WorkspaceError.self) { try reader.forget("x") }
        }
        _ = try Workspace(folder: folder.url)
    }

    @Test func damageIsOneClearError() throws {
        let folder = try TemporaryFolder()
        do {
            let workspace = try Workspace(folder: folder.url)
            try workspace.store((0..<200).map { StoredAnswer(request: key("\($0)"), body: Data(count: 500)) })
            try workspace.checkIntegrity()
        }
        let file = folder.file(".understudy/workspace.sqlite")
        let good = try Data(contentsOf: file)
        var damaged = good
        damaged.replaceSubrange(8192..<(8192 + 40_000), with: Data(repeating: 0xA5, count: 40_000))
        for content in [Data("not a database, but long enough to have a header".utf8), damaged] {
            try content.write(to: file)
            let error = #expect(throws: WorkspaceError.self) {
                let workspace = try Workspace(folder: folder.url)
                _ = try workspace.answers(to: (0..<200).map { key("\($0)") })
                try workspace.checkIntegrity()
            }
            #expect(error?.code == .damaged)
            #expect(error?.message.contains("workspace.sqlite") == true)
        }
        try good.write(to: file)
        #expect(try Workspace(folder: folder.url).answerTotals().count == 200)
    }

    @Test func mutatedDatabasesGiveErrorsNotCrashes() throws {
        let folder = try TemporaryFolder()
        do {
            let workspace = try Workspace(folder: folder.url)
            try workspace.store((0..<40).map { StoredAnswer(request: key("\($0)"), body: Data(count: 300)) })
        }
        let file = folder.file(".understudy/workspace.sqlite")
        let good = try Data(contentsOf: file)
        var random = MutationOrder(seed: 5)
        var failures = 0
        for _ in 0..<300 {
            var bytes = good
            for _ in 0..<random.next(below: 30) + 1 {
                bytes[random.next(below: bytes.count)] = UInt8(random.next(below: 256))
            }
            if random.next(below: 4) == 0 { bytes.removeLast(random.next(below: bytes.count)) }
            try bytes.write(to: file)
            do {
                let workspace = try Workspace(folder: folder.url)
                _ = try workspace.answers(to: (0..<40).map { key("\($0)") })
                _ = try workspace.stageRecords()
                _ = try workspace.metrics(run: "r")
            } catch let error as WorkspaceError {
                #expect(!error.message.isEmpty)
                failures += 1
            }
        }
        #expect(failures > 20)
    }

    @Test func aFullDiskIsOneClearErrorAndKeepsWhatWasStored() throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url, maximumBytes: 200_000)
        try workspace.store([StoredAnswer(request: key("kept"), body: Data(count: 100))])
        let error = #expect(throws: WorkspaceError.self) {
            try workspace.store((0..<100).map { StoredAnswer(request: key("\($0)"), body: Data(count: 10_000)) })
        }
        #expect(error?.code == .diskFull)
        #expect(try workspace.answerTotals().count == 1)
        try workspace.store([StoredAnswer(request: key("small"), body: Data(count: 100))])
        #expect(try workspace.answerTotals().count == 2)
    }

    @Test func foldersThatCannotBeUsedAreOneClearError() throws {
        let folder = try TemporaryFolder()
        let file = folder.file("file")
        try Data().write(to: file)
        #expect(throws: WorkspaceError.self) { try Workspace(folder: file) }
        let error = #expect(throws: WorkspaceError.self) { try Workspace(folder: folder.file("nowhere")) }
        #expect(error?.code == .missing)
        #if os(Linux)
            let readOnly = #expect(throws: WorkspaceError.self) { try Workspace(folder: URL(fileURLWithPath: "/sys")) }
            #expect(readOnly?.code == .notWritable)
        #endif
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/sqlite3")))
    func aNewerDatabaseIsRefused() throws {
        let folder = try TemporaryFolder()
        do { _ = try Workspace(folder: folder.url) }
        let tool = Process()
        tool.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tool.arguments = [
            "sqlite3", folder.file(".understudy/workspace.sqlite").path,
            "INSERT INTO grdb_migrations VALUES ('999-from-the-future')",
        ]
        try tool.run()
        tool.waitUntilExit()
        try #require(tool.terminationStatus == 0)
        let error = #expect(throws: WorkspaceError.self) { try Workspace(folder: folder.url) }
        #expect(error?.code == .newer)
    }

    @Test func hashingRefusesWhatIsNotARegularFile() throws {
        let folder = try TemporaryFolder()
        let workspace = try Workspace(folder: folder.url)
        #expect(mkfifo(folder.file("pipe").path, 0o600) == 0)
        for path in [folder.file("pipe").path, folder.url.path, "/dev/zero", folder.file("nothing").path] {
            let error = #expect(throws: WorkspaceError.self) { try workspace.reference(to: URL(fileURLWithPath: path)) }
            #expect(error?.message.contains(path) == true)
        }
    }
}

/// A seeded order of numbers (SplitMix64), the same on every machine.
struct MutationOrder: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func next(below bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
