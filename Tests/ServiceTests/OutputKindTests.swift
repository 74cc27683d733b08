import Distillation
import Foundation
import Service
import TestSupport
import Testing

/// Teachers behind an endpoint that answer with sets of labels and under schemas.
@Suite(.serialized) struct EndpointOutputKindTests {
    /// The answers that can be learnt from, of those to three inputs, and what was said.
    private func label(
        _ output: String, gold: String, answers: [String], chatty: Double = 0, schema: String? = nil
    ) async throws -> (labels: Int, notes: [String]) {
        let folder = try TemporaryFolder()
        if let schema { try folder.write(schema, "schema.json") }
        try folder.write(
            (0..<4).map { "{\"input\":\"gold \($0)\",\"output\":\(gold)}" }.joined(separator: "\n"), "gold.jsonl")
        try folder.write("{\"input\":\"test\",\"output\":\(gold)}", "test.jsonl")
        let inputs = answers.indices.map { "open question \($0)" }
        try folder.write(inputs.map { "{\"input\":\"\($0)\"}" }.joined(separator: "\n"), "inputs.jsonl")
        return try await withSimulator {
            $0.script.answers = Dictionary(uniqueKeysWithValues: zip(inputs, answers))
            $0.script.chatty = chatty
        } _: { _, url in
            try folder.write(
                """
                name: t
                output: \(output)
                data: {inputs: inputs.jsonl, gold: {train: gold.jsonl, test: test.jsonl}}
                teacher: {endpoint: {url: '\(url.absoluteString)', model: simulated}}
                """, "task.yaml")
            let notes = Notes()
            let outcome = try await TaskRun(folder: folder.url, observer: notes).label()
            return (outcome.answers, notes.all)
        }
    }

    @Test func setsOfLabels() async throws {
        let asked = try await label(
            "{kind: labels, labels: [a1, b2]}", gold: #"["a1"]"#, answers: [#"["b2","a1"]"#, "[]", #"["c3"]"#])
        #expect(asked.labels == 2)
        #expect(asked.notes.contains { $0.hasPrefix("1 answers of the teacher could not be read") })
        let chatty = try await label(
            "{kind: labels, labels: [a1, b2]}", gold: #"["a1"]"#, answers: [#"["b2","a1"]"#, #"["a1"]"#], chatty: 1)
        #expect(chatty.labels == 2)
    }

    @Test func callsUnderASchema() async throws {
        let asked = try await label(
            "{kind: tool, schema: schema.json}", gold: #"{"name":"f","arguments":{}}"#,
            answers: [
                #"{"name":"f","arguments":{}}"#, #"{"name":"g","arguments":{}}"#,
                #"{"function":{"name":"f","arguments":"{}"}}"#,
            ], schema: #"[{"function":{"name":"f"}}]"#)
        #expect(asked.labels == 2)
    }
}
