internal import Foundation

/// A sparse vector: increasing places and their values.
struct SparseVector: Sendable {
    var places: [Int32] = []
    var values: [Float] = []
}

/// TF-IDF weights of a text's terms, of length one (sublinear counts, smoothed document frequency).
struct TermWeights: Sendable {
    /// What counts as a term.
    enum Terms: Sendable {
        /// Words and pairs of words.
        case words
        /// Two to five characters within a word and the spaces around it.
        case characters
    }

    private let kind: Terms
    private var places: [String: Int32] = [:]
    private var weights: [Float] = []

    var count: Int { weights.count }

    init(_ texts: [String], terms kind: Terms = .words) {
        self.kind = kind
        var documents: [String: Int] = [:]
        for text in texts {
            for term in Set(terms(text)) { documents[term, default: 0] += 1 }
        }
        for term in documents.keys.sorted() {
            places[term] = Int32(weights.count)
            weights.append(Float(log(Double(1 + texts.count) / Double(1 + documents[term]!)) + 1))
        }
    }

    func vector(_ text: String) -> SparseVector {
        var counts: [Int32: Int] = [:]
        for term in terms(text) {
            if let place = places[term] { counts[place, default: 0] += 1 }
        }
        var result = SparseVector()
        for place in counts.keys.sorted() {
            result.places.append(place)
            result.values.append(Float(1 + log(Double(counts[place]!))) * weights[Int(place)])
        }
        let length = result.values.reduce(0) { $0 + $1 * $1 }.squareRoot()
        if length > 0 { result.values = result.values.map { $0 / length } }
        return result
    }

    static func words(_ text: String) -> [String] {
        text.lowercased().split { !$0.isLetter && !$0.isNumber && $0 != "'" }.map(String.init)
    }

    private func terms(_ text: String) -> [String] {
        switch kind {
        case .words:
            let words = Self.words(text)
            return words + zip(words, words.dropFirst()).map { $0 + " " + $1 }
        case .characters:
            return text.lowercased().split(whereSeparator: \.isWhitespace).flatMap { word in
                let padded = Array(" \(word) ")
                return (2...5).flatMap { length in
                    (0..<max(0, padded.count - length + 1)).map { String(padded[$0..<$0 + length]) }
                }
            }
        }
    }
}
