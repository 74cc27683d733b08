internal import Foundation
internal import LanguageModels
internal import Training

/// An adapted teacher's last hidden states at everything that is learnt.
extension TaskRun {
    /// Rows whose states are kept at a time: what a kill costs.
    private static let keptTogether = 1024
    /// Tokens the teacher reads at a time, but for a row that is longer.
    private static let readTogether = 2048

    /// The states' directions at every target of `material`, one behind the other.
    ///
    /// - Throws: `ModelError`, ``WorkspaceError``.
    func hiddenStates(of adapted: Adapted, to material: TrainingData, key: ContentKey) async throws -> Data {
        let rows = material.rows
        var teacher: TrainableDecoder?
        var states = Data()
        for start in stride(from: 0, to: rows.count, by: Self.keptTogether) {
            observer.stageAdvanced(
                0, detail: "the teacher has read \(start) of \(rows.count) rows for its hidden states")
            let part = Array(rows[start..<min(start + Self.keptTogether, rows.count)])
            states += try await workspace.stage("hidden", key: hiddenKey(key, start)) {
                let decoder = try teacher ?? self.reader(adapted, longest: rows.map(\.tokens.count).max() ?? 1)
                teacher = decoder
                return Self.directions(part, decoder)
            }
        }
        return states
    }

    /// Removes what only an unfinished stage needs.
    func forgetHiddenStates() throws { try workspace.forget("hidden") }

    private func hiddenKey(_ key: ContentKey, _ start: Int) -> ContentKey {
        ContentKey.of {
            $0.add("train", key)
            $0.add("start", start)
        }
    }

    private func reader(_ adapted: Adapted, longest: Int) throws -> TrainableDecoder {
        let source = try GGUFModel(path: workspace.url(of: adapted.file).path)
        let dense = try DenseModel(source, layers: Array(0..<source.configuration.layerCount), origins: nil)
        return TrainableDecoder(
            dense.configuration, parameters: try dense.parameters(adapterRank: nil, trains: false, seed: 0),
            contextLength: longest, compute: compute)
    }

    private static func directions(_ rows: [TrainingSequence], _ decoder: TrainableDecoder) -> Data {
        var result = Data()
        var first = 0
        while first < rows.count {
            var end = first
            var tokens = 0
            repeat {
                tokens += rows[end].tokens.count
                end += 1
            } while end < rows.count && tokens + rows[end].tokens.count <= readTogether
            for direction in decoder.hiddenDirections(TrainingBatch(rows[first..<end])) {
                result.append(contentsOf: direction.map { UInt8(bitPattern: $0) })
            }
            first = end
        }
        return result
    }
}
