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
            states += try await workspace.stage("hidden", key: key.part(start)) {
                let decoder =
                    try teacher
                    ?? DenseModel(try GGUFModel(path: workspace.url(of: adapted.file).path), origins: nil)
                    .reader(longest: rows.map(\.tokens.count).max() ?? 1, compute: trainingCompute)
                teacher = decoder
                return Self.directions(part, decoder)
            }
        }
        return states
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
