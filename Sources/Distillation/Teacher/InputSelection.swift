internal import Foundation
internal import Tensors

/// Which inputs to have labelled, when not all can be: those unlike the gold and each other of which a model is unsure.
///
/// Texts become vectors of hashed terms. Chosen is always the input farthest from the gold and from what was chosen before
/// (k-center, Gonzalez 1985; as core set for labelling Sener & Savarese, arXiv 1708.00489), its distance weighted by how
/// unsure a model is of it: kinds of input of which nothing is known come first, however rare they are.
package struct InputSelection: Sendable {
    /// [inputs, width], each of length one.
    private let vectors: [Float]
    private let weights: [Double]
    /// Squared distance to what is nearest among the gold and the chosen.
    private var distances: [Double]

    private static let width = 256
    /// More inputs are chosen from in parts of at most so many.
    private static let partSize = 4096
    /// Most gold rows that are looked at.
    private static let mostGold = 2048
    /// What is nearer to a chosen one is the same.
    private static let leastDistance = 1e-6
    /// What counts of the distance of an input that a model is sure of.
    private static let leastWeight = 0.5

    /// The places of the inputs to have labelled, the most useful first.
    ///
    /// - Parameters:
    ///   - gold: inputs whose answers are known.
    ///   - uncertainty: 0 ... 1 for each input; nil: they count alike.
    ///   - count: at most so many.
    package static func choose(
        _ inputs: [String], gold: [String], uncertainty: [Double]?, count: Int, seed: UInt64
    ) -> [Int] {
        precondition(uncertainty.map { $0.count == inputs.count } ?? true, "InputSelection: a number for each input")
        let count = min(count, inputs.count)
        guard count > 0 else { return [] }
        var random = RandomNumbers(seed: seed)
        let known = gold.count > mostGold ? Array(gold.shuffled(using: &random).prefix(mostGold)) : gold
        let all = inputs.indices.shuffled(using: &random)
        let parts = (inputs.count + partSize - 1) / partSize
        var chosen: [[Int]] = []
        for part in 0..<parts {
            let places = stride(from: part, to: all.count, by: parts).map { all[$0] }
            // Every part gives as many, the first ones the rest.
            let own = count / parts + (part < count % parts ? 1 : 0)
            var selection = InputSelection(
                places.map { inputs[$0] }, gold: known, uncertainty: uncertainty.map { u in places.map { u[$0] } })
            chosen.append(selection.take(own).map { places[$0] })
        }
        // In turns, so that the beginning of the list is a choice from all of them.
        return (0..<(chosen.map(\.count).max() ?? 0)).flatMap { turn in
            chosen.compactMap { turn < $0.count ? $0[turn] : nil }
        }
    }

    private init(_ inputs: [String], gold: [String], uncertainty: [Double]?) {
        let texts = gold + inputs
        let terms = [TermWeights(texts), TermWeights(texts, terms: .characters)]
        vectors = inputs.flatMap { Self.vector($0, terms) }
        weights =
            uncertainty?.map { Self.leastWeight + (1 - Self.leastWeight) * min(1, max(0, $0)) }
            ?? [Double](repeating: 1, count: inputs.count)
        distances = [Double](repeating: 2, count: inputs.count)
        for text in gold { distances = distances(to: Self.vector(text, terms)) }
    }

    /// Words' and characters' weights, hashed with signs to a short vector (feature hashing, Weinberger et al. 2009).
    private static func vector(_ text: String, _ terms: [TermWeights]) -> [Float] {
        var result = [Float](repeating: 0, count: width)
        for (kind, weights) in terms.enumerated() {
            let sparse = weights.vector(text)
            for (place, value) in zip(sparse.places, sparse.values) {
                var hash =
                    (UInt64(UInt32(bitPattern: place)) &+ UInt64(kind + 1) &* 0x1_0000_0001)
                    &* 0x9E37_79B9_7F4A_7C15
                hash ^= hash >> 29
                hash &*= 0xBF58_476D_1CE4_E5B9
                result[Int(hash >> 40) % width] += hash & 1 == 0 ? value : -value
            }
        }
        let length = result.reduce(0) { $0 + $1 * $1 }.squareRoot()
        return length > 0 ? result.map { $0 / length } : result
    }

    /// The distances, were this chosen, too.
    private func distances(to centre: [Float]) -> [Double] {
        let width = Self.width
        return vectors.withUnsafeBufferPointer { vectors in
            centre.withUnsafeBufferPointer { centre in
                distances.indices.map { row in
                    var product: Float = 0
                    for place in 0..<width { product += vectors[row * width + place] * centre[place] }
                    // |a − b|² of vectors of length one.
                    return min(distances[row], max(0, 2 - 2 * Double(product)))
                }
            }
        }
    }

    private mutating func take(_ count: Int) -> [Int] {
        var chosen: [Int] = []
        var isChosen = [Bool](repeating: false, count: distances.count)
        while chosen.count < count {
            var best = -1
            var most = Self.leastDistance
            for row in distances.indices where !isChosen[row] && distances[row] * weights[row] > most {
                best = row
                most = distances[row] * weights[row]
            }
            guard best >= 0 else { break }
            chosen.append(best)
            isChosen[best] = true
            distances = distances(to: Array(vectors[(best * Self.width)..<((best + 1) * Self.width)]))
        }
        // What is left is like what is chosen: the least sure first.
        let rest = distances.indices.filter { !isChosen[$0] }.sorted { (weights[$0], $1) > (weights[$1], $0) }
        return chosen + rest.prefix(count - chosen.count)
    }
}
