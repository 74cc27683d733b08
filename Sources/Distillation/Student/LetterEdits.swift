/// How a word was written otherwise than it should be: letters left out, exchanged, replaced or added, each at its place.
/// Made in another word at the same share of its length.
package struct LetterEdits: Sendable {
    private enum Edit {
        case dropped(Character)
        case replaced(Character, by: Character)
        case added(Character)
        case doubled
        /// With the letter after it.
        case exchanged
    }

    /// Letters of the shortest words that have edits.
    package static let shortest = 4

    private var edits: [(place: Int, edit: Edit)] = []
    private let length: Int

    /// The fewest edits that make `written` of `word` (optimal string alignment); nil where nothing differs, or where most
    /// letters do.
    package init?(from word: String, to written: String) {
        let a = Array(word)
        let b = Array(written)
        guard a.count >= Self.shortest, !b.isEmpty, a.count <= 40, b.count <= 40 else { return nil }
        length = a.count
        var cost = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in 0...a.count { cost[i][0] = i }
        for j in 0...b.count { cost[0][j] = j }
        for i in 1...a.count {
            for j in 1...b.count {
                var best = min(cost[i - 1][j], cost[i][j - 1]) + 1
                best = min(best, cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
                if Self.areExchanged(a, b, i, j) { best = min(best, cost[i - 2][j - 2] + 1) }
                cost[i][j] = best
            }
        }
        let total = cost[a.count][b.count]
        // Letters that were left out are an abbreviation; as many of other kinds are another word.
        guard total > 0, total - max(0, a.count - b.count) <= max(1, a.count / 4), b.count * 3 >= a.count else {
            return nil
        }
        var (i, j) = (a.count, b.count)
        while i > 0 || j > 0 {
            if i > 0, j > 0, cost[i][j] == cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1) {
                if a[i - 1] != b[j - 1] { edits.append((i - 1, .replaced(a[i - 1], by: b[j - 1]))) }
                (i, j) = (i - 1, j - 1)
            } else if i > 1, j > 1, Self.areExchanged(a, b, i, j), cost[i][j] == cost[i - 2][j - 2] + 1 {
                edits.append((i - 2, .exchanged))
                (i, j) = (i - 2, j - 2)
            } else if i > 0, cost[i][j] == cost[i - 1][j] + 1 {
                edits.append((i - 1, .dropped(a[i - 1])))
                i -= 1
            } else {
                let place = max(0, i - 1)
                edits.append((place, a[place] == b[j - 1] ? .doubled : .added(b[j - 1])))
                j -= 1
            }
        }
    }

    private static func areExchanged(_ a: [Character], _ b: [Character], _ i: Int, _ j: Int) -> Bool {
        i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && a[i - 1] != a[i - 2]
    }

    /// Another word, written wrong in the same way; nil where that changes nothing.
    package func made(in word: String) -> String? {
        let letters = Array(word)
        guard letters.count >= Self.shortest else { return nil }
        var written = letters.map { String($0) }
        for (place, edit) in edits {
            let near = (place * (letters.count - 1) + (length - 1) / 2) / (length - 1)
            switch edit {
            case .dropped(let letter): written[Self.place(of: letter, in: letters, near: near) ?? near] = ""
            case .replaced(let letter, let new):
                if let place = Self.place(of: letter, in: letters, near: near) { written[place] = String(new) }
            case .added(let letter): written[near] += String(letter)
            case .doubled: written[near] += written[near]
            case .exchanged: if near + 1 < letters.count { written.swapAt(near, near + 1) }
            }
        }
        let result = written.joined()
        return result.isEmpty || result == word ? nil : result
    }

    /// Where a word has a letter, not far from a place.
    private static func place(of letter: Character, in letters: [Character], near: Int) -> Int? {
        [0, 1, -1, 2, -2].lazy.map { near + $0 }.first { letters.indices.contains($0) && letters[$0] == letter }
    }
}
