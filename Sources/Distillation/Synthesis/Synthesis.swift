internal import Foundation
internal import Tensors

/// Makes rows up with a teacher, and keeps those that are new, plausible, agreed on, and unlike every held row.
package struct Synthesis {
    private let task: TaskDefinition
    private let settings: TaskDefinition.Synthesis
    private let data: Dataset
    private let teacher: (any SynthesisTeacher)?
    private let prompts: SynthesisPrompts
    private let reader: SynthesisReader
    private let scoring: Scoring

    /// Rounds at most: what was dropped in one is asked for anew in the next.
    private static let rounds = 4
    /// Rows asked for, of those that are missing.
    private static let surplus = 1.25

    /// - Parameters:
    ///   - data: without synthetic rows.
    ///   - teacher: nil: only what needs none.
    package init(_ task: TaskDefinition, data: Dataset, teacher: (any SynthesisTeacher)?) {
        self.task = task
        settings = task.synthesis ?? .init()
        self.data = data
        self.teacher = teacher
        prompts = SynthesisPrompts(task, labels: data.labels, gold: data.train, inputs: data.inputs)
        reader = SynthesisReader(kind: task.kind, labels: data.labels, schema: task.schema)
        scoring = Scoring(task)
    }

    /// What was kept and what was dropped.
    package struct Result: Sendable {
        package var rows: [SyntheticRow]
        package var report: SynthesisReport
    }

    /// What the first round asks a teacher to write, as far as it is known before: all rows, were everything kept.
    package func firstRequests() -> [SynthesisRequest] {
        let methods = settings.methods.filter { prompts.obstacle(to: $0) == nil && ($0 == .noise || teacher != nil) }
        return methods.enumerated().flatMap { place, method -> [SynthesisRequest] in
            guard method != .noise else { return [] }
            let share = (settings.rows + methods.count - 1 - place) / methods.count
            return prompts.requests(method, rows: Int((Double(share) * Self.surplus).rounded(.up)), round: 0)
        }
    }

    /// - Parameter progress: called with the share of the rows that are there, and what is being done.
    /// - Throws: what the teacher throws.
    package func run(progress: (Double, String) throws -> Void = { _, _ in }) async throws -> Result {
        var report = SynthesisReport()
        report.wanted = settings.rows
        var methods: [SynthesisMethod] = []
        for method in settings.methods {
            if let obstacle = prompts.obstacle(to: method) {
                report.notes.append(obstacle)
            } else if method != .noise, teacher == nil {
                report.notes.append("\(method.rawValue) needs a teacher")
            } else {
                methods.append(method)
            }
        }
        var sieve = RowSieve(data: data, similarity: settings.similarity)
        var rows: [SyntheticRow] = []
        var kept: [SynthesisMethod: Int] = [:]
        var round = 0
        while round < Self.rounds, rows.count < settings.rows, !methods.isEmpty {
            let isLast = round == Self.rounds - 1
            let before = rows.count
            for (place, method) in methods.enumerated() where rows.count < settings.rows {
                // In the last round those that gave rows fill up for those that gave none.
                if isLast, kept[method] ?? 0 == 0 { continue }
                let share = (settings.rows + methods.count - 1 - place) / methods.count
                let room = settings.rows - rows.count
                let missing = isLast ? room : min(room, share - (kept[method] ?? 0))
                guard missing > 0 else { continue }
                let found = rows.count
                func note(_ text: String) throws {
                    try progress(Double(found) / Double(settings.rows), "\(found) rows; \(method.rawValue): \(text)")
                }
                let new =
                    method == .noise
                    ? noise(missing, round: round, sieve: &sieve, report: &report)
                    : try await taught(method, missing, round: round, sieve: &sieve, report: &report, note: note)
                rows += new
                kept[method, default: 0] += new.count
            }
            if teacher?.spent != nil { break }
            round = rows.count > before || isLast ? round + 1 : Self.rounds - 1
        }
        if let spent = teacher?.spent { report.notes.append("the teacher's budget (\(spent)) is spent") }
        report.finish(rows, gold: data.train.map(\.input))
        return Result(rows: rows, report: report)
    }

    // MARK: With a teacher

    private func taught(
        _ method: SynthesisMethod, _ missing: Int, round: Int, sieve: inout RowSieve, report: inout SynthesisReport,
        note: (String) throws -> Void
    ) async throws -> [SyntheticRow] {
        guard let teacher else { return [] }
        let requests = prompts.requests(
            method, rows: Int((Double(missing) * Self.surplus).rounded(.up)), round: round)
        let texts = try await teacher.write(requests) { try note("\($0) of \(requests.count) requests") }
        var candidates: [SynthesisCandidate] = []
        for (request, text) in zip(requests, texts) {
            guard let text else { continue }
            let found = reader.candidates(text, for: request)
            if found.isEmpty { report.drop(.unreadable, String(text.prefix(200)), method: method) }
            report.made[method.rawValue, default: 0] += found.count
            candidates += found
        }
        var passed: [(candidate: SynthesisCandidate, nearest: Double?)] = []
        for candidate in candidates {
            if settings.agrees, candidate.expected == nil {
                report.drop(.unanswered, candidate.input, method: method)
                continue
            }
            switch sieve.sift(candidate.input) {
            case .dropped(let reason, let what): report.drop(reason, candidate.input, method: method, match: what)
            case .passed(let nearest): passed.append((candidate, nearest))
            }
        }
        let answers = try await teacher.answers(to: passed.map(\.candidate.input)) {
            try note("\($0) of \(passed.count) answers")
        }
        var rows: [SyntheticRow] = []
        for ((candidate, nearest), answer) in zip(passed, answers) {
            guard let answer, !answer.output.isEmpty else {
                report.drop(.unanswered, candidate.input, method: method)
                continue
            }
            let agreed = candidate.expected.map { scoring.isRight(answer.output, expected: $0) }
            guard agreed ?? true || !settings.agrees else {
                report.drop(
                    .disagreement, candidate.input, method: method,
                    match: "made as \(candidate.expected ?? ""), answered \(answer.output)")
                continue
            }
            guard rows.count < missing else {
                report.drop(.surplus, candidate.input, method: method)
                continue
            }
            rows.append(
                SyntheticRow(
                    input: candidate.input, output: answer.output,
                    provenance: provenance(
                        method, variant: candidate.request.variant, teacher: teacher.name,
                        seed: candidate.request.seed, parents: candidate.request.parents,
                        scores: .init(confidence: answer.confidence, agreed: agreed, nearest: nearest))))
        }
        return rows
    }

    // MARK: Without one

    private func noise(
        _ missing: Int, round: Int, sieve: inout RowSieve, report: inout SynthesisReport
    ) -> [SyntheticRow] {
        let seed = task.training.seed
        var random = RandomNumbers(seed: UInt64(seed) &+ ContentKey(of: "noise \(round)").number)
        let noise = KeyboardNoise()
        var rows: [SyntheticRow] = []
        for _ in 0..<(missing * 3) where rows.count < missing {
            let row = data.train[random.below(data.train.count)]
            // What the answer says stays as it is: it may be copied from there.
            let kept = task.kind.hasLabels ? [] : Set(NormalText(row.output).words)
            guard let (text, slips) = noise.slipped(row.input, keeping: kept, random: &random) else { continue }
            report.made[SynthesisMethod.noise.rawValue, default: 0] += 1
            switch sieve.sift(text, isOfGold: true) {
            case .dropped(let reason, let what): report.drop(reason, text, method: .noise, match: what)
            case .passed(let nearest):
                rows.append(
                    SyntheticRow(
                        input: text, output: row.output,
                        provenance: provenance(
                            .noise, variant: slips.map(\.rawValue).joined(separator: ", "), teacher: nil, seed: seed,
                            parents: [row.input], scores: .init(nearest: nearest))))
            }
        }
        return rows
    }

    private func provenance(
        _ method: SynthesisMethod, variant: String, teacher: String?, seed: Int, parents: [String],
        scores: SyntheticRow.Scores
    ) -> SyntheticRow.Provenance {
        .init(
            method: method, variant: variant, teacher: teacher, prompt: SynthesisPrompts.version, seed: seed,
            parents: parents.map { ContentKey(of: $0).hexadecimal }, scores: scores)
    }
}

/// Lets a text pass once, if it could be a real input, is near no row that is there, and gives no held row away.
struct RowSieve {
    enum Outcome {
        /// With the similarity to the nearest row, where it is above a half.
        case passed(nearest: Double?)
        /// With what it is like.
        case dropped(SynthesisReport.Reason, String?)
    }

    private let filter: InputFilter
    private let held: Decontamination
    private let validationCount: Int
    private let threshold: Double
    private var known: NearDuplicateIndex
    private var same: Set<String> = []

    init(data: Dataset, similarity: Double) {
        let real = data.train.map(\.input) + data.inputs
        filter = InputFilter(real)
        held = Decontamination((data.validation + data.test).map(\.input))
        validationCount = data.validation.count
        threshold = similarity
        known = NearDuplicateIndex(threshold: 0.5, shingles: .init(for: real))
        for text in real { insert(NormalText(text), text) }
    }

    private mutating func insert(_ text: NormalText, _ own: String) {
        known.insert(text)
        same.insert(Dataset.normal(own))
    }

    /// A text that passes is known from then on.
    ///
    /// - Parameter isOfGold: whether it is a row of the gold with slips, which no teacher wrote.
    mutating func sift(_ text: String, isOfGold: Bool = false) -> Outcome {
        if let problem = filter.problem(text) { return .dropped(.init(problem), nil) }
        let normal = NormalText(text)
        if let match = held.words(normal) { return dropped(match) }
        if same.contains(Dataset.normal(text)) { return .dropped(.duplicate, "the same as a row that is there") }
        let nearest = known.match(normal)?.similarity
        if let nearest, nearest >= threshold {
            return .dropped(.duplicate, String(format: "%.2f like a row that is there", nearest))
        }
        if !isOfGold, let match = held.copy(normal) { return dropped(match) }
        insert(normal, text)
        return .passed(nearest: nearest)
    }

    /// The held rows are named, not shown: whoever reads the report may write the next prompt.
    private func dropped(_ match: Decontamination.Match) -> Outcome {
        let isTest = match.row >= validationCount
        let row = (isTest ? match.row - validationCount : match.row) + 1
        return .dropped(.held, "\(match.kind.rawValue) as row \(row) of the \(isTest ? "test" : "validation") set")
    }
}
