internal import Tensors

/// Balance of the experts by a bias on their choice instead of a loss (Wang et al., arXiv 2408.15664, algorithm 1).
extension Trainer {
    /// Share of the updates, at the end, over which the bias goes to zero: exported students have none.
    private static let release = 0.2

    /// After an update: experts with more tokens than the mean become less likely to be chosen, those with fewer more.
    func adjustBias(_ loads: [[Int]]) {
        guard options.biasSpeed > 0 else { return }
        let bias = model.selectionBias
        let left = steps - record.steps
        let whole = Int(Double(steps) * Self.release)
        if left < whole {
            for index in 0..<bias.count { bias.base[index] *= Float(left) / Float(left + 1) }
            return
        }
        for (layer, loads) in loads.enumerated() {
            let mean = Double(loads.reduce(0, +)) / Double(max(1, loads.count))
            for (expert, load) in loads.enumerated() where Double(load) != mean {
                bias.base[layer * loads.count + expert] += Double(load) < mean ? options.biasSpeed : -options.biasSpeed
            }
        }
    }

    /// Runs `body` as the exported model would: without the bias.
    func withoutBias(_ body: () -> Void) {
        let bias = model.selectionBias
        let kept = bias.values
        bias.base.update(repeating: 0, count: bias.count)
        body()
        bias.base.update(from: kept, count: kept.count)
    }
}
