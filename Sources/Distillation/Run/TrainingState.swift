internal import Foundation
public import Training

/// Where a training is.
public struct TrainingState: Sendable {
    /// Updates made, from 1.
    public var update: Int
    public var updates: Int
    /// nil: there is no estimate yet.
    public var secondsLeft: Double?
    public var record: TrainingRecord

    public init(update: Int, updates: Int, secondsLeft: Double? = nil, record: TrainingRecord) {
        self.update = update
        self.updates = updates
        self.secondsLeft = secondsLeft
        self.record = record
    }

    /// From 0 to 1.
    public var fraction: Double { Double(update) / Double(max(1, updates)) }

    var tokensPerSecond: Double? { record.seconds > 0 ? Double(record.tokens) / record.seconds : nil }

    /// In one line, for where there is no room for more.
    public var sentence: String {
        var parts = ["update \(update) of \(updates)"]
        if let point = record.points.last { parts.append(String(format: "loss %.3f", point.answerLoss)) }
        if let validation = record.validations.last {
            parts.append(String(format: "validation %.3f", validation.answerLoss))
        }
        if let tokensPerSecond { parts.append(String(format: "%.0f tokens/s", tokensPerSecond)) }
        return parts.joined(separator: ", ")
    }
}
