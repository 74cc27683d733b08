internal import Foundation
internal import Inference
package import LanguageModels
package import Tensors
internal import Tokenizers

/// Writes more inputs like a task's own, for a teacher to answer: a language model goes on with lists of them
/// (self-instruct, Wang et al., arXiv 2212.10560). What a student is taught on is then more than the few inputs the
/// teacher was fitted to, on which its answers are surer than anywhere else.
package struct InputWriter {
    private let engine: BatchEngine
    private let gold: [Example]
    /// Inputs a list is made of: those of one label, or all.
    private let lists: [(heading: String, inputs: [String])]
    private let longest: Int

    /// Lines of a list before the one that is written.
    private static let shown = 6
    /// Lines there must be room for.
    private static let fewest = 2
    private static let batch = 256

    /// - Parameters:
    ///   - model: any language model; it need not follow instructions.
    ///   - gold: inputs of several lines, and such as hardly fit the model's context, are not shown, and so none are written.
    package init(model: LanguageModel, kind: TaskDefinition.OutputKind, gold: [Example], pool: WorkerPool) {
        engine = BatchEngine(
            model: model, configuration: .init(maximumSequences: 32, maximumBatchTokens: 512), pool: pool)
        self.gold = gold
        // A list shows some lines, and leaves room for one more.
        let most = model.configuration.contextLength / (Self.fewest + 1)
        let plain = gold.filter {
            !$0.input.contains("\n") && ($0.input.utf8.count <= most || model.tokenizer.encode($0.input).count <= most)
        }
        if kind == .label {
            lists = Dictionary(grouping: plain, by: \.output).filter { $0.value.count > 1 }.sorted { $0.key < $1.key }
                .map { (Self.heading($0.key), $0.value.map(\.input)) }
        } else {
            lists = plain.count > 1 ? [("Messages:\n", plain.map(\.input))] : []
        }
        longest = plain.map { $0.input.split(whereSeparator: \.isWhitespace).count }.max() ?? 0
    }

    /// What stands above the inputs of a label.
    package static func heading(_ label: String) -> String {
        "Messages about \(label.split { "_-".contains($0) }.joined(separator: " ")):\n"
    }

    /// At most `count` inputs, none of them in the gold or twice, none with more words than the gold has, of every label
    /// about as many.
    ///
    /// - Parameters:
    ///   - progress: called with the share that is done.
    ///   - keep: runs a batch, or gives what it gave the last time: its lines, empty where one did not end. Batches are
    ///     numbered by their first line.
    /// - Throws: `InferenceError`; what `progress` and `keep` throw.
    package func write(
        _ count: Int, seed: UInt64, progress: @escaping (Double) throws -> Void,
        keep: (_ first: Int, _ write: () throws -> [String]) async throws -> [String] = { try $1() }
    ) async throws -> [String] {
        guard !lists.isEmpty else { return [] }
        var random = RandomNumbers(seed: seed)
        var known = Set(gold.map { Dataset.normal($0.input) })
        var result: [String] = []
        var asked = 0
        // Where most of what is written is known, more of it will be, too.
        while result.count < count, asked < 3 * count {
            let requests = (asked..<asked + Self.batch).map { number in
                let list = lists[number % lists.count]
                return Self.request(
                    list.heading, list.inputs.shuffled(using: &random).prefix(Self.shown),
                    maximumTokens: min(256, 2 * longest + 16), temperature: 1, seed: seed &+ UInt64(number),
                    model: engine.model)
            }
            let already = Double(result.count)
            // As many of these will be new as were of those before.
            let kept = asked == 0 ? 1 : already / Double(asked)
            let lines = try await keep(asked) {
                try engine.answer(requests) { done in
                    try progress(min(1, (already + kept * Double(done)) / Double(count)))
                }.map { $0.finish == .stop ? $0.text : "" }
            }
            asked += Self.batch
            for line in lines where result.count < count {
                let text = line.trimmingCharacters(in: .whitespacesAndNewlines)
                guard !text.isEmpty, text.split(whereSeparator: \.isWhitespace).count <= longest,
                    known.insert(Dataset.normal(text)).inserted
                else { continue }
                result.append(text)
            }
        }
        return result
    }

    /// One more line of a list, which is cut to what fits the model's context.
    static func request(
        _ heading: String, _ lines: some Sequence<String>, maximumTokens: Int, temperature: Float, seed: UInt64,
        model: LanguageModel
    ) -> GenerationRequest {
        var lines = lines.map { "- \($0)\n" }
        var prompt: [Int32]
        repeat {
            prompt = model.tokenizer.encode(heading + lines.joined() + "-")
        } while prompt.count + maximumTokens >= model.configuration.contextLength && lines.popLast() != nil
        return GenerationRequest(
            prompt: prompt, maximumTokens: maximumTokens, stopStrings: ["\n"],
            sampling: SamplingOptions(temperature: temperature, topP: 0.95, seed: seed), writesText: true)
    }
}
