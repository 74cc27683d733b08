public import Foundation
internal import Tensors
internal import Tokenizers

/// What a simulated teacher does with a request: a function of seed, request and how often it was asked before.
public struct TeacherScript: Sendable {
    /// How often a request goes wrong, each a share of all requests; together at most 1.
    public struct Faults: Sendable, Hashable {
        /// 429 with `Retry-After`.
        public var rateLimited = 0.0
        /// 500, 502 or 503.
        public var server = 0.0
        /// The answer ends in the middle with its connection.
        public var broken = 0.0
        /// The answer ends in the middle of its JSON; status and connection are fine.
        public var malformed = 0.0
        /// No answer, or no end of one.
        public var hang = 0.0

        public init() {}

        var all: [(Fault, Double)] {
            [
                (.rateLimited, rateLimited), (.server, server), (.broken, broken), (.malformed, malformed),
                (.hang, hang),
            ]
        }
    }

    public enum Fault: String, Sendable, Hashable, CaseIterable {
        case rateLimited
        case server
        case broken
        case malformed
        case hang
    }

    /// How long an answer takes, in seconds.
    public enum Latency: Sendable, Hashable {
        case fixed(Double)
        case uniform(Double, Double)
        /// With this mean.
        case exponential(Double)
        /// With this median, and this deviation of its logarithm.
        case lognormal(Double, Double)

        /// - Parameter text: `fixed:S`, `uniform:S,S`, `exponential:S` or `lognormal:S,D`; nil for anything else.
        public init?(_ text: String) {
            let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { return nil }
            let numbers = parts[1].split(separator: ",").compactMap { Double($0) }
            guard numbers.allSatisfy({ $0.isFinite && $0 >= 0 && $0 <= 3600 }) else { return nil }
            switch (parts[0], numbers.count) {
            case ("fixed", 1): self = .fixed(numbers[0])
            case ("uniform", 2) where numbers[0] <= numbers[1]: self = .uniform(numbers[0], numbers[1])
            case ("exponential", 1): self = .exponential(numbers[0])
            case ("lognormal", 2): self = .lognormal(numbers[0], numbers[1])
            default: return nil
            }
        }

        func draw(_ random: inout RandomNumbers) -> Double {
            switch self {
            case .fixed(let seconds): seconds
            case .uniform(let low, let high): low + (high - low) * Double(random.uniform())
            case .exponential(let mean): -mean * log(1 - Double(random.uniform()))
            case .lognormal(let median, let deviation): min(3600, median * exp(deviation * Double(random.normal())))
            }
        }
    }

    /// The answer to inputs that no file answers.
    public enum Rule: Sendable, Hashable {
        /// The input itself.
        case echo
        case fixed(String)
        /// One of these, always the same for the same input.
        case choice([String])

        /// - Parameter text: `echo`, `fixed:TEXT` or `choice:A,B,C`; nil for anything else.
        public init?(_ text: String) {
            if text == "echo" {
                self = .echo
            } else if text.hasPrefix("fixed:") {
                self = .fixed(String(text.dropFirst(6)))
            } else if text.hasPrefix("choice:") {
                let words = text.dropFirst(7).split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
                guard !words.isEmpty else { return nil }
                self = .choice(words)
            } else {
                return nil
            }
        }
    }

    public var seed: UInt64 = 1
    public var faults = Faults()
    public var latency = Latency.fixed(0)
    /// By input.
    public var answers: [String: String] = [:]
    public var rule: Rule?
    /// Share of inputs that get the answer of another.
    public var wrong = 0.0
    /// Share of inputs whose answer has words or a code fence around it.
    public var chatty = 0.0
    /// Different answers, for mistakes and for the alternatives of tokens.
    private(set) var outputs: [String] = []

    public init() {}

    /// Reads answers: rows `{"input": …, "output": …}`, where an input is a text or a list of messages, of which the last
    /// of the user counts.
    ///
    /// - Throws: ``TeacherSimulatorError`` with file and line.
    public mutating func readAnswers(_ path: String) throws {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw TeacherSimulatorError("no such file, or not readable", file: path)
        }
        for (number, line) in data.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            let row: JSONValue
            do { row = try JSONParser.parse(line) } catch {
                throw TeacherSimulatorError("not a JSON object: \(error)", file: path, line: number + 1)
            }
            var input = row["input"]?.stringValue
            if case .array(let messages)? = row["input"] {
                input = messages.last { $0["role"]?.stringValue == "user" }?["content"]?.stringValue
            }
            guard let input, let output = row["output"] else {
                throw TeacherSimulatorError(
                    "expected {\"input\": …, \"output\": …}", file: path, line: number + 1)
            }
            answers[input] = output.stringValue ?? output.text
        }
        outputs = Set(answers.values).sorted()
    }

    /// What happens to one attempt.
    package struct Reply: Sendable, Hashable {
        package var seconds: Double
        package var fault: Fault?
        /// For what a fault leaves open, such as which 5xx.
        var variant: Int
        package var answer: String?
        /// The probability the simulated model gives to its answer.
        var confidence: Double
    }

    /// - Parameters:
    ///   - request: a number for the request's content.
    ///   - attempt: how often it was asked before.
    ///   - sample: the seed of an answer that is drawn from what the model holds possible; nil: the most probable one.
    package func reply(input: String, request: UInt64, attempt: Int, sample: UInt64? = nil) -> Reply {
        var random = RandomNumbers(seed: seed ^ request &+ UInt64(attempt) &* 0x9E37_79B9_7F4A_7C15)
        let seconds = latency.draw(&random)
        let draw = Double(random.next() >> 11) * 0x1p-53
        var sum = 0.0
        var fault: Fault?
        for (kind, rate) in faults.all {
            sum += rate
            if fault == nil, draw < sum { fault = kind }
        }
        let variant = random.below(1 << 20)
        // The answer does not depend on the attempt.
        var own = RandomNumbers(seed: seed &+ Self.hash(input))
        var answer = answers[input]
        switch rule {
        case _ where answer != nil: break
        case .echo: answer = input
        case .fixed(let text): answer = text
        case .choice(let words): answer = words[own.below(words.count)]
        case nil: break
        }
        let isWrong = Double(own.uniform()) < wrong
        let others = outputs.isEmpty ? choices : outputs
        if isWrong, others.count > 1 {
            let other = others[own.below(others.count)]
            answer = other == answer ? others.first { $0 != answer } : other
        }
        let spread = Double(own.uniform())
        let confidence = isWrong ? 0.3 + 0.4 * spread : 0.6 + 0.39 * spread
        if let sample, others.count > 1 {
            // As often as it is probable the answer stays; otherwise it is another one.
            var drawn = RandomNumbers(seed: seed &+ Self.hash("\(sample) \(input)"))
            if Double(drawn.uniform()) >= confidence {
                let own = answer
                let rest = others.filter { $0 != own }
                if !rest.isEmpty { answer = rest[drawn.below(rest.count)] }
            }
        }
        if Double(own.uniform()) < chatty, let plain = answer {
            switch own.below(3) {
            case 0: answer = "Sure! The answer is: \(plain)."
            case 1: answer = "```\n\(plain)\n```"
            default: answer = "**\(plain)**"
            }
        }
        return Reply(seconds: seconds, fault: fault, variant: variant, answer: answer, confidence: confidence)
    }

    private var choices: [String] {
        if case .choice(let words)? = rule { return words }
        return []
    }

    /// A number for a text (FNV-1a).
    static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    /// A text in the simulated model's tokens: words and their parts of at most six characters.
    static func tokens(_ text: String) -> [String] {
        var tokens: [String] = []
        var token = ""
        for character in text {
            let begins = character.isWhitespace || character == "_" || character == "\"" || token.count >= 6
            if begins, !token.isEmpty {
                tokens.append(token)
                token = ""
            }
            token.append(character)
        }
        if !token.isEmpty { tokens.append(token) }
        return tokens
    }

    /// The first tokens of other answers, for alternatives.
    func alternatives(to token: String, count: Int) -> [String] {
        var seen: Set<String> = [token]
        var result: [String] = []
        for output in outputs.isEmpty ? choices : outputs where result.count < count {
            if let first = Self.tokens(output).first, seen.insert(first).inserted { result.append(first) }
        }
        return result
    }
}

/// What is wrong with a simulator's files, in one sentence that says where.
public struct TeacherSimulatorError: Error, Sendable, Hashable, CustomStringConvertible, LocalizedError {
    public var description: String

    public init(_ message: String, file: String, line: Int? = nil) {
        description = line.map { "\(file):\($0): \(message)" } ?? "\(file): \(message)"
    }

    public var errorDescription: String? { description }
}
