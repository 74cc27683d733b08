/// The increasing function nearest to the rows in squares, by pooling adjacent violators (Ayer et al. 1955; for
/// probabilities Zadrozny & Elkan, KDD 2002).
package struct IsotonicRegression: Sendable, Hashable, Codable {
    /// Confidences in increasing order.
    package let places: [Double]
    /// The share of right answers at each place; never decreasing.
    package let values: [Double]

    /// Fits confidences to whether the answers were right.
    ///
    /// Right ones count as (n₊ + 1) / (n₊ + 2) and wrong ones as 1 / (n₋ + 2) (Platt 1999), so that no confidence
    /// becomes certain.
    package init(_ rows: [(confidence: Double, isRight: Bool)]) {
        let hits = rows.count { $0.isRight }
        let right = Double(hits + 1) / Double(hits + 2)
        let wrong = 1 / Double(rows.count - hits + 2)
        struct Block {
            var low: Double
            var high: Double
            var sum: Double
            var count: Double
            var mean: Double { sum / count }
        }
        var blocks: [Block] = []
        for row in rows.sorted(by: { $0.confidence < $1.confidence }) {
            let target = row.isRight ? right : wrong
            // Rows of one confidence have one value.
            if let last = blocks.last, last.low == last.high, last.high == row.confidence {
                blocks[blocks.count - 1].sum += target
                blocks[blocks.count - 1].count += 1
            } else {
                blocks.append(Block(low: row.confidence, high: row.confidence, sum: target, count: 1))
            }
        }
        var pooled: [Block] = []
        for block in blocks {
            pooled.append(block)
            while pooled.count > 1, pooled[pooled.count - 2].mean >= pooled[pooled.count - 1].mean {
                let last = pooled.removeLast()
                pooled[pooled.count - 1].high = last.high
                pooled[pooled.count - 1].sum += last.sum
                pooled[pooled.count - 1].count += last.count
            }
        }
        var places: [Double] = []
        var values: [Double] = []
        for block in pooled {
            places.append(block.low)
            values.append(block.mean)
            guard block.high > block.low else { continue }
            places.append(block.high)
            values.append(block.mean)
        }
        self.places = places
        self.values = values
    }

    /// Whether what was read can be used: as many values as places, increasing, within 0 and 1.
    package var isValid: Bool {
        places.count == values.count && !places.isEmpty
            && zip(places, places.dropFirst()).allSatisfy { $0 < $1 }
            && zip(values, values.dropFirst()).allSatisfy { $0 <= $1 } && values.allSatisfy { (0...1).contains($0) }
    }

    /// The function's value: between two places on the line that joins them, outside them that of the nearest one.
    package func value(_ confidence: Double) -> Double {
        guard let first = values.first, let last = values.last else { return confidence }
        guard let above = places.firstIndex(where: { $0 >= confidence }) else { return last }
        guard above > 0 else { return first }
        let share = (confidence - places[above - 1]) / (places[above] - places[above - 1])
        return values[above - 1] + share * (values[above] - values[above - 1])
    }
}
