public import Training
internal import Yams

extension TaskDefinition {
    /// How a student is brought near its teacher's distributions.
    public struct Loss: Sendable, Hashable, Codable {
        public var kind: Divergence.Kind
        /// Of the Jensen–Shannon divergence.
        public var beta: Double
        public var temperature: Double
        /// The teacher's part in the loss; the rest is the answer's.
        public var weight: Double

        /// Whether it is the cross-entropy to a mixture of answer and teacher, which has the same gradients.
        var isMixture: Bool { (kind == .crossEntropy || kind == .forwardKL) && temperature == 1 }
    }

    /// A phase in which the student learns from the teacher's view of its own answers.
    public struct OnPolicy: Sendable, Hashable, Codable {
        /// Share of the rows that the student answers itself.
        public var share: Double
        /// nil: a quarter of those before.
        public var updates: Int?
        /// Updates until the student answers anew.
        public var every: Int
        /// Of the Jensen–Shannon divergence from the teacher.
        public var beta: Double
        /// At which the student answers.
        public var temperature: Double
        /// nil: a third of the training's.
        public var rate: Double?
    }

    /// A phase in which the student learns from what the teacher prefers among its answers.
    public struct Preference: Sendable, Hashable, Codable {
        public enum Method: String, Sendable, Hashable, Codable, CaseIterable {
            /// Pairs of the best and the worst answer (arXiv 2305.18290).
            case dpo
            /// The best answers become rows to learn.
            case rejection
        }

        public var method: Method
        /// Answers an input.
        public var candidates: Int
        /// At which the student answers.
        public var temperature: Double
        /// Inputs that are answered, at most.
        public var inputs: Int
        /// How much more the teacher must believe in the better answer, in nats.
        public var margin: Double
        /// Of direct preference optimisation.
        public var beta: Double
        public var epochs: Double
        /// nil: 1e-5 for pairs, a third of the training's for rows.
        public var rate: Double?
    }

    /// What keeps the experts evenly used.
    public enum RouterBalance: String, Sendable, Hashable, Codable, CaseIterable {
        /// A loss beside the task's.
        case loss
        /// A bias on the choice of experts that is gone at the end.
        case bias
    }

    /// What becomes of the weights of the last updates.
    public enum Averaging: String, Sendable, Hashable, Codable, CaseIterable {
        case none
        case uniform
        case exponential
    }
}

extension TaskReader {
    static let trainingKeys = [
        "epochs", "batch", "rate", "seed", "minutes", "optimizer", "schedule", "loss", "balance", "label_smoothing",
        "averaging", "hidden", "on_policy", "preference", "precision", "recompute", "router", "micro_batch", "patience",
    ]

    /// `training`, checked.
    func training(_ root: Section, kind: TaskDefinition.OutputKind) throws -> TaskDefinition.Training {
        let section = try root.section("training", keys: Self.trainingKeys)
        var result = TaskDefinition.Training(
            epochs: try section?.automatic("epochs", { try $0.number($1, 0.01...1000) }),
            batch: try section?.automatic("batch", { try $0.integer($1, 1...4096) }),
            rate: try section?.automatic("rate", { try $0.number($1, 1e-7...1) }) ?? 6e-4,
            seed: try section?.integer("seed", 0...Int(Int32.max)) ?? 1,
            minutes: try section?.number("minutes", 0.1...10_000),
            optimizer: try section?.choice("optimizer", TaskDefinition.Optimizer.self),
            schedule: try section?.choice("schedule", TaskDefinition.Schedule.self),
            recompute: try section?.boolean("recompute"))
        guard let section else { return result }
        result.precision = try precision(section)
        if section.node("rate")?.scalar?.string == "auto" { result.findsRate = true }
        result.loss = try loss(section)
        if let hidden = try section.number("hidden", 0...100), hidden > 0 { result.hidden = hidden }
        result.labelSmoothing = try section.number("label_smoothing", 0...0.9)
        result.microBatch = try section.integer("micro_batch", 1...4096)
        result.patience = try section.integer("patience", 1...100)
        result.averaging = try section.choice("averaging", TaskDefinition.Averaging.self)
        if try section.boolean("balance") == true, let node = section.node("balance") {
            guard kind == .label else { throw error(node, "'training.balance' is for kind label") }
            result.balances = true
        }
        result.router = try section.choice("router", TaskDefinition.RouterBalance.self)
        result.onPolicy = try onPolicy(section)
        result.preference = try preference(section)
        for (key, isAsked) in [("on_policy", result.onPolicy != nil), ("preference", result.preference != nil)] {
            if isAsked, kind.hasLabels, let node = section.node(key) {
                throw error(node, "'training.\(key)' is for kind text, json or tool")
            }
        }
        return result
    }

    private func precision(_ training: Section) throws -> Precision? {
        let precision = try training.automatic("precision") { try $0.choice($1, Precision.self) }
        if let precision, !precision.isNative, let node = training.node("precision") {
            throw error(node, "'training.precision' is '\(precision.rawValue)', which this processor does not multiply")
        }
        return precision
    }

    /// A loss and phases for which the teacher reads the student's tokens need one that can.
    func checkPhases(_ root: Section, _ task: TaskDefinition) throws {
        let isLocal = task.teacher != nil && task.teacher == task.student.base && task.adaptation != nil
        guard !isLocal, let training = try root.section("training", keys: Self.trainingKeys) else { return }
        let own = task.training
        for (key, isAsked) in [
            ("hidden", own.hidden != nil), ("on_policy", own.onPolicy != nil), ("preference", own.preference != nil),
        ] where isAsked {
            if let node = training.node(key) {
                throw error(
                    node,
                    "'training.\(key)' needs a teacher that is adapted and is the student's base (teacher.model, teacher.adapt, student.base)"
                )
            }
        }
    }

    private func onPolicy(_ training: Section) throws -> TaskDefinition.OnPolicy? {
        guard
            let section = try training.section(
                "on_policy", keys: ["share", "updates", "every", "beta", "temperature", "rate"])
        else { return nil }
        return .init(
            share: try section.number("share", 0.01...1) ?? 0.5, updates: try section.integer("updates", 1...1_000_000),
            every: try section.integer("every", 1...10_000) ?? 25, beta: try section.number("beta", 0.01...0.99) ?? 0.5,
            temperature: try section.number("temperature", 0.01...5) ?? 1, rate: try section.number("rate", 1e-8...1))
    }

    private func preference(_ training: Section) throws -> TaskDefinition.Preference? {
        guard
            let section = try training.section(
                "preference",
                keys: ["method", "candidates", "temperature", "inputs", "margin", "beta", "epochs", "rate"])
        else { return nil }
        return .init(
            method: try section.choice("method", TaskDefinition.Preference.Method.self) ?? .dpo,
            candidates: try section.integer("candidates", 2...64) ?? 4,
            temperature: try section.number("temperature", 0.01...5) ?? 0.8,
            inputs: try section.integer("inputs", 1...100_000) ?? 500,
            margin: try section.number("margin", 0...100) ?? 1, beta: try section.number("beta", 1e-3...10) ?? 0.1,
            epochs: try section.number("epochs", 0.01...100) ?? 1, rate: try section.number("rate", 1e-8...1))
    }

    private func loss(_ training: Section) throws -> TaskDefinition.Loss? {
        guard let section = try training.section("loss", keys: ["kind", "beta", "temperature", "weight"]) else {
            return nil
        }
        guard let kind = try section.choice("kind", Divergence.Kind.self) else {
            throw TaskError("'training.loss.kind' is missing", file: file, line: section.line)
        }
        if kind != .jensenShannon, let node = section.node("beta") {
            throw error(node, "'training.loss.beta' is for kind jsd")
        }
        return .init(
            kind: kind, beta: try section.number("beta", 0.01...0.99) ?? 0.5,
            temperature: try section.number("temperature", 0.1...20) ?? 1,
            weight: try section.number("weight", 0...1) ?? 0.5)
    }
}
