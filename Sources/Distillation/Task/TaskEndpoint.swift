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
    /// `teacher.endpoint`, checked.
    func endpoint(_ teacher: Section?, isPriced: Bool) throws -> TaskDefinition.Endpoint? {
        guard
            let section = try teacher?.section(
                "endpoint", keys: ["url", "model", "key", "stream", "concurrency", "seconds", "examples"])
        else { return nil }
        if let model = teacher?.node("model") {
            throw error(model, "'teacher' has both 'model' and 'endpoint'; expected one of them")
        }
        if let adapt = teacher?.node("adapt") {
            throw error(adapt, "'teacher.adapt' is for a local teacher; one behind an endpoint is taken as it is")
        }
        guard let url = try section.string("url") else {
            throw TaskError("'teacher.endpoint.url' is missing", file: file, line: section.line)
        }
        guard let model = try section.string("model") else {
            throw TaskError("'teacher.endpoint.model' is missing", file: file, line: section.line)
        }
        let address: String
        do { address = try EndpointClient.address(url) } catch let problem as EndpointError {
            throw TaskError(
                "'teacher.endpoint.url': \(problem.message)", file: file, line: section.node("url")?.mark?.line)
        }
        var source: APIKeySource?
        if let text = try section.string("key") {
            // What stands there may be a key: it is not repeated.
            guard let found = APIKeySource(text) else {
                throw TaskError(
                    "'teacher.endpoint.key' must be env:NAME or file:PATH; the key itself does not belong into a task",
                    file: file, line: section.node("key")?.mark?.line)
            }
            source = found
        }
        var streams = false
        if let node = section.node("stream") {
            guard let text = node.scalar?.string, ["true", "false"].contains(text) else {
                throw error(node, "'teacher.endpoint.stream' must be true or false")
            }
            streams = text == "true"
        }
        return TaskDefinition.Endpoint(
            url: address, model: model, key: source, streams: streams,
            concurrency: try section.integer("concurrency", 1...1024) ?? 64,
            seconds: try section.number("seconds", 0.1...3600) ?? 120,
            examples: try section.integer("examples", 0...64) ?? 6, isPriced: isPriced)
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
