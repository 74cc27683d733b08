package import LanguageModels
package import Training

/// Leaves out routed experts that are hardly ever chosen on what the student was trained on: as many in every layer, because
/// the exported layout has one number for all, and so as few as the layer with the fewest such experts has.
///
/// The weights of those that stay are a softmax over fewer then, and a little higher; what that does to the loss is
/// measured and said.
package struct ExpertPruning {
    /// An expert is hardly ever chosen when its share of the layer's visits is below this part of an even one.
    private static let threshold = 0.02

    /// The shape without them.
    package let configuration: ModelConfiguration
    /// Numbers of the experts that stay, by layer.
    package let kept: [[Int]]

    /// - Parameter loads: visits of each expert, by layer.
    /// - Returns: nil where every expert of some layer is of use, and for dense models.
    package init?(_ configuration: ModelConfiguration, loads: [[Int]]) {
        guard let e = configuration.experts, loads.count == configuration.layerCount else { return nil }
        let useless = loads.map { layer in
            let even = Double(layer.reduce(0, +)) / Double(max(1, layer.count))
            return layer.count { Double($0) < Self.threshold * even }
        }
        let count = min(useless.min() ?? 0, e.routedCount - e.activeCount)
        guard count > 0 else { return nil }
        kept = loads.map { layer in
            let order = layer.indices.sorted { (layer[$0], $1) < (layer[$1], $0) }
            return order.dropFirst(count).sorted()
        }
        var c = configuration
        c.experts?.routedCount -= count
        self.configuration = c
    }

    /// The weights without them.
    package func weights(_ whole: Parameters) -> Parameters {
        let result = Parameters(TrainableDecoder.specifications(configuration))
        for entry in result.entries where !entry.specification.name.contains(".mlp.") {
            result.set(entry.specification.name, whole.array(entry.specification.name))
        }
        for (layer, kept) in kept.enumerated() {
            let p = "model.layers.\(layer).mlp."
            for entry in result.entries
            where entry.specification.name.hasPrefix(p + "shared_expert") {
                result.set(entry.specification.name, whole.array(entry.specification.name))
            }
            let router = whole.array(p + "gate.weight")
            let width = configuration.width
            result.set(p + "gate.weight", kept.flatMap { router[$0 * width..<($0 + 1) * width] })
            for (new, old) in kept.enumerated() {
                for part in ["gate_proj", "up_proj", "down_proj"] {
                    result.set(
                        p + "experts.\(new).\(part).weight", whole.array(p + "experts.\(old).\(part).weight"))
                }
            }
        }
        return result
    }
}

extension StudentTraining {
    /// Visits of each expert over rows of the training, by layer, and the mean loss of their answers in nats a token.
    func use(_ configuration: ModelConfiguration, _ weights: Parameters) -> (loads: [[Int]], loss: Double) {
        let model = decoder(configuration, weights)
        var loads: [[Int]] = []
        var loss = 0.0
        var weight = 0.0
        for start in stride(from: 0, to: min(rows.count, 1024), by: 16) {
            let pass = model.run(TrainingBatch(rows[start..<min(start + 16, rows.count)]), backward: false)
            if loads.isEmpty { loads = pass.loads.map { $0.map { _ in 0 } } }
            for (layer, own) in pass.loads.enumerated() {
                for (expert, count) in own.enumerated() { loads[layer][expert] += count }
            }
            loss += pass.loss.answerLoss
            weight += pass.loss.weight
        }
        return (loads, loss / max(weight, 1e-9))
    }
}
