/// A dense feed-forward layer taken apart into a shared and several routed experts, in the layout of Qwen2-MoE.
///
/// That layout weighs experts by their softmax probability without renormalising, and the shared expert by a
/// sigmoid. With a router of zeros all E probabilities are 1/E and the shared gate is ½: the routed
/// down-projections are multiplied by E and the shared one by 2, so that with all experts on the carved
/// layer computes what the dense one did.
package struct CarvedFeedForward: Sendable {
    /// Three matrices of an expert: gate and up [width, input], down [input, width].
    package struct Expert: Sendable {
        package var gate: [Float]
        package var up: [Float]
        package var down: [Float]
    }

    package var shared: Expert
    package var routed: [Expert]
    /// [experts, input]: the representative neurons' gate rows, before any scaling.
    package var router: [Float]

    /// - Parameters:
    ///   - gate, up: [neurons, input]; `down`: [input, neurons].
    ///   - partition: neurons of the experts.
    package init(gate: [Float], up: [Float], down: [Float], input: Int, neurons: Int, partition: ExpertPartition) {
        func expert(_ own: [Int], scale: Float) -> Expert {
            var result = Expert(gate: [], up: [], down: [Float](repeating: 0, count: input * own.count))
            for neuron in own {
                result.gate += gate[neuron * input..<(neuron + 1) * input]
                result.up += up[neuron * input..<(neuron + 1) * input]
            }
            for row in 0..<input {
                for (place, neuron) in own.enumerated() {
                    result.down[row * own.count + place] = scale * down[row * neurons + neuron]
                }
            }
            return result
        }
        shared = expert(partition.shared, scale: 2)
        routed = partition.routed.map { expert($0, scale: Float(partition.routed.count)) }
        router = partition.representatives.flatMap { Array(gate[$0 * input..<($0 + 1) * input]) }
    }
}
