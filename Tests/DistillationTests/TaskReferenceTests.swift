import Distillation
import Foundation
import Testing

/// `Documentation/task.md` against what is read.
@Suite struct TaskReferenceTests {
    /// A key nobody knows, in every section there is.
    @Test(arguments: [
        "nothing: 1", "output: {nothing: 1}", "data: {nothing: 1}", "data: {gold: {nothing: 1}}",
        "teacher: {nothing: 1}", "teacher: {adapt: {nothing: 1}}", "teacher: {endpoint: {nothing: 1}}",
        "teacher: {budget: {nothing: 1}}", "teacher: {confidence: {nothing: 1}}", "label: {nothing: 1}",
        "synthesis: {nothing: 1}", "student: {nothing: 1}", "student: {experts: {nothing: 1}}",
        "training: {nothing: 1}", "training: {loss: {nothing: 1}}", "training: {on_policy: {nothing: 1}}",
        "training: {preference: {nothing: 1}}", "quality: {nothing: 1}", "economics: {nothing: 1}",
        "economics: {teacher: {nothing: 1}}",
    ])
    func everyKeyIsInTheReference(_ section: String) throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appendingPathComponent("Documentation/task.md"), encoding: .utf8)
        let kind = section.contains("training") ? "text" : "label"
        let yaml = "name: x\n" + (section.hasPrefix("output") ? "" : "output: {kind: \(kind)}\n") + section + "\n"
        let error = #expect(throws: TaskError.self) {
            try TaskDefinition(yaml: yaml, file: "task.yaml", folder: root)
        }
        let message = try #require(error?.message)
        let known = try #require(message.components(separatedBy: "(known: ").dropFirst().first, "\(message)")
        for key in known.dropLast().components(separatedBy: ", ") {
            let isNamed = ["`\(key)`", ".\(key)`", "`\(key).", "`\(key): ", "## \(key)", "and \(key)"].contains {
                text.contains($0)
            }
            #expect(isNamed, "\(section): \(key)")
        }
    }
}
