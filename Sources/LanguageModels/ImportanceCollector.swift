/// Mean squares of what enters each matrix, over data: which inputs matter when the matrix is quantised.
///
/// An error e in the weight of input k adds e²·x_k² to the output's square error, so weights of inputs that are large on
/// average must be kept more exactly.
package final class ImportanceCollector {
    private var sums: [String: [Double]] = [:]
    private var counts: [String: Int] = [:]

    package init() {}

    /// Adds rows [count, width] that entered the matrices of these canonical names.
    func add(_ names: [String], _ rows: UnsafePointer<Float>, count: Int, width: Int) {
        guard let first = names.first, count > 0 else { return }
        var sum = sums[first] ?? [Double](repeating: 0, count: width)
        for row in 0..<count {
            for column in 0..<width {
                let value = Double(rows[row * width + column])
                sum[column] += value * value
            }
        }
        let total = counts[first, default: 0] + count
        for name in names {
            sums[name] = sum
            counts[name] = total
        }
    }

    /// By canonical name, [columns], one on average. Matrices that no row entered are left out.
    package var importance: [String: [Float]] {
        sums.compactMapValues { sum in
            let mean = sum.reduce(0, +) / Double(sum.count)
            guard mean > 0, mean.isFinite else { return nil }
            return sum.map { Float($0 / mean) }
        }
    }
}
