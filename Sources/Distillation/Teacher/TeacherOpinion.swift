internal import Foundation
internal import Tokenizers

/// What a teacher, or several together, say to an input.
package struct TeacherOpinion: Sendable, Hashable {
    package typealias LabelProbability = EndpointAnswerReader.LabelProbability

    package var output: String
    /// 0 ... 1.
    package var confidence: Double
    /// Labels with their probabilities, the most probable first; empty where nobody says.
    package var distribution: [LabelProbability]
    /// The share of those asked whose own answer it is.
    package var agreement = 1.0
    package var inputTokens = 0
    package var outputTokens = 0
    package var usd = 0.0
    /// Of the calls it took.
    package var seconds = 0.0

    package init(output: String, confidence: Double, distribution: [LabelProbability] = []) {
        self.output = output
        self.confidence = confidence
        self.distribution = distribution
    }

    /// One of several opinions: for labels the mean of their distributions, otherwise the answer that most give, of
    /// equally frequent ones the surer, then the earlier one.
    ///
    /// - Parameters:
    ///   - opinions: at least one.
    ///   - labels: of the task; empty for texts and JSON.
    package static func vote(
        _ opinions: [TeacherOpinion], kind: TaskDefinition.OutputKind, labels: [String]
    ) -> TeacherOpinion {
        precondition(!opinions.isEmpty, "TeacherOpinion: a vote needs opinions")
        guard opinions.count > 1 else { return opinions[0] }
        let share = 1 / Double(opinions.count)
        var result: TeacherOpinion
        if kind == .label {
            var sums: [String: Double] = [:]
            for opinion in opinions {
                for (label, p) in opinion.probabilities(labels) { sums[label, default: 0] += p * share }
            }
            let sorted = sums.sorted { ($0.value, $1.key) > ($1.value, $0.key) }
            result = TeacherOpinion(
                output: sorted[0].key, confidence: min(1, sorted[0].value),
                distribution: sorted.map { .init(label: $0.key, probability: $0.value) })
        } else {
            var groups: [(form: String, members: [TeacherOpinion])] = []
            for opinion in opinions {
                let form = normal(opinion.output, kind: kind)
                if let place = groups.firstIndex(where: { $0.form == form }) {
                    groups[place].members.append(opinion)
                } else {
                    groups.append((form, [opinion]))
                }
            }
            func weight(_ members: [TeacherOpinion]) -> (Int, Double) {
                (members.count, members.reduce(0) { $0 + $1.confidence })
            }
            var best = groups[0].members
            for group in groups.dropFirst() where weight(group.members) > weight(best) { best = group.members }
            result = TeacherOpinion(output: best[0].output, confidence: Double(best.count) * share)
        }
        let form = normal(result.output, kind: kind)
        result.agreement = Double(opinions.count { normal($0.output, kind: kind) == form }) * share
        return result
    }

    /// The label's probability is the confidence; where nobody says more, the rest is spread over the other labels.
    private func probabilities(_ labels: [String]) -> [(String, Double)] {
        if !distribution.isEmpty { return distribution.map { ($0.label, $0.probability) } }
        let others = labels.filter { $0 != output }
        let rest = others.isEmpty ? 0 : (1 - confidence) / Double(others.count)
        return [(output, confidence)] + (rest > 0 ? others.map { ($0, rest) } : [])
    }

    /// The form in which answers are compared: texts without case and spaces, JSON with its keys in order.
    static func normal(_ output: String, kind: TaskDefinition.OutputKind) -> String {
        switch kind {
        case .label, .labels: return output
        case .text: return Dataset.normal(output)
        case .json, .tool: return (try? JSONParser.parse(output.utf8)).map { sorted($0).text } ?? output
        }
    }

    private static func sorted(_ value: JSONValue) -> JSONValue {
        switch value {
        case .object(let members):
            .object(members.map { (key: $0.key, value: sorted($0.value)) }.sorted { $0.key < $1.key })
        case .array(let values): .array(values.map(sorted))
        default: value
        }
    }

    /// The opinion as it stands against gold, to calibrate on.
    func scored(_ example: Example, scoring: Scoring, labels: [String]) -> ScoredAnswer {
        ScoredAnswer(
            confidence: confidence, probabilities: vector(labels) ?? [], right: labels.firstIndex(of: example.output),
            isRight: scoring.isRight(output, expected: example.output))
    }

    /// All labels' probabilities in their order; nil where nobody says, or where the answer is not the most probable one.
    private func vector(_ labels: [String]) -> [Float]? {
        guard !distribution.isEmpty, distribution[0].label == output else { return nil }
        let known = Dictionary(distribution.map { ($0.label, Float($0.probability)) }, uniquingKeysWith: { a, _ in a })
        return labels.map { known[$0] ?? 0 }
    }

    /// With a confidence that means what it says: the answer's probability as calibrated, the other labels' in the same
    /// ratios as before at the calibration's temperature.
    func calibrated(_ calibration: Calibration, labels: [String]) -> TeacherOpinion {
        guard calibration.method != .none else { return self }
        var result = self
        result.confidence = calibration.confidence(confidence, probabilities: vector(labels) ?? [])
        let others = distribution.filter { $0.label != output }
            .map { (label: $0.label, weight: pow(max($0.probability, 1e-9), 1 / calibration.temperature)) }
        let sum = others.reduce(0) { $0 + $1.weight }
        guard sum > 0 else { return result }
        result.distribution =
            ([.init(label: output, probability: result.confidence)]
            + others.map { .init(label: $0.label, probability: (1 - result.confidence) * $0.weight / sum) })
            .sorted { ($0.probability, $1.label) > ($1.probability, $0.label) }
        return result
    }
}
