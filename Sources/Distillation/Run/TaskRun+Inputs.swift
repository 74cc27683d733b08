internal import Foundation
internal import LanguageModels
internal import Tensors

/// Inputs that nobody sent: written by the student's base, or made of others.
extension TaskRun {
    /// Inputs outside the labels, written by the student's base, beside those of the gold.
    func addOutOfScope(_ abstain: String) async throws {
        let key = try writingKey("scope") { $0.add("abstain", abstain) }
        let inputs: [String] = try await stage(
            "scope", "inputs outside the task", key: key, summary: { "\($0.count) written" }
        ) {
            try OutOfScopeWriter(
                model: try writer(),
                abstain: abstain, gold: data.train, pool: pool
            ).write(min(2000, max(200, data.train.count)), seed: UInt64(task.training.seed), progress: advance)
        }
        let held = Set((data.test + data.validation).map { Dataset.normal($0.input) })
        let new = inputs.filter { !held.contains(Dataset.normal($0)) }
        data.train += new.map { Example(input: $0, output: abstain) }
        data.notes.append(
            "\(new.count) of the rows to learn from are inputs outside the task, written by \(task.student.base)")
    }

    /// Inputs like those of the gold, written by the student's base, beside those nobody has answered.
    func writeInputs(_ count: Int) async throws {
        let key = try writingKey("write") { $0.add("count", count) }
        let inputs: [String] = try await stage(
            "write", "inputs like the task's", key: key, summary: { "\($0.count) written" }
        ) {
            try await InputWriter(
                model: try writer(),
                kind: task.kind, gold: data.train, pool: pool
            ).write(count, seed: UInt64(task.training.seed), progress: advance) { first, write in
                try await workspace.stage("written", key: key.part(first)) { try write() }
            }
        }
        try workspace.forget("written")
        let known = Set((data.test + data.validation).map(\.input).map(Dataset.normal)).union(
            data.inputs.map(Dataset.normal))
        let new = inputs.filter { !known.contains(Dataset.normal($0)) }
        data.inputs += new
        data.notes.append("\(new.count) inputs for the teacher to answer were written by \(task.student.base)")
    }

    private func writingKey(_ stage: String, _ add: (inout ContentKey.Builder) -> Void) throws -> ContentKey {
        try key(stage) {
            $0.add("model", try modelKey(task.student.base))
            $0.add("train", data.trainKey)
            $0.add("seed", task.training.seed)
            add(&$0)
        }
    }

    /// The student's base, to write with.
    private func writer() throws -> LanguageModel {
        try LanguageModel(
            contentsOf: try resolve(task.student.base), contextLength: 1024, pool: pool, cache: ModelStore.packedCache)
    }

    /// Inputs made of parts and words of those there are.
    func varyInputs(_ count: Int) {
        guard count > 0 else { return }
        data.variants = InputVariation(
            data.train.map(\.input) + data.inputsWithoutNoise, without: (data.test + data.validation).map(\.input)
        ).write(count, seed: UInt64(task.training.seed))
        say("\(data.variants.count) more inputs the teacher answers are made of parts and words of others")
    }
}
