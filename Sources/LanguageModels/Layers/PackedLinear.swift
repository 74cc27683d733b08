package import Tensors

/// A linear layer for inference: y = x · Wᵀ (+ bias), with W [outputs, inputs] packed.
package struct PackedLinear: Sendable {
    package let matrix: PackedMatrix
    package let bias: FloatBuffer?

    package init(matrix: PackedMatrix, bias: FloatBuffer? = nil) {
        self.matrix = matrix
        self.bias = bias
    }
}

/// A gated feed-forward network: down(silu(gate(x)) · up(x)) (Shazeer 2020).
package struct PackedFeedForward: Sendable {
    package let gate: PackedMatrix
    package let up: PackedMatrix
    package let down: PackedMatrix

    /// Width of the hidden layer.
    package var width: Int { gate.rows }
}

/// A mixture of experts: routed ones chosen for each token, and perhaps a shared one that sees them all.
package struct PackedExperts: Sendable {
    /// [experts, width], fp32.
    package let router: PackedMatrix
    package let routed: [PackedFeedForward]
    package let shared: PackedFeedForward?
    /// [1, width]: the shared expert's output is multiplied by sigmoid(gate · x).
    package let sharedGate: PackedMatrix?
}

/// One block of the decoder.
package struct PackedBlock: Sendable {
    package enum FeedForward: Sendable {
        case dense(PackedFeedForward)
        case experts(PackedExperts)
    }

    package let attentionNorm: FloatBuffer
    package let query: PackedLinear
    package let key: PackedLinear
    package let value: PackedLinear
    package let output: PackedMatrix
    /// [head dimension], for each head's queries and keys.
    package let queryNorm: FloatBuffer?
    package let keyNorm: FloatBuffer?
    /// Norms of what joins the stream.
    package let attentionPostNorm: FloatBuffer?
    package let feedForwardPostNorm: FloatBuffer?
    package let feedForwardNorm: FloatBuffer
    package let feedForward: FeedForward
}
