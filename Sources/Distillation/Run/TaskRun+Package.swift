internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Training

/// The end of a run: the verdict, and the student's package beside the task.
extension TaskRun {
    /// Judges the student, writes its package and says what came of it.
    func finish(
        _ trained: Trained, student: SystemRun, baseline: SystemRun, teacherRun: SystemRun?, adaptedRun: SystemRun?,
        teachers: [SystemRun]
    ) throws -> Outcome {
        let scoring = Scoring(task)
        let expected = data.test.map(\.output)
        let hasPrice = task.economics.usdPerMillionInput + task.economics.usdPerMillionOutput > 0
        func measured(_ run: SystemRun, isPriced: Bool = false) -> Certificate.SystemMeasurement {
            run.measurement(scoring, expected: expected, task: task, threads: pool.threadCount, isPriced: isPriced)
        }
        let systems = Certificate.Systems(
            teacher: teacherRun.map { measured($0, isPriced: hasPrice) },
            adaptedTeacher: adaptedRun.map { measured($0) },
            student: measured(student), baseline: measured(baseline))
        let teaching = try workspace.stageRecords().filter {
            ["domain", "adapt", "self_training", "label", "train"].contains($0.name) && used.contains($0.key)
        }
        let seconds = teaching.reduce(0) { $0 + max($1.seconds ?? 0, spent[$1.key] ?? 0) }
        let verdict = Verdict(
            task, systems: systems, student: student, baseline: baseline, teachers: teachers, expected: expected,
            teachingSeconds: seconds, threads: pool.threadCount)
        let certificate = Certificate(
            task: task.name, industry: task.industry, kind: task.kind.rawValue,
            verdict: verdict.ships ? "ship" : "do not ship", sentence: verdict.sentence, reasons: verdict.reasons,
            systems: systems, quality: verdict.quality, testRows: expected.count, data: data.certificateRows,
            costs: try adding(teacherCallsTo: verdict.costs), seed: task.training.seed,
            program: "understudy \(Self.version)",
            machine: Machine.description, threads: pool.threadCount, trainingSeconds: trained.record.seconds,
            trainingTokens: trained.record.tokens, trainingPrecision: trained.record.precision?.rawValue,
            created: Date.now.formatted(.iso8601))
        let package = task.folder.appendingPathComponent("student")
        let report = package.appendingPathComponent("report.html")
        let key = ContentKey.of { builder in
            for (index, file) in trained.files.enumerated() { builder.add("file \(index)", file) }
        }
        if !didNothing || !isCurrent(package, key: key) {
            didNothing = false
            let html = ReportPage(
                certificate: certificate, task: task, record: trained.record,
                failures: failures(student, scoring: scoring), confusions: confusions(student, scoring: scoring),
                notes: data.notes + (trained.phases ?? []), labelCurve: labelCurve
            ).html
            try write(package, trained: trained, certificate: certificate, report: html, key: key)
        }
        let written = try JSONDecoder().decode(
            Certificate.self, from: try Data(contentsOf: package.appendingPathComponent("certificate.json")))
        return Outcome(certificate: written, package: package, report: report, didNothing: didNothing)
    }

    private func isCurrent(_ package: URL, key: ContentKey) -> Bool {
        let names = [
            "certificate.json", "report.html", StudentPackage.formatFile, "model.safetensors",
            StudentPackage.quantizedFile,
        ]
        let mark = try? String(contentsOf: package.appendingPathComponent(".source"), encoding: .utf8)
        return mark == key.hexadecimal
            && names.allSatisfy { FileManager.default.fileExists(atPath: package.appendingPathComponent($0).path) }
    }

    /// Copies the student beside the task. The mark is written last: a package without it is made again.
    private func write(
        _ package: URL, trained: Trained, certificate: Certificate, report: String, key: ContentKey
    ) throws {
        let files = FileManager.default
        do {
            try files.createDirectory(at: package, withIntermediateDirectories: true)
            let mark = package.appendingPathComponent(".source")
            try? files.removeItem(at: mark)
            for reference in trained.files {
                let from = workspace.url(of: reference)
                try LanguageModels.AtomicFile.write(
                    try Data(contentsOf: from, options: .alwaysMapped),
                    to: package.appendingPathComponent(from.lastPathComponent).path)
            }
            try LanguageModels.AtomicFile.write(
                try Data(contentsOf: task.folder.appendingPathComponent("task.yaml")),
                to: package.appendingPathComponent("task.yaml").path)
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            try LanguageModels.AtomicFile.write(
                try encoder.encode(certificate), to: package.appendingPathComponent("certificate.json").path)
            try LanguageModels.AtomicFile.write(
                Data(report.utf8), to: package.appendingPathComponent("report.html").path)
            try LanguageModels.AtomicFile.write(Data(key.hexadecimal.utf8), to: mark.path)
        } catch let error as CocoaError {
            throw TaskError("the package cannot be written: \(error.localizedDescription)", file: package.path)
        }
    }
}
