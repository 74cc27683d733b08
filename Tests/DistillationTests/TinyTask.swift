import Foundation
import TestSupport

/// A task of two labels on a tiny model.
enum TinyTask {
    /// - Parameters:
    ///   - student: keys of `student` beside the base.
    ///   - training: what stands after `training:`.
    ///   - layers: of the base.
    static func folder(student: String, training: String, layers: Int = 2) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        let base = folder.url.appendingPathComponent("tiny.gguf").path
        try TinyModel.write(to: base, layers: layers)
        let rows = ["red", "blue", "tall", "small", "old", "new", "warm", "cold"].flatMap { word in
            ["box", "cup", "car", "hat", "pen"].map {
                "{\"input\":\"\(word) \($0)\",\"output\":\"\(word == "red" ? "hot" : "other")\"}"
            }
        }
        try folder.write(rows.prefix(32).joined(separator: "\n"), "gold.jsonl")
        try folder.write(rows.dropFirst(32).joined(separator: "\n"), "test.jsonl")
        try folder.write(
            """
            name: tiny
            output: {kind: label}
            data: {gold: {train: gold.jsonl, test: test.jsonl}}
            student: {base: \(base), \(student)}
            training: \(training)
            """, "task.yaml")
        return folder
    }
}
