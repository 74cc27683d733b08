internal import Foundation
internal import LanguageModels
internal import Tensors

/// Guessing tokens beforehand, so that one pass checks several (Leviathan et al. 2023). Nothing about the answer changes:
/// each token is chosen from the large model's own logits, with the same random numbers, as without guesses.
public struct Speculation: Sendable, Hashable {
    public enum Source: Sendable, Hashable {
        case off
        /// What followed the last time the same few tokens stood in the prompt or the answer (Saxena 2023).
        case promptLookup
        /// A smaller model.
        case draftModel
    }

    public var source: Source
    /// The most tokens to guess at a time.
    public var maximumDraft: Int

    public init(_ source: Source, maximumDraft: Int = 6) {
        self.source = source
        self.maximumDraft = source == .off ? 0 : max(1, min(maximumDraft, 16))
    }

    public static let off = Speculation(.off)

    func drafter(for model: LanguageModel, draft: LanguageModel?, pool: WorkerPool) -> (any Drafter)? {
        switch source {
        case .off: nil
        case .promptLookup: PromptLookup(maximum: maximumDraft)
        case .draftModel: draft.map { ModelDrafter($0, for: model, maximum: maximumDraft, pool: pool) }
        }
    }
}

/// Guesses what a sequence goes on with.
protocol Drafter {
    /// At most `limit` tokens that may follow; none where guessing has not paid lately.
    func draft(_ request: Int, tokens: [Int32], limit: Int) -> [Int32]
    /// How the last guesses of a request went.
    func learn(_ request: Int, drafted: Int, accepted: Int)
    func forget(_ request: Int)
}

/// Decides how many tokens to guess for a request: more while guesses come true, none for a while when they don't.
struct DraftLength {
    private let maximum: Int
    private var length: Int
    private var pause = 0

    init(maximum: Int) {
        self.maximum = maximum
        length = min(3, maximum)
    }

    /// How many to guess now.
    mutating func next() -> Int {
        if pause > 0 {
            pause -= 1
            return 0
        }
        return length
    }

    mutating func learn(drafted: Int, accepted: Int) {
        if accepted == drafted {
            length = min(maximum, length + 2)
        } else if accepted == 0 {
            // One wrong guess costs little; several in a row say that this text can't be guessed.
            if length == 1 { pause = 16 }
            length = max(1, length / 2)
        } else {
            length = max(1, min(maximum, accepted + 1))
        }
    }
}

/// Finds the last place where the same tokens stood before.
final class PromptLookup: Drafter {
    private let maximum: Int
    private var lengths: [Int: DraftLength] = [:]
    /// Tokens that must be the same, longest first.
    private static let patterns = [4, 3, 2]

    init(maximum: Int) { self.maximum = maximum }

    func draft(_ request: Int, tokens: [Int32], limit: Int) -> [Int32] {
        let count = min(lengths[request, default: DraftLength(maximum: maximum)].next(), limit)
        guard count > 0 else { return [] }
        return tokens.withUnsafeBufferPointer { tokens in
            for size in Self.patterns where tokens.count > size {
                let end = tokens.count - size
                var place = end - 1
                // Far back is seldom right and takes time.
                let first = max(0, end - 4096)
                while place >= first {
                    var same = 0
                    while same < size, tokens[place + same] == tokens[end + same] { same += 1 }
                    if same == size {
                        let from = place + size
                        return Array(tokens[from..<min(from + count, tokens.count)])
                    }
                    place -= 1
                }
            }
            return []
        }
    }

    func learn(_ request: Int, drafted: Int, accepted: Int) {
        lengths[request, default: DraftLength(maximum: maximum)].learn(drafted: drafted, accepted: accepted)
    }

    func forget(_ request: Int) { lengths[request] = nil }
}
