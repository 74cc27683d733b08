extension TrainableDecoder {
    /// Numbers of one forward (and backward) pass.
    package struct PassResult: Sendable {
        package var loss: SoftTargetLoss.Result
        /// Mean over the layers, before the coefficients; 0 for dense models.
        package var balance: Double = 0
        package var z: Double = 0
        /// Entropy of the routers' probabilities in nats, mean over tokens and layers; 0 for dense models.
        package var entropy: Double = 0
        /// Tokens each expert worked on, by layer.
        package var loads: [[Int]] = []

        /// Adds another part of the same batch, which has `share` of its tokens.
        mutating func add(_ part: PassResult, share: Double) {
            loss.loss += part.loss.loss
            loss.answerLoss += part.loss.answerLoss
            loss.hits += part.loss.hits
            loss.rows += part.loss.rows
            loss.weight += part.loss.weight
            balance += part.balance * share
            z += part.z * share
            entropy += part.entropy * share
            loads.add(part.loads)
        }
    }
}
