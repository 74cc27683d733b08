internal import Foundation
internal import Inference
internal import LanguageModels
internal import Tensors
internal import Tokenizers

/// Writes inputs that lie outside a task's labels, so that a student has seen more of what it must not answer than the
/// few examples a task can name: a language model goes on with a list of such inputs (self-instruct, Wang et al., arXiv
/// 2212.10560).
struct OutOfScopeWriter {
    private let engine: BatchEngine
    private let abstain: String
    private let gold: [Example]

    /// Everyday requests of many kinds, which keep the lists from dwelling on what the gold names.
    static let everyday = [
        "what's a good recipe for lentil soup", "who won the match last night", "set an alarm for half past six",
        "how tall is mount kilimanjaro", "play something by nina simone", "what is the square root of 1764",
        "remind me to call my sister on friday", "how do you say good evening in polish",
        "why is the sky dark at night", "add oat milk to the shopping list", "what are the symptoms of a cold",
        "tell me a story about a fox", "how many days until christmas", "is my credit card still locked",
        "book a table for four tomorrow", "what year did the berlin wall fall", "turn off the lights in the kitchen",
        "how do i get red wine out of a shirt", "explain how vaccines work", "what should i wear to an interview",
        "how much protein is in an egg", "find me a cheap flight to lisbon", "can dogs eat grapes",
        "which phone has the best camera", "write a poem about the sea", "how do i reset my password",
        "what does serendipity mean", "my back hurts when i sit", "who is the prime minister of canada",
        "can i return these shoes without the receipt", "do you have any hobbies", "what is the meaning of life",
    ]
    /// Lines of a list before the one that is written.
    private static let shown = 6
    private static let batch = 64

    /// - Parameter model: any language model; it need not follow instructions.
    init(model: LanguageModel, abstain: String, gold: [Example], pool: WorkerPool) {
        engine = BatchEngine(model: model, configuration: .init(maximumSequences: 16), pool: pool)
        self.abstain = abstain
        self.gold = gold
    }

    /// At most `count` inputs, none of them in the gold. What a linear model of the gold takes for one of its labels is
    /// left out.
    ///
    /// - Throws: `InferenceError`.
    func write(_ count: Int, seed: UInt64, progress: (Double) -> Void) throws -> [String] {
        var random = RandomNumbers(seed: seed)
        let outside = gold.filter { $0.output == abstain }.map(\.input).filter { !$0.contains("\n") }
        let judge = LinearClassifier(gold, seed: seed)
        let labels = Set(gold.map(\.output)).subtracting([abstain]).sorted()
        var known = Set(gold.map { Dataset.normal($0.input) })
        var result: [String] = []
        var asked = 0
        // Where most of what is written is known or in scope, more of it will be, too.
        while result.count < count, asked < 4 * count {
            let requests = (0..<Self.batch).map { place in
                request(outside, seed: seed &+ UInt64(asked + place), random: &random)
            }
            asked += Self.batch
            for answer in try engine.answer(requests) where result.count < count {
                let text = answer.text.trimmingCharacters(in: .whitespacesAndNewlines)
                let words = text.split(whereSeparator: \.isWhitespace).count
                guard answer.finish == .stop, (2...40).contains(words),
                    judge.margins(text, labels: labels).allSatisfy({ $0 < 0 }),
                    known.insert(Dataset.normal(text)).inserted
                else { continue }
                result.append(text)
            }
            progress(Double(result.count) / Double(count))
        }
        return result
    }

    private func request(_ outside: [String], seed: UInt64, random: inout RandomNumbers) -> GenerationRequest {
        var lines: [String] = []
        for place in 0..<Self.shown {
            let isOwn = !outside.isEmpty && place % 3 != 2
            let source = isOwn ? outside : Self.everyday
            lines.append(source[Int(random.below(source.count))])
        }
        return InputWriter.request(
            "Things people asked:\n", lines, maximumTokens: 48, temperature: 1, seed: seed,
            model: engine.model)
    }
}
