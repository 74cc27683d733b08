internal import Foundation
internal import Tensors

/// Why an update was not made.
struct TrainingFault {
    /// The update, counted from 1.
    var step: Int
    /// Loss of its batch, in nats a target.
    var loss: Double
    /// The gradient's norm before clipping.
    var norm: Double
    /// What is wrong, without the place.
    var reason: String
    /// The first parameter that is not finite, or whose gradient is not, as the backward pass goes.
    var parameter: String?
    /// Numbers of the batch's sequences in the data.
    var sequences: [Int]

    /// One sentence that names update, cause, parameter and batch.
    func description(of steps: Int) -> String {
        let named = sequences.prefix(8).map(String.init).joined(separator: ", ")
        let rest = sequences.count > 8 ? " and \(sequences.count - 8) more" : ""
        return
            "training diverged at update \(step) of \(steps): \(reason)\(parameter.map { " (first in \($0))" } ?? "") (loss \(loss), gradient norm \(norm)), in the batch of sequences \(named)\(rest)"
    }
}

/// Notices a loss that runs away.
///
/// The rule: after warm-up, and once ``settled`` updates have shaped the mean, an update whose loss is above three times
/// the running mean, and more than one nat above it, is suspicious; ``patience`` suspicious updates in a row are a
/// divergence. One hard batch is never one, and neither is the noise of a loss near zero. Suspicious losses do not enter
/// the mean (exponential, over about fifty updates), so that it can't run after the loss.
struct LossWatch: Codable, Equatable {
    static let factor = 3.0
    /// Nats a target.
    static let margin = 1.0
    static let patience = 5
    static let settled = 20
    private static let slowest = 0.02

    private(set) var mean = 0.0
    private(set) var count = 0
    /// Suspicious updates in a row.
    private(set) var suspicious = 0

    /// Takes in an update's loss, in nats a target; whether training has diverged.
    mutating func hasDiverged(_ loss: Double, isWarm: Bool) -> Bool {
        if isWarm, count >= Self.settled, loss > max(Self.factor * mean, mean + Self.margin) {
            suspicious += 1
            return suspicious >= Self.patience
        }
        suspicious = 0
        count += 1
        mean += (loss - mean) * max(1 / Double(count), Self.slowest)
        return false
    }
}

extension Parameters {
    /// The trained parameter that went bad first: one whose values are not finite, or else one whose gradient is not,
    /// from the last layer to the first as the backward pass goes; nil: all are finite.
    func firstNotFinite() -> String? {
        let trained = entries.filter(\.specification.trains)
        let bad = { (entry: Entry, buffer: Floats) in
            let values = UnsafeBufferPointer(start: buffer + entry.offset, count: entry.specification.count)
            return !values.allSatisfy(\.isFinite)
        }
        let found =
            entries.first { bad($0, values.base) } ?? trained.reversed().first { bad($0, gradients.base) }
        return found?.specification.name
    }
}
