internal import Foundation
internal import Inference
internal import LanguageModels

/// The teacher's part of a run: its own quality, and its answers to the inputs.
extension TaskRun {
    // MARK: A local teacher as it came

    func prompted(_ teacher: String) throws -> PromptedTeacher {
        let model = try LanguageModel(contentsOf: try store.resolve(teacher), pool: pool)
        let examples = PromptedTeacher.examples(data.train, count: task.kind == .label ? 0 : 6)
        return try PromptedTeacher(
            model: model, task: task, labels: data.labels, examples: examples, pool: pool)
    }

    func promptedRun(_ teacher: String) async throws -> SystemRun {
        let key = try key("teacher") {
            $0.add("model", try modelKey(teacher))
            $0.add("instruction", task.instruction)
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

    /// Asks the teacher for the test set, for the proof, and then for the inputs, as far as the budget goes.
    func askEndpoint(
        _ endpoint: TaskDefinition.Endpoint, vocabulary: StudentVocabulary
    ) async throws -> (SystemRun, Labels) {
        try await withTeacher(endpoint) { open in
            let key = try key("teacher") {
                try $0.add("endpoint", encoding: [endpoint.url, endpoint.model, String(endpoint.examples)])
                $0.add("instruction", task.instruction)
                $0.add("labels", data.labels)
                $0.add("train", data.trainKey)
                $0.add("test", data.testKey)
            }
            let run = try await stage("teacher", "teacher as it came", key: key, summary: quality) {
                let teacher = try open()
                try note(teacher.estimate(data.test.map(\.input) + askedInputs), of: endpoint)
                return try await teacher.measured(on: data.test.map(\.input), progress: advance)
            }
            return (run, try await endpointLabels(endpoint, vocabulary: vocabulary, open: open))
        }
    }

    /// Runs `body` with a teacher that is opened when it is first asked for, and closed afterwards.
    private func withTeacher<Value>(
        _ endpoint: TaskDefinition.Endpoint, _ body: (() throws -> EndpointTeacher) async throws -> Value
    ) async throws -> Value {
        var teacher: EndpointTeacher?
        let result: Result<Value, any Error>
        do {
            result = .success(
                try await body {
                    if let teacher { return teacher }
                    let new = try EndpointTeacher(
                        task, endpoint: endpoint, labels: data.labels, examples: data.train, prices: prices,
                        workspace: workspace)
                    teacher = new
                    return new
                })
        } catch {
            result = .failure(error)
        }
        await teacher?.shutDown()
        return try result.get()
    }

    private var prices: TokenPrices {
        TokenPrices(
            usdPerMillionInput: task.economics.usdPerMillionInput,
            usdPerMillionOutput: task.economics.usdPerMillionOutput)
    }

    private func note(_ estimate: EndpointTeacher.Estimate, of endpoint: TaskDefinition.Endpoint) throws {
        guard estimate.missing > 0 else { return }
        let known = estimate.known > 0 ? " (\(estimate.known) are known)" : ""
        var text =
            "\(endpoint.model) will be asked for \(estimate.missing) answers\(known): about "
            + "\(Format.count(estimate.inputTokens)) tokens in and \(Format.count(estimate.outputTokens)) out, "
            + "\(Format.dollars(estimate.usd)) at \(Format.dollars(prices.usdPerMillionInput)) and "
            + "\(Format.dollars(prices.usdPerMillionOutput)) a million"
        let totals = try workspace.callTotals()
        if totals.usd > 0 { text += "; \(Format.dollars(totals.usd)) were spent before" }
        if let usd = task.budget?.usd {
            text += "; the budget is \(Format.dollars(usd))"
            if totals.usd + estimate.usd > usd { text += ", which will not suffice for all" }
        }
        observer.note(text)
    }

    private func endpointLabels(
        _ endpoint: TaskDefinition.Endpoint, vocabulary: StudentVocabulary?, open: () throws -> EndpointTeacher
    ) async throws -> Labels {
        let inputs = askedInputs
        let key = try key("label") {
            try $0.add("endpoint", encoding: [endpoint.url, endpoint.model, String(endpoint.examples)])
            try $0.add("budget", encoding: task.budget)
            $0.add("instruction", task.instruction)
            $0.add("labels", data.labels)
            $0.add("train", data.trainKey)
            $0.add("inputs", inputs)
        }
        // Other outcomes are no reason to train again when the answers are the same.
        var labels = try await stage(
            "label", "teacher labels", key: key, summary: { (labels: Labels) in "\(labels.count) answers" }
        ) {
            let outcome = try await open().ask(inputs) { done in
                observer.stageAdvanced(
                    Double(done) / Double(max(1, inputs.count)), detail: "\(done) of \(inputs.count) answers")
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
        let prompt = EndpointPrompt(task, endpoint: endpoint, labels: data.labels, examples: data.train)
        let reader = EndpointAnswerReader(kind: task.kind, labels: data.labels)
        let stored = try EndpointTeacher.stored(inputs, prompt: prompt, reader: reader, workspace: workspace)
        let numbers = try vocabulary.map { try labelTokens($0) } ?? [:]
        var unread = 0
        for (input, answered) in zip(inputs, stored) {
            guard let answered else { continue }
            guard let reading = answered.reading, var answer = EndpointTeacher.taskAnswer(answered) else {
                unread += 1
                continue
            }
            var spread: [(token: Int32, probability: Float)] = []
            for entry in reading.distribution {
                if let token = numbers[entry.label] { spread.append((token, Float(entry.probability))) }
            }
            if let token = numbers[reading.output], spread.count > 1 {
                answer.tokens = [token]
                answer.alternatives = [
                    TokenDistribution(
                        tokens: spread.map(\.token), probabilities: spread.map(\.probability), tail: 0)
                ]
            }
            labels.rows.append(LabelledRow(input: input, answer: answer))
        }
        if unread > 0 { observer.note("\(unread) answers of the teacher could not be read and are left out") }
        labels.key = ContentKey.of {
            $0.add("inputs", labels.rows.map(\.input))
            $0.add("outputs", labels.rows.map(\.answer.output))
            $0.add("confidences", labels.rows.map { String($0.answer.confidence) })
        }
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
        public var inputs: Int
        /// Answers that are stored and can be read.
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
    }

    /// Asks a teacher behind an endpoint for the inputs, and does nothing else.
    ///
    /// - Throws: ``TaskError`` when the task's teacher is another one.
    public func label() async throws -> LabelOutcome {
        guard let endpoint = task.endpoint else {
            throw TaskError(
                "the task has no 'teacher.endpoint'; a local teacher labels in the course of a run",
                file: task.folder.appendingPathComponent("task.yaml").path)
        }
        stageCount = 1
        let inputs = askedInputs
        return try await withTeacher(endpoint) { open in
            try note(open().estimate(inputs), of: endpoint)
            let labels = try await endpointLabels(endpoint, vocabulary: nil, open: open)
            let totals = try workspace.callTotals()
            return LabelOutcome(
                inputs: inputs.count, answers: labels.rows.count, calls: totals.answered, lostCalls: totals.lost,
                cutOffCalls: totals.open, inputTokens: totals.inputTokens, outputTokens: totals.outputTokens,
                usd: totals.usd)
        }
    }
}

extension TaskDefinition {
    /// The task with its teacher's prices from the price list, where it does not name them itself.
    ///
    /// - Throws: ``TaskError`` when the price list is not as expected.
    func priced() throws -> TaskDefinition {
        guard let endpoint, !endpoint.isPriced else { return self }
        let prices = try PriceList()[model: endpoint.model]
        var task = self
        task.economics.usdPerMillionInput = prices.usdPerMillionInput
        task.economics.usdPerMillionOutput = prices.usdPerMillionOutput
        return task
    }
}
