internal import Foundation

/// One system's answers to the test set, and how long they took.
struct SystemRun: Sendable, Codable {
    var name: String
    var answers: [String]
    /// Probability a model gives to its answers; empty for baselines.
    var confidences: [Double]
    /// Milliseconds of single requests.
    var latencies: [Double]
    /// Seconds for all requests together.
    var seconds: Double
    /// Tokens of all requests.
    var inputTokens: Int
    var outputTokens: Int
    var parameters: Int
    var activeParameters: Int
    var bytes: Int
    /// What calibrating did to the confidences, where it was done.
    var calibration: CalibrationMeasurement?
    /// What all requests cost, where that is not the task's price for their tokens.
    var usd: Double?

    /// Runs a system: some requests one by one, then all together.
    static func measure(
        _ name: String, inputs: [String], singles: Int, parameters: Int, activeParameters: Int, bytes: Int,
        progress: @escaping (Double) throws -> Void,
        answer: ([String], @escaping (Int) throws -> Void) throws -> [TaskAnswer]
    ) throws -> SystemRun {
        let clock = ContinuousClock()
        var latencies: [Double] = []
        let step = max(1, inputs.count / max(1, singles))
        let alone = stride(from: 0, to: inputs.count, by: step).prefix(singles).map { inputs[$0] }
        for (index, input) in alone.enumerated() {
            let time = try clock.measure { _ = try answer([input]) { _ in } }
            // The first request warms the caches up.
            if index > 0 || alone.count == 1 { latencies.append(time.seconds * 1000) }
            try progress(0.3 * Double(index + 1) / Double(alone.count))
        }
        var answers: [TaskAnswer] = []
        let together = try clock.measure {
            answers = try answer(inputs) { try progress(0.3 + 0.7 * Double($0) / Double(max(1, inputs.count))) }
        }
        return SystemRun(
            name: name, answers: answers.map(\.output), confidences: answers.map(\.confidence), latencies: latencies,
            seconds: together.seconds, inputTokens: answers.reduce(0) { $0 + $1.inputTokens },
            outputTokens: answers.reduce(0) { $0 + $1.outputTokens }, parameters: parameters,
            activeParameters: activeParameters, bytes: bytes)
    }

    func measurement(
        _ scoring: Scoring, expected: [String], task: TaskDefinition, threads: Int, isPriced: Bool
    ) -> Certificate.SystemMeasurement {
        let score = scoring.score(answers, expected, confidence: task.confidence)
        let count = Double(max(1, answers.count))
        let sorted = latencies.sorted()
        let perSecond = count / max(seconds, 1e-9)
        let economics = task.economics
        let machine = economics.usdPerCoreHour * Double(threads) / 3600 / perSecond * 1e6
        let priced =
            (usd.map { $0 * 1e6 } ?? Double(inputTokens) * economics.usdPerMillionInput + Double(outputTokens)
                * economics.usdPerMillionOutput) / count
        return Certificate.SystemMeasurement(
            name: name, metric: task.metric.rawValue, value: score.value, interval: [score.low, score.high],
            p50Milliseconds: Statistics.quantile(sorted, 0.5), p95Milliseconds: Statistics.quantile(sorted, 0.95),
            requestsPerSecond: perSecond, inputTokens: Double(inputTokens) / count,
            outputTokens: Double(outputTokens) / count, parameters: parameters, activeParameters: activeParameters,
            megabytes: Double(bytes) / 1e6, usdPerMillionRequests: isPriced ? priced : machine, isPriced: isPriced,
            calibration: calibration)
    }
}
