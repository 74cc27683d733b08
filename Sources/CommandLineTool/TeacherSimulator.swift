internal import ArgumentParser
internal import Foundation
internal import OpenAI
internal import Service

struct TeacherSimulatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "teacher-simulator",
        abstract: "A teacher that answers from a file and goes wrong as often as it is told.",
        discussion: """
            OpenAI's API on this machine's loopback address, to try what `teacher: {endpoint: …}` does when a provider \
            has a bad day, without paying one. The same seed gives the same faults and times for the same requests. \
            GET /simulator/statistics tells what it did, and whether anything was answered twice.
            """)

    @Option(help: "The port; 0: any free one.") var port = 8090
    @Option(help: "What clients call the model.") var model = "simulated"
    @Option(help: "Answers: a file of {\"input\": …, \"output\": …}, one a line.") var answers: String?
    @Option(help: "The answer to other inputs: echo, fixed:TEXT or choice:A,B,C.") var rule: String?
    @Option(help: "Share of inputs that get another one's answer.") var wrong = 0.0
    @Option(help: "Share of inputs whose answer has words or a code fence around it.") var chatty = 0.0
    @Option(name: .customLong("429"), help: "Share of requests refused with 429.") var rateLimited = 0.0
    @Option(name: .customLong("5xx"), help: "Share of requests that fail with 500, 502 or 503.") var server = 0.0
    @Option(help: "Share of answers that end in the middle with their connection.") var broken = 0.0
    @Option(help: "Share of answers whose JSON ends in the middle.") var malformed = 0.0
    @Option(help: "Share of requests that hang.") var hangs = 0.0
    @Option(help: "Seconds a hang lasts.") var hangSeconds = 60.0
    @Option(help: "Time of an answer in seconds: fixed:S, uniform:S,S, exponential:MEAN or lognormal:MEDIAN,DEVIATION.")
    var latency = "lognormal:0.05,0.5"
    @Option(help: "Requests answered at a time; more get 429.") var capacity: Int?
    @Option(help: "Seconds that 429 asks to wait.") var retryAfter = 1.0
    @Option(help: "Fields to refuse with 400, such as logprobs,response_format,seed.") var refuse: String?
    @Option(help: "Seconds a batch takes.") var batchSeconds = 1.0
    @Option(help: "So many batches, the first ones, expire with half of their requests undone.") var expiringBatches = 0
    @Option(help: "The key that clients must show: env:NAME or file:PATH.") var key: String?
    @Option(help: "Decides faults and times.") var seed: UInt64 = 1

    func validate() throws {
        guard (0...65535).contains(port) else { throw ValidationError("--port must be 0 to 65535.") }
        let rates = [rateLimited, server, broken, malformed, hangs]
        guard rates.allSatisfy({ $0 >= 0 }), rates.reduce(0, +) <= 1 else {
            throw ValidationError("--429, --5xx, --broken, --malformed and --hangs must be shares, together at most 1.")
        }
        guard (0...1).contains(wrong), (0...1).contains(chatty) else {
            throw ValidationError("--wrong and --chatty must be from 0 to 1.")
        }
        guard TeacherScript.Latency(latency) != nil else {
            throw ValidationError(
                "--latency must be fixed:S, uniform:S,S, exponential:MEAN or lognormal:MEDIAN,DEVIATION, in seconds.")
        }
        guard answers != nil || rule != nil else { throw ValidationError("Give --answers, --rule, or both.") }
        guard rule == nil || TeacherScript.Rule(rule!) != nil else {
            throw ValidationError("--rule must be echo, fixed:TEXT or choice:A,B,C.")
        }
        guard capacity ?? 1 >= 1, (0...86400).contains(hangSeconds), (0...86400).contains(retryAfter) else {
            throw ValidationError("--capacity must be at least 1, --hang-seconds and --retry-after 0 to 86400.")
        }
        guard (0...86400).contains(batchSeconds), expiringBatches >= 0 else {
            throw ValidationError("--batch-seconds must be 0 to 86400, --expiring-batches at least 0.")
        }
        guard key == nil || APIKeySource(key!) != nil else {
            throw ValidationError("--key must be env:NAME or file:PATH.")
        }
    }

    func run() async throws {
        var script = TeacherScript()
        script.seed = seed
        script.faults.rateLimited = rateLimited
        script.faults.server = server
        script.faults.broken = broken
        script.faults.malformed = malformed
        script.faults.hang = hangs
        script.latency = TeacherScript.Latency(latency) ?? .fixed(0)
        script.rule = rule.flatMap { TeacherScript.Rule($0) }
        script.wrong = wrong
        script.chatty = chatty
        if let answers { try script.readAnswers(answers) }
        var configuration = TeacherSimulator.Configuration()
        configuration.script = script
        configuration.model = model
        configuration.capacity = capacity
        configuration.retryAfter = retryAfter
        configuration.hangSeconds = hangSeconds
        configuration.batchSeconds = batchSeconds
        configuration.expiringBatches = expiringBatches
        configuration.refusedFields = Set((refuse ?? "").split(separator: ",").map(String.init))
        configuration.key = try key.flatMap { APIKeySource($0) }?.read().secret
        let name = model
        try await TeacherSimulator(configuration).run(port: port) { port in
            Terminal.note("understudy: \(name) on http://127.0.0.1:\(port)/v1")
        }
    }
}
