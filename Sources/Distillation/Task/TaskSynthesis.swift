internal import Yams

extension TaskDefinition {
    /// What rows to make up.
    public struct Synthesis: Sendable, Hashable, Codable {
        /// How many to end up with.
        public var rows: Int
        /// In the order of the report; those that do not go with the task or its teacher are left out.
        public var methods: [SynthesisMethod]
        /// Of the teacher while it makes inputs up; it answers them at 0.
        public var temperature: Double
        /// The Jaccard similarity from which a row counts as one that is there.
        public var similarity: Double
        /// Whether the teacher must give the answer a row was made with.
        public var agrees: Bool

        package init(
            rows: Int = 200, methods: [SynthesisMethod] = SynthesisMethod.allCases, temperature: Double = 0.8,
            similarity: Double = 0.9, agrees: Bool = true
        ) {
            self.rows = rows
            self.methods = methods
            self.temperature = temperature
            self.similarity = similarity
            self.agrees = agrees
        }
    }
}

/// A way to make up a row.
public enum SynthesisMethod: String, Sendable, Hashable, Codable, CaseIterable {
    /// New inputs with answers after a few examples (Self-Instruct, arXiv 2212.10560).
    case instruct
    /// A real input with a constraint more, deeper, more concrete or broader (Evol-Instruct, arXiv 2304.12244).
    case evolve
    /// What somebody of a certain kind would write (arXiv 2406.20094).
    case persona
    /// Inputs for a given answer, rare ones first, so that every label, slot and JSON shape is there.
    case backward
    /// A gold input in other words.
    case paraphrase
    /// A gold input with slips of the keyboard; needs no teacher.
    case noise
    /// Conversations for a given answer, with what tools gave back where the gold's have that.
    case dialogue
    /// Inputs that look like the task's and are not, for the label `output.abstain`.
    case outOfScope = "out_of_scope"
}

extension TaskReader {
    /// `synthesis`, checked; `auto` stands for all defaults.
    func synthesis(_ root: Section) throws -> TaskDefinition.Synthesis? {
        guard let node = root.node("synthesis") else { return nil }
        if node.scalar?.string == "auto" { return .init() }
        guard
            let section = try root.section(
                "synthesis", keys: ["rows", "methods", "temperature", "similarity", "agree"])
        else { return nil }
        var result = TaskDefinition.Synthesis()
        result.rows = try section.integer("rows", 1...1_000_000) ?? result.rows
        result.temperature = try section.number("temperature", 0...2) ?? result.temperature
        result.similarity = try section.number("similarity", 0.5...1) ?? result.similarity
        result.agrees = try section.boolean("agree") ?? result.agrees
        if let node = section.node("methods") {
            guard let sequence = node.sequence, !sequence.isEmpty else {
                throw error(node, "'synthesis.methods' must be a list")
            }
            result.methods = []
            for entry in sequence {
                let name = entry.scalar?.string ?? "?"
                guard let method = SynthesisMethod(rawValue: name) else {
                    let known = SynthesisMethod.allCases.map(\.rawValue)
                    let nearest = Similarity.nearest(name, in: known).map { "; did you mean '\($0)'?" } ?? ""
                    throw error(
                        entry,
                        "'synthesis.methods' has '\(name)', expected some of: \(known.joined(separator: ", "))\(nearest)"
                    )
                }
                if !result.methods.contains(method) { result.methods.append(method) }
            }
        }
        return result
    }

    /// `output.abstain`, checked: the label of what is out of scope.
    func abstain(_ output: Section, kind: TaskDefinition.OutputKind, labels: [String]) throws -> String? {
        guard let label = try output.string("abstain"), let node = output.node("abstain") else { return nil }
        guard kind == .label else { throw error(node, "'output.abstain' is for kind label") }
        guard labels.isEmpty || labels.contains(label) else {
            throw error(node, "'output.abstain' names '\(label)', which is not in 'output.labels'")
        }
        return label
    }
}
