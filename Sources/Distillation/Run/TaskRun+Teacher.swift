internal import Foundation
internal import Inference
internal import LanguageModels
public import OpenAI

/// The teacher's part of a run: its own quality, and its answers to the inputs.
extension TaskRun {
    // MARK: A local teacher as it came

    func prompted(_ teacher: String) throws -> PromptedTeacher {
        try prompt.open(try resolve(teacher), pool: pool)
    }

    /// What a local teacher is told that is asked as it came.
    var prompt: LocalTeacher.Prompt {
        LocalTeacher.Prompt(
            task: task, labels: data.labels,
            examples: PromptedTeacher.examples(data.train, count: task.kind == .label ? 0 : 6),
            schema: data.inferredSchema(task))
    }

    func promptedRun(_ teacher: String) async throws -> SystemRun {
        let key = try key("teacher") {
            $0.add("model", try modelKey(teacher))
            addPrompt(to: &$0)
            $0.add("labels", data.labels)
            $0.add("train", data.trainKey)
            $0.add("test", data.testKey)
        }
        return try await stage("teacher", "teacher as it came", key: key, summary: quality) {
            var run = try await prompted(teacher).measured(on: data.test.map(\.input), progress: advance)
            run.name = "\(teacher) as it came"
            return run
        }
    }

    // MARK: A teacher behind an endpoint

    /// Asks the teachers for the test set, for the proof, and then for the inputs, as far as the budget goes.
    func askEndpoints(vocabulary: StudentVocabulary) async throws -> (SystemRun, Labels) {
        let inputs = try await inputsToAsk()
        return try await withTeachers { asking in
            let key = try key("teacher") {
                try addTeachers(to: &$0)
                addPrompt(to: &$0)
                $0.add("labels", data.labels)
                $0.add("train", data.trainKey)
                $0.add("test", data.testKey)
            }
            let run = try await stage("teacher", "teacher as it came", key: key, summary: quality) {
                try note(data.test.map(\.input) + inputs, asking)
                return try await asking.measured(on: data.test, progress: advance)
            }
            return (run, try await endpointLabels(inputs, vocabulary: vocabulary, asking))
        }
    }

    /// What an answer of the teachers depends on besides the data.
    private func addTeachers(to builder: inout ContentKey.Builder) throws {
        guard let endpoint = task.endpoint else { return }
        try builder.add("endpoint", encoding: [endpoint.url, endpoint.model, String(endpoint.examples)])
        if let samples = endpoint.samples {
            try builder.add("samples", encoding: [Double(samples), endpoint.temperature ?? 0])
        }
        if let panel = task.panel { try builder.add("panel", encoding: panel) }
        if let trust = task.trust { try builder.add("trust", encoding: trust) }
    }

    /// Runs `body` with the teachers, which are opened when they are first asked for, and closed afterwards.
    private func withTeachers<Value>(_ body: (TeacherPanelAsking) async throws -> Value) async throws -> Value {
        let asking = try TeacherPanelAsking(TeacherPanel(task, data: data), data: data, workspace: workspace)
        let result: Result<Value, any Error>
        do { result = .success(try await body(asking)) } catch { result = .failure(error) }
        await asking.shutDown()
        return try result.get()
    }

    /// Says what the inputs will cost, before they are asked for.
    private func note(_ inputs: [String], _ asking: TeacherPanelAsking) throws {
        let totals = try workspace.callTotals()
        var sum = 0.0
        for (place, member) in asking.panel.members.enumerated() {
            let estimate = try asking.estimate(place, inputs)
            guard estimate.missing > 0 else { continue }
            sum += estimate.usd
            let isCascade = task.panel?.combine == .cascade && place > 0
            observer.note(
                try words(estimate, member.endpoint, isAtMost: isCascade)
                    + (isCascade ? ", were none of the answers before sure enough" : ""))
        }
        guard sum > 0 else { return }
        var notes: [String] = []
        if task.trust?.askAgainBelow != nil { notes.append("what is asked again for being unsure comes on top") }
        if totals.usd > 0 { notes.append("\(Format.dollars(totals.usd)) were spent before") }
        if let usd = task.budget?.usd {
            notes.append(
                "the budget is \(Format.dollars(usd))"
                    + (totals.usd + sum > usd ? ", which will not suffice for all" : ""))
        }
        if !notes.isEmpty { observer.note(notes.joined(separator: "; ")) }
    }

    func words(
        _ estimate: EndpointTeacher.Estimate, _ endpoint: TaskDefinition.Endpoint, isAtMost: Bool = false
    ) throws -> String {
        let prices = try task.prices(of: endpoint)
        let known = estimate.known > 0 ? " (\(estimate.known) are known)" : ""
        let half = endpoint.batches == true ? ", half of it in batches" : ""
        return
            "\(endpoint.model) will be asked for \(isAtMost ? "at most " : "")\(estimate.missing) answers\(known): about "
            + "\(Format.count(estimate.inputTokens)) tokens in and \(Format.count(estimate.outputTokens)) out, "
            + "\(Format.dollars(estimate.usd)) at \(Format.dollars(prices.usdPerMillionInput)) and "
            + "\(Format.dollars(prices.usdPerMillionOutput)) a million\(half)"
    }

    private func endpointLabels(
        _ inputs: [String], vocabulary: StudentVocabulary?, _ asking: TeacherPanelAsking
    ) async throws -> Labels {
        let key = try key("label") {
            try addTeachers(to: &$0)
            try $0.add("budget", encoding: task.budget)
            addPrompt(to: &$0)
            $0.add("labels", data.labels)
            $0.add("train", data.trainKey)
            $0.add("inputs", inputs)
        }
        // Other outcomes are no reason to train again when the answers are the same.
        var labels = try await stage(
            "label", "teacher labels", key: key, summary: { (labels: Labels) in "\(labels.count) answers" }
        ) {
            let outcome = try await asking.ask(inputs) { share in
                observer.stageAdvanced(
                    share, detail: "\(Int((share * Double(inputs.count)).rounded())) of \(inputs.count) answers")
            }
            if let spent = outcome.spent {
                observer.note(
                    "the teacher's budget (\(spent)) is spent: \(outcome.answered) of \(inputs.count) inputs have an answer"
                )
            }
            if let refusal = outcome.refusal {
                observer.note("\(outcome.refused) inputs have no answer; of the first: \(refusal)")
            }
            return Labels(count: outcome.answered, key: key, rows: [])
        }
        // What the answers mean is computed from what is stored, asked just now or long ago.
        var panel = asking.panel
        try panel.calibrate(workspace)
        let opinions = try panel.opinions(inputs, workspace: workspace)
        let answered = try panel.answered(inputs, workspace: workspace)
        let numbers = try vocabulary.map { try labelTokens($0) } ?? [:]
        var (dropped, doubtful): (Set<String>, Set<String>) = ([], [])
        for (input, opinion) in zip(inputs, opinions) {
            guard let opinion else { continue }
            if let least = task.trust?.dropBelow, opinion.confidence < least {
                dropped.insert(input)
                continue
            }
            if let least = task.trust?.reviewBelow, opinion.confidence < least {
                doubtful.insert(input)
                continue
            }
            var answer = TaskAnswer(
                output: opinion.output, confidence: opinion.confidence, inputTokens: opinion.inputTokens,
                outputTokens: opinion.outputTokens, tokens: [], alternatives: [])
            var spread: [(token: Int32, probability: Float)] = []
            for entry in opinion.distribution {
                if let token = numbers[entry.label] { spread.append((token, Float(entry.probability))) }
            }
            if let token = numbers[opinion.output], spread.count > 1 {
                answer.tokens = [token]
                answer.alternatives = [
                    TokenDistribution(
                        tokens: spread.map(\.token), probabilities: spread.map(\.probability), tail: 0)
                ]
            }
            labels.rows.append(LabelledRow(input: input, answer: answer))
        }
        let unread = answered - opinions.count { $0 != nil }
        if unread > 0 {
            let why =
                task.panel?.agreement == nil ? "could not be read" : "could not be read, or the teachers disagree,"
            observer.note("\(unread) answers of the teacher \(why) and are left out")
        }
        noteUntrusted(dropped: dropped, doubtful: doubtful)
        labels.key = ContentKey.of {
            $0.add("inputs", labels.rows.map(\.input))
            $0.add("outputs", labels.rows.map(\.answer.output))
            $0.add("confidences", labels.rows.map { String($0.answer.confidence) })
        }
        try await drawLabelCurve(labels)
        return labels
    }

    /// The student's token of each label.
    private func labelTokens(_ vocabulary: StudentVocabulary) throws -> [String: Int32] {
        guard task.kind == .label else { return [:] }
        return try Dictionary(
            data.labels.map { ($0, try vocabulary.format.answerTokens($0, tokenizer: vocabulary.tokenizer)[0]) },
            uniquingKeysWith: { first, _ in first })
    }

    /// The costs with what the endpoint's calls came to.
    func adding(teacherCallsTo costs: Certificate.Costs) throws -> Certificate.Costs {
        var costs = costs
        costs.teachingUSD += try workspace.callTotals().usd
        if costs.usdSavedPerDay > 0 { costs.breakEvenDays = costs.teachingUSD / costs.usdSavedPerDay }
        return costs
    }

    // MARK: Labelling alone

    /// What labelling came to.
    public struct LabelOutcome: Sendable, Codable {
        /// One teacher's part, all runs together.
        public struct Share: Sendable, Codable {
            public var model: String
            /// Calls that gave an answer.
            public var calls: Int
            public var inputTokens: Int
            public var outputTokens: Int
            public var usd: Double
        }

        public var inputs: Int
        /// Answers that are stored and can be learnt from.
        public var answers: Int
        /// Calls that gave an answer, all runs together.
        public var calls: Int
        /// Calls without an answer that may have been billed.
        public var lostCalls: Int
        /// Calls that a kill cut off.
        public var cutOffCalls: Int
        public var inputTokens: Int
        public var outputTokens: Int
        public var usd: Double
        public var teachers: [Share]
        /// Quality against answers bought, where the task has 'label'.
        public var curve: LabelCurve?
    }

    /// Asks the teachers behind endpoints for the inputs, and does nothing else.
    ///
    /// - Throws: ``TaskError`` when the task's teacher is another one.
    public func label() async throws -> LabelOutcome {
        guard task.endpoint != nil else {
            throw TaskError(
                "the task has no 'teacher.endpoint'; a local teacher labels in the course of a run",
                file: task.folder.appendingPathComponent("task.yaml").path)
        }
        stageCount = 1
        let inputs = try await inputsToAsk()
        return try await withTeachers { asking in
            try note(inputs, asking)
            let labels = try await endpointLabels(inputs, vocabulary: nil, asking)
            let totals = try workspace.callTotals()
            return LabelOutcome(
                inputs: inputs.count, answers: labels.rows.count, calls: totals.answered, lostCalls: totals.lost,
                cutOffCalls: totals.open, inputTokens: totals.inputTokens, outputTokens: totals.outputTokens,
                usd: totals.usd,
                teachers: try task.endpoints.map {
                    let own = try workspace.callTotals(of: $0.identity)
                    return .init(
                        model: $0.model, calls: own.answered, inputTokens: own.inputTokens,
                        outputTokens: own.outputTokens, usd: own.usd)
                }, curve: labelCurve)
        }
    }
}

extension TaskRun {
    /// What the teachers behind endpoints can do, by model. What is known is not asked again.
    ///
    /// - Throws: ``TaskError``, ``WorkspaceError``.
    public func probe() async throws -> [String: EndpointCapabilities] {
        try await withTeachers { asking in
            var found: [String: EndpointCapabilities] = [:]
            for (place, member) in asking.panel.members.enumerated() {
                let model = member.endpoint.model
                let name = found[model] == nil ? model : member.endpoint.identity
                found[name] = try await asking.teacher(place).probeFurther()
            }
            return found
        }
    }
}

extension TaskDefinition {
    /// The task with its teacher's prices from the price list, where it does not name them itself.
    ///
    /// - Throws: ``TaskError`` when the price list is not as expected.
    func priced() throws -> TaskDefinition {
        guard let endpoint else { return self }
        var task = self
        if let input = endpoint.usdPerMillionInput, let output = endpoint.usdPerMillionOutput {
            (task.economics.usdPerMillionInput, task.economics.usdPerMillionOutput) = (input, output)
        } else if !endpoint.isPriced {
            let prices = try PriceList()[model: endpoint.model]
            task.economics.usdPerMillionInput = prices.usdPerMillionInput
            task.economics.usdPerMillionOutput = prices.usdPerMillionOutput
        }
        return task
    }
}
