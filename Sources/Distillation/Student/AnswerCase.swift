/// The case of the words in a task's answers.
package enum AnswerCase {
    /// Whether the letters of a word tell its case: hardly a word of the answers is written in two ways. Inputs then say
    /// nothing with their case and are brought to lower case, so that a word is the same tokens however it is written.
    package static func followsFromWords(_ answers: [String]) -> Bool {
        var forms: [String: [Substring: Int]] = [:]
        var total = 0
        for word in answers.lazy.flatMap({ $0.split(whereSeparator: \.isWhitespace) }) {
            forms[word.lowercased(), default: [:]][word, default: 0] += 1
            total += 1
        }
        let usual = forms.values.reduce(0) { $0 + ($1.values.max() ?? 0) }
        let lower = forms.reduce(0) { $0 + ($1.value[Substring($1.key)] ?? 0) }
        return usual * 100 >= total * 99 && lower * 2 > total
    }
}
