public import OpenAI
internal import Yams

extension TaskDefinition {
    /// A teacher that is asked over OpenAI's API.
    public struct Endpoint: Sendable, Hashable, Codable {
        /// Up to and with the version, without a slash at the end.
        public var url: String
        public var model: String
        /// Where its key is; nil: it needs none.
        public var key: APIKeySource?
        /// Whether answers are streamed.
        public var streams: Bool
        /// Most calls in flight.
        public var concurrency: Int
        /// Longest time for one answer, in seconds.
        public var seconds: Double
        /// Nearest gold examples in every prompt.
        public var examples: Int
        /// Whether the task says what the teacher costs; otherwise the price list does.
        public var isPriced: Bool
        /// Answers to each input, which vote (self-consistency, Wang et al., arXiv 2203.11171); nil: one.
        public var samples: Int?
        /// Of answers that vote; nil: 0.7.
        public var temperature: Double?
        /// Whether inputs are asked for in batches (`/batches`), which take hours and cost half; nil: no.
        public var batches: Bool?
        /// Dollars, where the endpoint says so itself; nil: as the task or the price list says.
        public var usdPerMillionInput: Double?
        public var usdPerMillionOutput: Double?

        /// What the books call it: the same model at another address is another teacher.
        package var identity: String { "\(model) \(url)" }
    }

    /// Several teachers behind endpoints: `endpoint`, which is asked first, and these.
    public struct Panel: Sendable, Hashable, Codable {
        public enum Combination: String, Sendable, Hashable, Codable, CaseIterable {
            /// All are asked: the mean of their label distributions, or the answer that most give.
            case vote
            /// The next one is asked for what the one before is not sure of.
            case cascade
        }

        public var others: [Endpoint]
        public var combine: Combination
        /// The confidence from which a cascade asks no further teacher.
        public var threshold: Double
        /// The share of the teachers that must give the answer of a vote; otherwise there is none. nil: any.
        public var agreement: Double?
    }

    /// What is done about how sure a teacher is.
    public struct Trust: Sendable, Hashable, Codable {
        /// Gold rows that the confidence of one behind an endpoint is calibrated on; an adapted one's is on the validation
        /// rows.
        public var rows: Int
        /// Answers below are not learnt from.
        public var dropBelow: Double?
        /// Inputs whose answer is below are asked again, `samples` times, and the answers vote.
        public var askAgainBelow: Double?
        /// Answers below are not learnt from until a person has looked at them.
        public var reviewBelow: Double?
        public var samples: Int
    }

    /// What a teacher may cost. nil: no limit.
    public struct Budget: Sendable, Hashable, Codable {
        public var usd: Double?
        /// In and out together.
        public var tokens: Double?
        public var requests: Double?
        /// Of one run.
        public var minutes: Double?

        public init(usd: Double? = nil, tokens: Double? = nil, requests: Double? = nil, minutes: Double? = nil) {
            self.usd = usd
            self.tokens = tokens
            self.requests = requests
            self.minutes = minutes
        }
    }
}

extension TaskReader {
    /// `teacher.endpoint`, or the first of `teacher.endpoints`, and the others, checked.
    func endpoints(_ teacher: Section?, isPriced: Bool) throws -> (TaskDefinition.Endpoint?, TaskDefinition.Panel?) {
        var found: [TaskDefinition.Endpoint] = []
        if let section = try teacher?.section("endpoint", keys: Self.endpointKeys) {
            found = [try endpoint(section, isPriced: isPriced)]
        }
        if let node = teacher?.node("endpoints") {
            guard found.isEmpty else {
                throw error(node, "'teacher' has both 'endpoint' and 'endpoints'; expected one of them")
            }
            guard let sequence = node.sequence, !sequence.isEmpty else {
                throw error(node, "'teacher.endpoints' must be a list of endpoints")
            }
            for (place, entry) in sequence.enumerated() {
                let section = try Section(self, entry, "teacher.endpoints[\(place + 1)]", keys: Self.endpointKeys)
                let next = try endpoint(section, isPriced: isPriced)
                if found.contains(where: { $0.url == next.url && $0.model == next.model }) {
                    throw error(entry, "'teacher.endpoints' has the model '\(next.model)' of this address twice")
                }
                found.append(next)
            }
        }
        let key = teacher?.node("endpoint") == nil ? "endpoints" : "endpoint"
        if !found.isEmpty, let model = teacher?.node("model") {
            throw error(model, "'teacher' has both 'model' and '\(key)'; expected one of them")
        }
        if !found.isEmpty, let adapt = teacher?.node("adapt") {
            throw error(adapt, "'teacher.adapt' is for a local teacher; one behind an endpoint is taken as it is")
        }
        let combine = try teacher?.choice("combine", TaskDefinition.Panel.Combination.self)
        let threshold = try teacher?.number("threshold", 0...1)
        let agreement = try teacher?.number("agreement", 0...1)
        for (name, applies) in [
            ("combine", found.count > 1), ("threshold", found.count > 1 && combine == .cascade),
            ("agreement", found.count > 1 && combine != .cascade),
        ] where !applies {
            guard let node = teacher?.node(name) else { continue }
            let wanted =
                name == "combine"
                ? "several 'teacher.endpoints'" : "'teacher.combine: \(name == "threshold" ? "cascade" : "vote")'"
            throw error(node, "'teacher.\(name)' is for \(wanted)")
        }
        guard found.count > 1 else { return (found.first, nil) }
        return (
            found[0],
            .init(
                others: Array(found.dropFirst()), combine: combine ?? .vote, threshold: threshold ?? 0.8,
                agreement: agreement)
        )
    }

    private static let endpointKeys = [
        "url", "model", "key", "stream", "concurrency", "seconds", "examples", "samples", "temperature", "batch",
        "usdPerMillionInput", "usdPerMillionOutput",
    ]

    private func endpoint(_ section: Section, isPriced: Bool) throws -> TaskDefinition.Endpoint {
        let path = section.path
        guard let url = try section.string("url") else {
            throw TaskError("'\(path).url' is missing", file: file, line: section.line)
        }
        guard let model = try section.string("model") else {
            throw TaskError("'\(path).model' is missing", file: file, line: section.line)
        }
        let address: String
        do { address = try EndpointClient.address(url) } catch let problem as EndpointError {
            throw TaskError("'\(path).url': \(problem.message)", file: file, line: section.node("url")?.mark?.line)
        }
        var source: APIKeySource?
        if let text = try section.string("key") {
            // What stands there may be a key: it is not repeated.
            guard let found = APIKeySource(text) else {
                throw TaskError(
                    "'\(path).key' must be env:NAME or file:PATH; the key itself does not belong into a task",
                    file: file, line: section.node("key")?.mark?.line)
            }
            source = found
        }
        let input = try section.number("usdPerMillionInput", 0...1e9)
        let output = try section.number("usdPerMillionOutput", 0...1e9)
        guard (input == nil) == (output == nil) else {
            throw TaskError(
                "'\(path)' needs both usdPerMillionInput and usdPerMillionOutput, or neither", file: file,
                line: section.line)
        }
        let samples = try section.integer("samples", 1...99)
        let batches = try section.boolean("batch")
        let streams = try section.boolean("stream") ?? false
        if batches == true, streams, let node = section.node("stream") {
            throw error(node, "'\(path).stream' is not for batches")
        }
        return TaskDefinition.Endpoint(
            url: address, model: model, key: source, streams: streams,
            concurrency: try section.integer("concurrency", 1...1024) ?? 64,
            seconds: try section.number("seconds", 0.1...3600) ?? 120,
            examples: try section.integer("examples", 0...64) ?? 6, isPriced: isPriced,
            samples: samples == 1 ? nil : samples, temperature: try section.number("temperature", 0.01...2),
            batches: batches == true ? true : nil, usdPerMillionInput: input, usdPerMillionOutput: output)
    }

    /// `teacher.confidence`, checked.
    func trust(_ teacher: Section?, isLocal: Bool, isAdapted: Bool) throws -> TaskDefinition.Trust? {
        guard
            let section = try teacher?.section(
                "confidence", keys: ["rows", "drop_below", "ask_again_below", "review_below", "samples"])
        else { return nil }
        if isLocal, !isAdapted, let node = teacher?.node("confidence") {
            throw error(
                node, "'teacher.confidence' is for a teacher behind an endpoint, or one that is adapted (teacher.adapt)"
            )
        }
        for key in ["rows", "ask_again_below", "review_below", "samples"] where isLocal {
            if let node = section.node(key) {
                throw error(node, "'teacher.confidence.\(key)' is for a teacher behind an endpoint")
            }
        }
        return TaskDefinition.Trust(
            rows: try section.integer("rows", 0...100_000) ?? TaskDefinition.Trust.usualRows,
            dropBelow: try section.number("drop_below", 0...1),
            askAgainBelow: try section.number("ask_again_below", 0...1),
            reviewBelow: try section.number("review_below", 0...1),
            samples: try section.integer("samples", 2...99) ?? 5)
    }

    /// `label`, checked; `auto` stands for all defaults.
    func labelling(_ root: Section) throws -> TaskDefinition.Labelling? {
        guard let node = root.node("label") else { return nil }
        if node.scalar?.string == "auto" { return .init(choose: .useful) }
        guard let section = try root.section("label", keys: ["count", "choose", "student"]) else { return nil }
        return .init(
            count: try section.integer("count", 1...1_000_000_000),
            choose: try section.choice("choose", TaskDefinition.Labelling.Choice.self) ?? .useful,
            student: try section.string("student"))
    }

    /// `teacher.budget`, checked.
    func budget(_ teacher: Section?) throws -> TaskDefinition.Budget? {
        guard let section = try teacher?.section("budget", keys: ["usd", "tokens", "requests", "minutes"]) else {
            return nil
        }
        return TaskDefinition.Budget(
            usd: try section.number("usd", 0...1e9), tokens: try section.number("tokens", 0...1e15),
            requests: try section.number("requests", 0...1e12), minutes: try section.number("minutes", 0...1e6))
    }
}

extension TaskDefinition {
    /// Which inputs a teacher behind an endpoint is asked for.
    public struct Labelling: Sendable, Hashable, Codable {
        public enum Choice: String, Sendable, Hashable, Codable, CaseIterable {
            /// Those unlike the gold and each other, of which a cheap model is unsure.
            case useful
            case random
            /// As they come.
            case given
        }

        /// At most so many; nil: as many as the budget allows.
        public var count: Int?
        public var choose: Choice
        /// Folder of a student package that says what it is unsure of; nil: a linear model of the gold does.
        public var student: String?
    }
}

extension TaskDefinition.Trust {
    static let usualRows = 200
}

extension TaskDefinition {
    /// The teachers behind endpoints, in the order in which they are asked.
    var endpoints: [Endpoint] { (endpoint.map { [$0] } ?? []) + (panel?.others ?? []) }
}
