package import Tensors
internal import Tokenizers

/// Exchanges words that an answer copies from its input for other words, in both: the row then teaches to copy whatever
/// stands there instead of what usually does.
///
/// Which words an answer copies is learnt from the examples: a word counts as copied where the answers that have it
/// nearly always have it from their input.
package struct SlotSubstitution: Sendable {
    /// Words of the answers that come from the input, in at least this share of the answers that have them.
    private static let copied = 0.98
    /// Share of the rows that are changed.
    static let share: Float = 0.5

    private let kind: TaskDefinition.OutputKind
    private let lowercases: Bool
    private let copiedWords: Set<String>
    /// What is put in their place: copied words, and words of the language that the task does not use.
    private let replacements: [String]
    /// What answers must be; nil: any.
    private let check: SchemaCheck?

    /// - Parameters:
    ///   - words: words of the base model's vocabulary.
    /// - Returns: nil where answers copy too little to learn from.
    package init?(
        _ examples: [Example], kind: TaskDefinition.OutputKind, lowercases: Bool, words: [String],
        schema: AnswerSchema? = nil
    ) {
        guard !kind.hasLabels else { return nil }
        check = schema.map { SchemaCheck($0.value) }
        self.kind = kind
        self.lowercases = lowercases
        var answered: [String: Int] = [:]
        var copied: [String: Int] = [:]
        var used: Set<String> = []
        var rows = 0
        for example in examples {
            let input = Set(Self.words(lowercases ? example.input.lowercased() : example.input))
            let output = Set(Self.words(in: example.output, kind: kind))
            used.formUnion(input.map { $0.lowercased() })
            for word in output {
                answered[word, default: 0] += 1
                if input.contains(word) { copied[word, default: 0] += 1 }
            }
            if !output.isDisjoint(with: input) { rows += 1 }
        }
        let words = words.filter { !used.contains($0) }
        copiedWords = Set(
            answered.filter { word, count in
                Self.isExchangeable(word) && Double(copied[word] ?? 0) >= Self.copied * Double(count)
            }.keys)
        replacements = copiedWords.filter { $0.allSatisfy(\.isLetter) }.sorted() + words
        guard copiedWords.count >= 20, rows * 4 >= examples.count else { return nil }
    }

    /// The row with up to two of its copied words exchanged; nil where it has none.
    package func vary(_ example: Example, random: inout RandomNumbers) -> Example? {
        let input = lowercases ? example.input.lowercased() : example.input
        let inputWords = Self.words(input)
        let outputWords = Self.words(in: example.output, kind: kind)
        let candidates = Set(outputWords).filter { word in
            copiedWords.contains(word) && inputWords.count { $0 == word } == 1
        }.sorted()
        guard !candidates.isEmpty else { return nil }
        var exchanged: [String: String] = [:]
        for _ in 0..<(1 + random.below(2)) {
            let word = candidates[random.below(candidates.count)]
            exchanged[word] = replacement(for: word, random: &random)
        }
        let newInput = Self.exchanging(exchanged, in: input)
        let newOutput: String
        if kind.isJSON {
            guard let value = try? JSONParser.parse(example.output.utf8) else { return nil }
            let new = Self.mappingSlots(of: value, kind: kind) { Self.exchanging(exchanged, in: $0) }
            // What is chosen from a list is not to be copied.
            if let check, (try? check.fitted(new)) == nil { return nil }
            newOutput = new.text
        } else {
            newOutput = Self.exchanging(exchanged, in: example.output)
        }
        return Example(input: newInput, output: newOutput)
    }

    /// Digits become other digits, a word another word with the same first case.
    private func replacement(for word: String, random: inout RandomNumbers) -> String {
        if word.contains(where: \.isNumber) {
            return String(word.map { $0.isASCII && $0.isNumber ? Character(String(random.below(10))) : $0 })
        }
        let new = replacements[random.below(replacements.count)]
        guard let first = word.first, first.isUppercase else { return new }
        return word == word.uppercased() && word.count > 1
            ? new.uppercased() : new.prefix(1).uppercased() + new.dropFirst()
    }

    private static func isExchangeable(_ word: String) -> Bool {
        word.contains(where: \.isNumber) ? word.count >= 2 : word.count >= 3 && word.allSatisfy(\.isLetter)
    }

    /// Words are what lies between spaces and marks; letters, digits and what joins numbers belong to them.
    private static func words(_ text: String) -> [String] {
        text.split { !isPart($0) }.map(String.init)
    }

    private static func isPart(_ character: Character) -> Bool { character.isLetter || character.isNumber }

    private static func words(in answer: String, kind: TaskDefinition.OutputKind) -> [String] {
        guard kind.isJSON else { return words(answer) }
        var result: [String] = []
        _ = (try? JSONParser.parse(answer.utf8)).map {
            mappingSlots(of: $0, kind: kind) {
                result += words($0)
                return $0
            }
        }
        return result
    }

    /// The value with the texts replaced that may be copied: a tool's name is chosen.
    private static func mappingSlots(
        of value: JSONValue, kind: TaskDefinition.OutputKind, _ transform: (String) -> String
    ) -> JSONValue {
        guard kind == .tool, case .object(let members) = value else { return value.mappingStrings(transform) }
        return .object(
            members.map { ($0.key, $0.key == "name" ? $0.value : $0.value.mappingStrings(transform)) })
    }

    private static func exchanging(_ words: [String: String], in text: String) -> String {
        var result = ""
        var word = ""
        func close() {
            result += words[word] ?? word
            word = ""
        }
        for character in text {
            if isPart(character) {
                word.append(character)
            } else {
                close()
                result.append(character)
            }
        }
        close()
        return result
    }
}
