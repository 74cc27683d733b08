internal import Foundation
internal import Tensors
package import Training

/// Label probabilities that a row shares with the rows most like it (label spreading, Zhou et al., NIPS 2003; with a
/// network's own view of what is alike, Iscen et al., arXiv 1904.04717).
///
/// Rows are alike where the teacher is torn between the same labels: the cosine of their centred log-probabilities.
package struct LabelSpreading {
    /// Rows.
    private let count: Int
    private let labels: Int
    /// Probabilities, [rows, labels].
    private let own: [Float]
    /// The most similar rows of each, [rows, neighbours], and how much each of them counts; a row's sum is 1.
    private let neighbours: [Int32]
    private let weights: [Float]

    /// Similar rows that have a say.
    private static let nearest = 10
    /// What similarities are divided by before the softmax.
    private static let temperature: Float = 0.05
    private static let rounds = 5
    /// The least probability, so that the logarithm has an end.
    private static let least: Float = 1e-5
    /// Rows compared with all others at a time.
    private static let block = 256
    /// More rows are not compared: that takes as long as the square of their number.
    package static let most = 100_000

    /// - Parameters:
    ///   - probabilities: [rows, labels], at least two rows.
    ///   - labels: how many.
    ///   - sources: how many rows, the first, may be neighbours of others, at least two; nil: all.
    package init(_ probabilities: [Float], labels: Int, sources: Int? = nil, compute: Compute) {
        own = probabilities
        self.labels = labels
        count = probabilities.count / labels
        let sources = min(sources ?? count, count)
        let features = FloatBuffer(Self.features(probabilities, labels: labels))
        let width = min(Self.nearest, sources - 1)
        let similarities = FloatBuffer(count: Self.block * sources)
        var neighbours = [Int32](repeating: 0, count: count * width)
        var weights = [Float](repeating: 0, count: count * width)
        for first in stride(from: 0, to: count, by: Self.block) {
            let rows = min(Self.block, count - first)
            compute.run([
                .forward(
                    x: features.base + first * labels, w: features.base, y: similarities.base, rows: rows,
                    input: labels, output: sources)
            ])
            for row in 0..<rows {
                let values = UnsafeBufferPointer(start: similarities.base + row * sources, count: sources)
                let best = Self.highest(width, of: values, but: first + row)
                let sum = best.reduce(0) { $0 + exp($1.value / Self.temperature) }
                for (place, entry) in best.enumerated() {
                    neighbours[(first + row) * width + place] = Int32(entry.row)
                    weights[(first + row) * width + place] = exp(entry.value / Self.temperature) / sum
                }
            }
        }
        self.neighbours = neighbours
        self.weights = weights
    }

    /// Each row's centred log-probabilities, of length 1.
    private static func features(_ probabilities: [Float], labels: Int) -> [Float] {
        var result = probabilities.map { log(max($0, least)) }
        for start in stride(from: 0, to: result.count, by: labels) {
            let row = start..<start + labels
            let mean = result[row].reduce(0, +) / Float(labels)
            for place in row { result[place] -= mean }
            let length = result[row].reduce(0) { $0 + $1 * $1 }.squareRoot()
            for place in row { result[place] /= max(length, 1e-6) }
        }
        return result
    }

    /// The highest values with their places, without the row itself; of equal ones the first.
    private static func highest(
        _ wanted: Int, of values: UnsafeBufferPointer<Float>, but own: Int
    ) -> [(row: Int, value: Float)] {
        var best: [(row: Int, value: Float)] = []
        var least = -Float.infinity
        for row in values.indices where row != own && (best.count < wanted || values[row] > least) {
            if best.count == wanted { best.removeLast() }
            let place = best.firstIndex { $0.value < values[row] } ?? best.count
            best.insert((row, values[row]), at: place)
            if best.count == wanted { least = best[wanted - 1].value }
        }
        return best
    }

    /// The probabilities after a few rounds in which every row takes `share` of its own from its neighbours, [rows, labels].
    ///
    /// - Parameter known: the label of the first rows, which keep it.
    package func probabilities(share: Float, known: [Int]) -> [Float] {
        var start = own
        for (row, label) in known.enumerated() {
            for place in 0..<labels { start[row * labels + place] = place == label ? 1 : 0 }
        }
        guard share > 0, count > 1 else { return start }
        let width = neighbours.count / count
        var result = start
        for _ in 0..<Self.rounds {
            var next = start
            for row in known.count..<count {
                for place in row * labels..<(row + 1) * labels { next[place] *= 1 - share }
                for neighbour in row * width..<(row + 1) * width {
                    let part = share * weights[neighbour]
                    let from = Int(neighbours[neighbour]) * labels
                    for place in 0..<labels { next[row * labels + place] += part * result[from + place] }
                }
            }
            result = next
        }
        return result
    }
}
