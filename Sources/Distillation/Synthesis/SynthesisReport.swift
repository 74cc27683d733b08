internal import Foundation

/// What was made up, what of it was dropped and why, and how it compares with the gold.
public struct SynthesisReport: Sendable, Codable {
    /// Why a row was dropped.
    public enum Reason: String, Sendable, Hashable, Codable, CaseIterable {
        /// No row was found in what the teacher wrote.
        case unreadable
        /// It came without an answer, or the teacher gave none.
        case unanswered
        case short
        case long
        /// Letters that the task's inputs are not written in.
        case script
        case marks
        case repetition
        /// The teacher talks about the job instead of doing it.
        case chatter
        /// Near a row that is there.
        case duplicate
        /// Near a row of the test or the validation set.
        case held
        /// The teacher answers its own input otherwise than it meant to.
        case disagreement
        /// More than was asked for.
        case surplus

        init(_ problem: InputFilter.Problem) {
            switch problem {
            case .short: self = .short
            case .long: self = .long
            case .script: self = .script
            case .marks: self = .marks
            case .repetition: self = .repetition
            case .chatter: self = .chatter
            }
        }
    }

    public struct Drop: Sendable, Codable {
        public var method: String
        public var text: String
        /// What it is like, or what was said to it.
        public var match: String?
    }

    /// Rows asked for.
    public var wanted = 0
    /// Rows that were kept.
    public var rows = 0
    /// Rows that were found in what the teacher wrote, by method.
    public var made: [String: Int] = [:]
    /// Rows that were kept, by method.
    public var kept: [String: Int] = [:]
    /// Kept rows by label; empty for other kinds.
    public var answers: [String: Int] = [:]
    /// How many rows were dropped, by reason.
    public var dropped: [String: Int] = [:]
    /// The first ones, by reason.
    public var examples: [String: [Drop]] = [:]
    public var goldDiversity: Diversity?
    public var diversity: Diversity?
    public var notes: [String] = []
    /// The file with the rows.
    public var file = ""
    /// What the teacher's calls came to in dollars, all runs together.
    public var usd = 0.0

    private static let shown = 5

    package init() {}

    mutating func drop(_ reason: Reason, _ text: String, method: SynthesisMethod, match: String? = nil) {
        dropped[reason.rawValue, default: 0] += 1
        guard (examples[reason.rawValue]?.count ?? 0) < Self.shown else { return }
        // A row near a held one would show it.
        let text = reason == .held ? "" : String(text.prefix(300))
        examples[reason.rawValue, default: []].append(
            Drop(method: method.rawValue, text: text, match: match.map { String($0.prefix(300)) }))
    }

    mutating func finish(_ rows: [SyntheticRow], gold: [String]) {
        self.rows = rows.count
        kept = Dictionary(rows.map { ($0.provenance.method.rawValue, 1) }, uniquingKeysWith: +)
        diversity = Diversity(rows.map(\.input))
        goldDiversity = Diversity(gold)
        if rows.count < wanted { notes.append("\(rows.count) of \(wanted) rows were found") }
    }
}

extension SynthesisReport.Reason {
    /// For people.
    public var words: String {
        switch self {
        case .unreadable: "no row in what the teacher wrote"
        case .unanswered: "no answer"
        case .short: "too short"
        case .long: "too long"
        case .script: "another script than the task's inputs"
        case .marks: "mostly marks"
        case .repetition: "repeats itself"
        case .chatter: "the teacher talks instead of writing an input"
        case .duplicate: "near a row that is there"
        case .held: "near a row of the test or validation set"
        case .disagreement: "the teacher answers it otherwise"
        case .surplus: "more than was asked for"
        }
    }
}
