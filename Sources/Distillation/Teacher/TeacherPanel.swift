internal import OpenAI
internal import Tokenizers

/// A task's teachers behind endpoints, and what they said as far as the workspace has it.
package struct TeacherPanel: Sendable {
    /// One of them.
    package struct Member: Sendable {
        package let endpoint: TaskDefinition.Endpoint
        let prompt: EndpointPrompt
        /// What its confidences mean; nil: taken as they are.
        package fileprivate(set) var calibration: Calibration?

        /// The chats that an input is asked with.
        func calls(_ input: String) -> [ChatCall] {
            prompt.calls(input, count: endpoint.samples ?? 1, temperature: endpoint.temperature ?? Self.temperature)
        }

        /// The chats of all inputs, one after another, made as they are needed.
        func calls(of inputs: [String]) -> (Int) -> ChatCall {
            let each = endpoint.samples ?? 1
            var last: (input: Int, calls: [ChatCall]) = (-1, [])
            return { number in
                if last.input != number / each { last = (number / each, calls(inputs[number / each])) }
                return last.calls[number % each]
            }
        }

        /// The chats with which it is asked again.
        func calls(againFor input: String, count: Int) -> [ChatCall] {
            prompt.calls(input, count: count, temperature: endpoint.temperature ?? Self.temperature)
        }

        private static let temperature = 0.7
    }

    package let task: TaskDefinition
    let labels: [String]
    package private(set) var members: [Member]
    private let reader: EndpointAnswerReader
    /// Gold rows that no prompt shows beside themselves: the validation rows, otherwise those to learn from.
    let calibrationRows: [Example]

    /// - Parameter data: whose gold the prompts show.
    package init(_ task: TaskDefinition, data: Dataset) {
        self.task = task
        labels = data.labels
        reader = EndpointAnswerReader(kind: task.kind, labels: data.labels, schema: task.schema)
        members = task.endpoints.map {
            Member(
                endpoint: $0,
                prompt: EndpointPrompt(task, endpoint: $0, labels: data.labels, examples: data.train))
        }
        let most =
            task.trust?.rows ?? (task.panel == nil ? 0 : TaskDefinition.Trust.usualRows)
        let rows = data.validation.count >= Calibration.leastRows ? data.validation : data.train
        calibrationRows = most < Calibration.leastRows ? [] : Array(rows.prefix(most))
    }

    /// Whether it is one teacher whose answers are taken as they come.
    package var isPlain: Bool {
        members.count == 1 && task.trust == nil && members[0].endpoint.samples == nil
    }

    /// What to call it in the proof.
    package var name: String {
        guard let panel = task.panel else { return "\(members[0].endpoint.model) as it came" }
        let names = members.map(\.endpoint.model)
        return panel.combine == .vote
            ? names.joined(separator: " + ") + ", voting" : names.joined(separator: ", then ")
    }

    /// Whether a member is one whose confidence is calibrated: what the last of a cascade says stands anyway, so that
    /// asking it about the gold is worth its price only where answers are judged by it.
    func isCalibrated(_ member: Int) -> Bool {
        !calibrationRows.isEmpty
            && (task.trust != nil || task.panel?.combine != .cascade || member < members.count - 1)
    }

    /// Fits the members' calibrations to what they said to the gold.
    ///
    /// - Throws: ``WorkspaceError``.
    package mutating func calibrate(_ workspace: Workspace) throws {
        let scoring = Scoring(task)
        for place in members.indices where isCalibrated(place) {
            members[place].calibration = nil
            let opinions = try own(place, calibrationRows.map(\.input), workspace: workspace)
            members[place].calibration = Calibration(
                fitting: zip(calibrationRows, opinions).compactMap { row, opinion in
                    opinion?.scored(row, scoring: scoring, labels: labels)
                })
        }
    }

    // MARK: Opinions

    /// What they say together; nil where there is no answer that can be used.
    ///
    /// - Throws: ``WorkspaceError``.
    package func opinions(_ inputs: [String], workspace: Workspace) throws -> [TeacherOpinion?] {
        var result: [TeacherOpinion?] = []
        for start in stride(from: 0, to: inputs.count, by: 512) {
            let part = Array(inputs[start..<min(start + 512, inputs.count)])
            let own = try members.indices.map { try self.own($0, part, workspace: workspace) }
            result += part.indices.map { row in together(own.map { $0[row] }) }
        }
        return result
    }

    private func together(_ own: [TeacherOpinion?]) -> TeacherOpinion? {
        guard let panel = task.panel else { return own[0] }
        var asked: [TeacherOpinion] = []
        var answer: TeacherOpinion?
        switch panel.combine {
        case .vote:
            asked = own.compactMap { $0 }
            guard !asked.isEmpty else { return nil }
            answer = TeacherOpinion.vote(asked, kind: task.kind, labels: labels)
            answer?.seconds = asked.map(\.seconds).max() ?? 0
            if let least = panel.agreement, (answer?.agreement ?? 0) < least - 1e-9 { return nil }
        case .cascade:
            for opinion in own {
                guard let opinion else { continue }
                asked.append(opinion)
                answer = opinion
                if opinion.confidence >= panel.threshold { break }
            }
            answer?.seconds = asked.reduce(0) { $0 + $1.seconds }
        }
        answer?.inputTokens = asked.reduce(0) { $0 + $1.inputTokens }
        answer?.outputTokens = asked.reduce(0) { $0 + $1.outputTokens }
        answer?.usd = asked.reduce(0) { $0 + $1.usd }
        return answer
    }

    /// What one of them says, calibrated.
    ///
    /// - Parameter withVotes: whether the votes of having been asked again count, where it was.
    /// - Throws: ``WorkspaceError``.
    package func own(
        _ member: Int, _ inputs: [String], workspace: Workspace, withVotes: Bool = true
    ) throws -> [TeacherOpinion?] {
        let own = members[member]
        let first = try polled(own, inputs, calls: own.calls, workspace: workspace)
            .map { opinion in
                opinion.map { opinion in own.calibration.map { opinion.calibrated($0, labels: labels) } ?? opinion }
            }
        guard withVotes, let trust = task.trust, let least = trust.askAgainBelow else { return first }
        let doubtful = first.indices.filter { (first[$0]?.confidence ?? 0) < least }
        let again = try polled(
            own, doubtful.map { inputs[$0] }, calls: { own.calls(againFor: $0, count: trust.samples) },
            workspace: workspace)
        var result = first
        for (place, votes) in zip(doubtful, again) {
            guard let votes else { continue }
            guard let opinion = first[place] else {
                result[place] = votes
                continue
            }
            // What was said first is one voice of several.
            let voices = [opinion] + Array(repeating: votes, count: trust.samples)
            var both =
                task.kind == .label ? TeacherOpinion.vote(voices, kind: task.kind, labels: labels) : votes
            both.inputTokens = opinion.inputTokens + votes.inputTokens
            both.outputTokens = opinion.outputTokens + votes.outputTokens
            both.usd = opinion.usd + votes.usd
            both.seconds = opinion.seconds + votes.seconds
            result[place] = both
        }
        return result
    }

    /// The votes of the calls that have an answer; nil where none can be read.
    private func polled(
        _ member: Member, _ inputs: [String], calls: (String) -> [ChatCall], workspace: Workspace
    ) throws -> [TeacherOpinion?] {
        var result: [TeacherOpinion?] = []
        for start in stride(from: 0, to: inputs.count, by: 512) {
            let keys = inputs[start..<min(start + 512, inputs.count)].map { input in
                calls(input).map { member.prompt.key(of: $0) }
            }
            let known = try workspace.answers(to: keys.flatMap { $0 })
            result += try keys.map { keys in try polled(keys.compactMap { known[$0] }) }
        }
        return result
    }

    private func polled(_ stored: [StoredAnswer]) throws -> TeacherOpinion? {
        let voices = try stored.compactMap { stored -> TeacherOpinion? in
            guard let answer = try? StableJSON.decode(ChatAnswer.self, from: stored.body) else {
                throw WorkspaceError(.damaged, "an answer of the teacher in the workspace cannot be read")
            }
            return reader.read(answer).map {
                TeacherOpinion(output: $0.output, confidence: $0.confidence, distribution: $0.distribution)
            }
        }
        guard !voices.isEmpty else { return nil }
        var opinion = TeacherOpinion.vote(voices, kind: task.kind, labels: labels)
        opinion.inputTokens = stored.reduce(0) { $0 + $1.inputTokens }
        opinion.outputTokens = stored.reduce(0) { $0 + $1.outputTokens }
        opinion.usd = stored.reduce(0) { $0 + $1.usd }
        opinion.seconds = stored.map(\.seconds).max() ?? 0
        return opinion
    }

    /// How many inputs have an answer to one of their calls.
    ///
    /// - Throws: ``WorkspaceError``.
    func answered(_ inputs: [String], workspace: Workspace) throws -> Int {
        var count = 0
        for start in stride(from: 0, to: inputs.count, by: 512) {
            let part = inputs[start..<min(start + 512, inputs.count)]
            let keys = part.map { input in members.flatMap { own in own.calls(input).map { own.prompt.key(of: $0) } } }
            let known = try workspace.answered(keys.flatMap { $0 })
            count += keys.count { !known.isDisjoint(with: $0) }
        }
        return count
    }
}
