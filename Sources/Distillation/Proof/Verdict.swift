internal import Foundation

/// Ship or don't, and why.
struct Verdict {
    var ships: Bool
    var sentence: String
    var reasons: [String]
    var quality: Certificate.Quality
    var costs: Certificate.Costs

    /// - Parameters:
    ///   - runs: answers of the systems, on the same rows as `systems`.
    ///   - teachingSeconds: machine time of the whole run.
    init(
        _ task: TaskDefinition, systems: Certificate.Systems, student: SystemRun, baseline: SystemRun,
        teachers: [SystemRun], expected: [String], teachingSeconds: Double, threads: Int
    ) {
        let scoring = Scoring(task)
        let own = systems.student
        let teacherMeasurements = [systems.teacher, systems.adaptedTeacher].compactMap { $0 }
        let best = zip(teacherMeasurements, teachers).max { $0.0.value < $1.0.value }
        let (reference, referenceRun) = best ?? (systems.baseline, baseline)
        let retain = best == nil ? 1 : task.retain
        let margin = scoring.retainedMargin(
            student: student.answers, reference: referenceRun.answers, expected: expected, retain: retain,
            confidence: task.confidence)
        let kept = reference.value > 0 ? own.value / reference.value : 1
        quality = Certificate.Quality(
            reference: reference.name, retain: retain, kept: kept, confidence: task.confidence, margin: margin)

        var against: [String] = []
        let level = Format.percent(task.confidence, digits: 0)
        if own.value == 0 {
            against.append("the student has not one right answer")
        } else if best != nil, margin < 0 {
            against.append(
                "quality: \(Format.percent(retain, digits: 0)) of \(reference.name)'s \(own.metric) are asked with \(level) confidence; the student keeps \(Format.percent(kept)), and that could be chance"
            )
        }
        if systems.baseline.value > own.value {
            against.append(
                "the cheap baseline is better: \(systems.baseline.name) has \(Format.quality(systems.baseline.value)), the student \(Format.quality(own.value))"
            )
        }
        let replaced = systems.teacher ?? systems.adaptedTeacher
        let saved = max(0, (replaced?.usdPerMillionRequests ?? 0) - own.usdPerMillionRequests)
        if let replaced, replaced.usdPerMillionRequests <= own.usdPerMillionRequests {
            against.append("a request costs no less than the teacher's")
        }
        let teaching = teachingSeconds / 3600 * Double(threads) * task.economics.usdPerCoreHour
        let perDay = saved * task.economics.requestsPerDay / 1e6
        costs = Certificate.Costs(
            teachingUSD: teaching, usdSavedPerDay: perDay, breakEvenDays: perDay > 0 ? teaching / perDay : nil)
        ships = against.isEmpty
        reasons = against
        let figures =
            "\(Format.quality(own.value)) \(own.metric) (\(Format.percent(kept)) of \(reference.name)), \(Format.milliseconds(own.p50Milliseconds)) a request, \(Format.dollars(own.usdPerMillionRequests)) a million requests"
            + (replaced.map { " instead of \(Format.dollars($0.usdPerMillionRequests))" } ?? "")
        sentence =
            ships ? "Ship: \(figures)." : "Don't ship: \(against.joined(separator: "; ")). The student has \(figures)."
    }
}

/// Figures as people read them.
package enum Format {
    package static func quality(_ value: Double) -> String { String(format: "%.3f", value) }
    package static func percent(_ value: Double, digits: Int = 1) -> String {
        String(format: "%.\(digits)f %%", value * 100)
    }
    package static func milliseconds(_ value: Double) -> String {
        value.isNaN ? "–" : String(format: value < 0.1 ? "%.3f ms" : value < 100 ? "%.1f ms" : "%.0f ms", value)
    }
    package static func dollars(_ value: Double) -> String {
        String(format: value < 0.01 ? "$%.4f" : value < 1000 ? "$%.2f" : "$%.0f", value)
    }
    package static func count(_ value: Int) -> String {
        switch value {
        case ..<10_000: "\(value)"
        case ..<1_000_000: String(format: "%.0f k", Double(value) / 1e3)
        default: String(format: "%.1f M", Double(value) / 1e6)
        }
    }
    package static func duration(_ seconds: Double) -> String {
        let whole = Int(max(0, seconds.isFinite ? seconds : 0).rounded())
        return whole >= 3600
            ? "\(whole / 3600):" + String(format: "%02d:%02d", whole / 60 % 60, whole % 60)
            : "\(whole / 60):" + String(format: "%02d", whole % 60)
    }
}
