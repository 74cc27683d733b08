import Distillation
import Foundation
import Testing

private let folder = URL(filePath: #filePath).appending(path: "../../../../shared/data").standardizedFileURL.path

/// The cheap rivals against what is known of them, on real data beside the repository; skipped where it is not there.
@Suite(.enabled(if: FileManager.default.fileExists(atPath: folder)))
struct KnownBaselineTests {
    private func rows(_ name: String) throws -> [Example] {
        struct Row: Decodable { var input, output: String }
        let text = try String(contentsOfFile: folder + "/" + name, encoding: .utf8)
        return try text.split(separator: "\n").map {
            let row = try JSONDecoder().decode(Row.self, from: Data($0.utf8))
            return Example(input: row.input, output: row.output)
        }
    }

    private func share(_ baseline: any Baseline, _ test: [Example]) -> Double {
        Double(test.count { baseline.answer($0.input) == $0.output }) / Double(test.count)
    }

    /// scikit-learn's LinearSVC on the same terms: 0.912.
    @Test func linearClassifier() throws {
        let baseline = LinearClassifier(try rows("banking77/train.jsonl"), seed: 1)
        let accuracy = share(baseline, try rows("banking77/test.jsonl"))
        print("banking77, \(baseline.name): \(accuracy)")
        #expect(accuracy > 0.905)
    }

    /// A word-by-word dictionary is known to reach 0.786.
    @Test func wordDictionary() throws {
        let baseline = WordDictionary(try rows("maintnorm/train.jsonl"))
        let exact = share(baseline, try rows("maintnorm/test.jsonl"))
        print("maintnorm, \(baseline.name): \(exact)")
        #expect(exact > 0.78)
    }
}
