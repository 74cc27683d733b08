/// Which neurons of a dense feed-forward layer go to which expert (CMoE, Pei et al. 2025, arXiv 2502.04416).
package struct ExpertPartition: Sendable, Hashable {
    /// Neurons of the shared expert: those that are among a token's most active the most often.
    package var shared: [Int]
    /// Neurons of each routed expert: groups that are active on the same tokens.
    package var routed: [[Int]]
    /// For each routed expert, the neuron nearest to its group's centre.
    package var representatives: [Int]

    /// - Parameters:
    ///   - activations: |h| of every neuron on sample tokens, [tokens, neurons].
    ///   - sharedWidth: neurons of the shared expert.
    ///   - expertCount: routed experts; they divide the other neurons evenly.
    ///   - top: how many of a token's neurons count as active.
    package init(
        activations: UnsafePointer<Float>, tokens: Int, neurons: Int, sharedWidth: Int, expertCount: Int, top: Int
    ) {
        precondition(
            expertCount > 0 && (neurons - sharedWidth) % expertCount == 0,
            "ExpertPartition: \(neurons) neurons less \(sharedWidth) do not divide into \(expertCount) experts")
        // marks[neuron][token]: whether the neuron is among the token's `top` most active.
        var marks = [[Float]](repeating: [Float](repeating: 0, count: tokens), count: neurons)
        for token in 0..<tokens {
            let row = activations + token * neurons
            let order = (0..<neurons).sorted { (row[$0], $1) > (row[$1], $0) }
            for neuron in order.prefix(top) { marks[neuron][token] = 1 }
        }
        let rates = marks.map { $0.reduce(0, +) }
        let byRate = (0..<neurons).sorted { (rates[$0], $1) > (rates[$1], $0) }
        shared = byRate.prefix(sharedWidth).sorted()
        let rest = Array(byRate.dropFirst(sharedWidth))
        let groups = BalancedClusters(points: rest.map { marks[$0] }, count: expertCount)
        routed = groups.members.map { $0.map { rest[$0] }.sorted() }
        representatives = groups.nearest.map { rest[$0] }
    }
}

/// k-means with clusters of equal size. Deterministic: it starts from points spread over the list.
struct BalancedClusters {
    /// Points of each cluster, by number.
    private(set) var members: [[Int]]
    /// The point nearest to each cluster's centre.
    private(set) var nearest: [Int]

    init(points: [[Float]], count: Int, rounds: Int = 8) {
        let size = points.count / count
        let dimensions = points.first?.count ?? 0
        // Points come with the most active first; spread starts have something to say about many tokens.
        var centres = (0..<count).map { points[min($0 * max(1, size / 2), points.count - 1)] }
        members = []
        nearest = []
        for _ in 0..<rounds {
            let norms = centres.map { centre in centre.reduce(0) { $0 + $1 * $1 } }
            // ‖p − c‖² without ‖p‖², which is the same for all centres.
            let distances = points.map { point in
                (0..<count).map { cluster in norms[cluster] - 2 * BalancedClusters.dot(point, centres[cluster]) }
            }
            let new = BalancedClusters.assign(distances, count: count, size: size)
            nearest = new.enumerated().map { cluster, own in
                own.min { (distances[$0][cluster], $0) < (distances[$1][cluster], $1) } ?? 0
            }
            if new == members { break }
            members = new
            for cluster in 0..<count {
                var sum = [Float](repeating: 0, count: dimensions)
                for point in new[cluster] {
                    for d in 0..<dimensions { sum[d] += points[point][d] }
                }
                centres[cluster] = sum.map { $0 / Float(max(1, new[cluster].count)) }
            }
        }
    }

    /// The points that lose most by not getting their first choice choose first.
    private static func assign(_ distances: [[Float]], count: Int, size: Int) -> [[Int]] {
        let regret = distances.map { row -> Float in
            let sorted = row.sorted()
            return count > 1 ? sorted[1] - sorted[0] : 0
        }
        var result = [[Int]](repeating: [], count: count)
        for point in distances.indices.sorted(by: { (regret[$0], $1) > (regret[$1], $0) }) {
            let order = (0..<count).sorted { (distances[point][$0], $0) < (distances[point][$1], $1) }
            let cluster = order.first { result[$0].count < size } ?? order[0]
            result[cluster].append(point)
        }
        return result.map { $0.sorted() }
    }

    private static func dot(_ a: [Float], _ b: [Float]) -> Float {
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
                var sum: Float = 0
                for index in 0..<min(a.count, b.count) { sum += a[index] * b[index] }
                return sum
            }
        }
    }
}
