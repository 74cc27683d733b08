internal import Foundation
internal import OpenAI

/// Asks a task's teachers behind endpoints, as far as their common budget goes.
///
/// ``shutDown()`` must be called before it goes away.
final class TeacherPanelAsking {
    private(set) var panel: TeacherPanel
    private let data: Dataset
    private let workspace: Workspace
    private let account: TeacherAccount
    private var teachers: [Int: EndpointTeacher] = [:]
    private var isCalibrated = false

    /// - Throws: ``WorkspaceError``.
    init(_ panel: TeacherPanel, data: Dataset, workspace: Workspace) throws {
        self.panel = panel
        self.data = data
        self.workspace = workspace
        account = try TeacherAccount(panel.task.budget, workspace: workspace)
    }

    func shutDown() async { for teacher in teachers.values { await teacher.shutDown() } }

    /// A member's teacher, opened when it is first asked for.
    ///
    /// - Throws: ``TaskError``, ``WorkspaceError``.
    func teacher(_ place: Int) throws -> EndpointTeacher {
        if let teacher = teachers[place] { return teacher }
        let endpoint = panel.members[place].endpoint
        let new = try EndpointTeacher(
            panel.task, endpoint: endpoint, labels: panel.labels, examples: data.train,
            prices: try panel.task.prices(of: endpoint), workspace: workspace, account: account)
        teachers[place] = new
        return new
    }

    /// What a member would be asked for these inputs, about, as if all members were.
    ///
    /// - Throws: ``TaskError``, ``WorkspaceError``.
    func estimate(_ place: Int, _ inputs: [String]) throws -> EndpointTeacher.Estimate {
        let member = panel.members[place]
        let all = panel.isCalibrated(place) ? panel.calibrationRows.map(\.input) + inputs : inputs
        return try teacher(place).estimate(
            count: all.count * (member.endpoint.samples ?? 1), call: member.calls(of: all),
            tokens: { member.prompt.expectedTokens($0) })
    }

    /// Asks about the gold, where confidences are to be calibrated. Once for each run.
    ///
    /// - Throws: what asking throws.
    func calibrate(progress: (Int) throws -> Void = { _ in }) async throws {
        guard !isCalibrated else { return }
        for place in panel.members.indices where panel.isCalibrated(place) {
            _ = try await ask(place, panel.calibrationRows.map(\.input), progress: progress)
        }
        try panel.calibrate(workspace)
        isCalibrated = true
    }

    /// Asks the members as the task combines them.
    ///
    /// - Parameter progress: called with the share that is done.
    /// - Returns: how many inputs have an answer now, what was refused and what ran out.
    /// - Throws: ``TaskError`` when an endpoint does not let us in or gives up; ``WorkspaceError``; `CancellationError`.
    func ask(_ inputs: [String], progress: (Double) throws -> Void) async throws -> EndpointTeacher.Outcome {
        var outcome = EndpointTeacher.Outcome()
        if panel.isPlain {
            return try await ask(0, inputs) { try progress(Double($0) / Double(max(1, inputs.count))) }
        }
        try await calibrate()
        // Within a budget part by part, so that what it is enough for is asked of all; batches are made whole.
        let isWhole = panel.task.budget == nil || panel.members.contains { $0.endpoint.batches == true }
        let size = isWhole ? max(1, inputs.count) : Self.part
        for start in stride(from: 0, to: inputs.count, by: size) where outcome.spent == nil {
            let part = Array(inputs[start..<min(start + size, inputs.count)])
            outcome.add(
                try await askAll(part) {
                    try progress((Double(start) + $0 * Double(part.count)) / Double(inputs.count))
                })
        }
        outcome.answered = try panel.answered(inputs, workspace: workspace)
        return outcome
    }

    /// Inputs that are asked of all members before the next ones, within a budget.
    private static let part = 256

    private func askAll(
        _ inputs: [String], progress: (Double) throws -> Void
    ) async throws -> EndpointTeacher.Outcome {
        var outcome = EndpointTeacher.Outcome()
        let steps = Double(panel.members.count)
        var open = inputs
        for place in panel.members.indices where outcome.spent == nil {
            let count = open.count * (panel.members[place].endpoint.samples ?? 1)
            outcome.add(
                try await ask(place, open) {
                    try progress((Double(place) + 0.8 * Double($0) / Double(max(1, count))) / steps)
                })
            if outcome.spent == nil { outcome.add(try await askAgain(place, open)) }
            if let combined = panel.task.panel, combined.combine == .cascade {
                let own = try panel.own(place, open, workspace: workspace)
                open = zip(open, own).filter { ($1?.confidence ?? 0) < combined.threshold }.map(\.0)
            }
            try progress(Double(place + 1) / steps)
        }
        return outcome
    }

    /// Asks again about what a member is not sure of.
    private func askAgain(_ place: Int, _ inputs: [String]) async throws -> EndpointTeacher.Outcome {
        guard let trust = panel.task.trust, let least = trust.askAgainBelow else { return .init() }
        let member = panel.members[place]
        let own = try panel.own(place, inputs, workspace: workspace, withVotes: false)
        let doubtful = zip(inputs, own).filter { ($1?.confidence ?? 0) < least }.map(\.0)
        let calls = doubtful.flatMap { member.calls(againFor: $0, count: trust.samples) }
        return try await teacher(place).ask(calls) { _ in }
    }

    private func ask(
        _ place: Int, _ inputs: [String], progress: (Int) throws -> Void
    ) async throws -> EndpointTeacher.Outcome {
        let member = panel.members[place]
        let each = member.endpoint.samples ?? 1
        guard each > 1 else { return try await teacher(place).ask(inputs, progress: progress) }
        return try await teacher(place).ask(
            count: inputs.count * each, call: member.calls(of: inputs), progress: progress)
    }

    /// Answers the test set, for the proof; times are those of the calls, one after another where one waits for
    /// another. Nothing is asked twice for them.
    ///
    /// - Throws: the same; ``TaskError`` when the budget does not suffice.
    func measured(on test: [Example], progress: (Double) throws -> Void) async throws -> SystemRun {
        let inputs = test.map(\.input)
        if panel.isPlain, panel.members[0].endpoint.batches != true {
            return try await teacher(0).measured(on: inputs, progress: progress)
        }
        let outcome = try await ask(inputs, progress: progress)
        if let spent = outcome.spent {
            throw TaskError(
                "the teacher's budget (\(spent)) does not suffice for the \(inputs.count) inputs of the test set; \(outcome.answered) have an answer"
            )
        }
        let all = try panel.opinions(inputs, workspace: workspace)
        var run = SystemRun(
            name: panel.name, answers: all.map { $0?.output ?? "" }, confidences: all.map { $0?.confidence ?? 0 },
            latencies: all.compactMap { $0.map { $0.seconds * 1000 } },
            seconds: all.reduce(0) { $0 + ($1?.seconds ?? 0) },
            inputTokens: all.reduce(0) { $0 + ($1?.inputTokens ?? 0) },
            outputTokens: all.reduce(0) { $0 + ($1?.outputTokens ?? 0) }, parameters: 0, activeParameters: 0, bytes: 0)
        run.usd = all.reduce(0) { $0 + ($1?.usd ?? 0) }
        run.calibration = try measurement(test, opinions: all)
        return run
    }

    /// What calibrating did to the confidences on the test set.
    private func measurement(_ test: [Example], opinions: [TeacherOpinion?]) throws -> CalibrationMeasurement? {
        let calibrations = panel.members.compactMap(\.calibration)
        guard let first = calibrations.first else { return nil }
        let raw = TeacherPanel(panel.task, data: data)
        let plain = try raw.opinions(test.map(\.input), workspace: workspace)
        let scoring = Scoring(panel.task)
        func reliability(_ opinions: [TeacherOpinion?]) -> Reliability {
            let right = zip(opinions, test).map { scoring.isRight($0?.output ?? "", expected: $1.output) }
            return Reliability(opinions.map { $0?.confidence ?? 0 }, right: right)
        }
        return CalibrationMeasurement(
            method: calibrations.count == 1
                ? first.method.rawValue : Set(calibrations.map(\.method.rawValue)).sorted().joined(separator: ", "),
            temperature: first.temperature, rows: first.rows,
            source: data.validation.count >= Calibration.leastRows ? "validation" : "gold",
            before: reliability(plain), after: reliability(opinions))
    }
}

extension EndpointTeacher.Outcome {
    /// Adds what asking something else came to, but for the number of inputs that have an answer.
    fileprivate mutating func add(_ other: EndpointTeacher.Outcome) {
        asked += other.asked
        refused += other.refused
        refusal = refusal ?? other.refusal
        spent = spent ?? other.spent
    }
}

extension TaskDefinition {
    /// What an endpoint costs: as it says itself, as the task says, or as the price list does.
    ///
    /// - Throws: ``TaskError`` when the price list is not as expected.
    func prices(of endpoint: Endpoint) throws -> TokenPrices {
        if let input = endpoint.usdPerMillionInput, let output = endpoint.usdPerMillionOutput {
            return TokenPrices(usdPerMillionInput: input, usdPerMillionOutput: output)
        }
        if endpoint.isPriced || panel == nil {
            return TokenPrices(
                usdPerMillionInput: economics.usdPerMillionInput, usdPerMillionOutput: economics.usdPerMillionOutput)
        }
        return try PriceList()[model: endpoint.model]
    }
}
