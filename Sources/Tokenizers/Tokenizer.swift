internal import Foundation
internal import Synchronization

/// Turns text into token numbers and back. Immutable: may be used from any thread.
public final class Tokenizer: Sendable {
    public let definition: TokenizerDefinition
    private let pairs: PairTable
    /// The token of each single byte; -1 where there is none.
    private let byteTokens: [Int32]
    /// In vocabularies over characters, the token of each ASCII character; -1 where there is none.
    private let asciiTokens: [Int32]
    private let scanStyle: PieceScanner.Style
    private let numbers: TokenNumbers
    /// Bytes that a token found as a whole may begin with: any such token, and those that are not special.
    private let wholeStarts: [Bool]
    private let addedStarts: [Bool]
    private let hasAdded: Bool
    /// What was cut before; whoever finds it taken does without.
    private let cache = Mutex<CacheBox?>(nil)

    private struct CacheBox: @unchecked Sendable { let value: PieceCache }
    /// Tokens that are found as a whole, by their first byte, longest first.
    private let wholeTokens: [[WholeToken]]

    private struct WholeToken: Sendable {
        var bytes: [UInt8]
        var id: Int32
        var isSpecial: Bool
    }

    public init(_ definition: TokenizerDefinition) throws {
        self.definition = definition
        pairs = PairTable(definition.merges, ranks: definition.ranks)
        let isOverCharacters = definition.characters != nil
        var byteTokens = [Int32](repeating: -1, count: 256)
        var asciiTokens = [Int32](repeating: -1, count: 128)
        var hasInnerSpaces = false
        var whole = [[WholeToken]](repeating: [], count: 256)
        for (index, token) in definition.tokens.enumerated() {
            let id = Int32(index)
            if token.bytes.count == 1, token.kind == .byte || token.kind != .special && !isOverCharacters,
                byteTokens[Int(token.bytes[0])] < 0
            {
                byteTokens[Int(token.bytes[0])] = id
            }
            if isOverCharacters, token.kind == .normal {
                if token.bytes.count == 1, token.bytes[0] < 128, asciiTokens[Int(token.bytes[0])] < 0 {
                    asciiTokens[Int(token.bytes[0])] = id
                }
                hasInnerSpaces =
                    hasInnerSpaces || zip(token.bytes, token.bytes.dropFirst()).contains { $0 != 0x20 && $1 == 0x20 }
            }
            if token.kind == .added || token.kind == .special, let first = token.bytes.first {
                whole[Int(first)].append(WholeToken(bytes: token.bytes, id: id, isSpecial: token.kind == .special))
            }
        }
        self.byteTokens = byteTokens
        self.asciiTokens = asciiTokens
        // With scores, equal ones are merged from left to right, which words don't change either.
        scanStyle =
            definition.preTokenizer == .whole && !hasInnerSpaces && !definition.ignoresMerges
            ? .words : .pattern(definition.preTokenizer)
        numbers = TokenNumbers(
            definition.tokens, where: { $0.kind != .byte }, replaces: { $0.kind == .normal && !isOverCharacters })
        wholeStarts = whole.map { !$0.isEmpty }
        addedStarts = whole.map { $0.contains { !$0.isSpecial } }
        hasAdded = addedStarts.contains(true)
        wholeTokens = whole.map { $0.sorted { ($0.bytes.count, $1.id) > ($1.bytes.count, $0.id) } }
    }

    public var vocabularySize: Int { definition.tokens.count }

    /// The tokens of a text. A special token's name in the text is text like any other.
    ///
    /// Some vocabularies over characters put a space in front of a text; decoding leaves it there.
    public func encode(_ text: String) -> [Int32] {
        encode(text, specials: false, prefix: definition.characters?.prefix ?? .never)
    }

    /// The tokens of a text that goes on where another ended: nothing is put in front of it.
    public func encodeContinuation(_ text: String) -> [Int32] {
        encode(text, specials: false, prefix: .never)
    }

    /// The tokens of a text in which the names of special tokens mean those tokens: for prompts the program wrote
    /// itself, never for a stranger's text.
    public func encodeParsingSpecials(_ text: String) -> [Int32] {
        encode(text, specials: true, prefix: definition.characters?.prefix ?? .never)
    }

    /// The text of some tokens. Bytes that are not UTF-8 become U+FFFD.
    public func decode(_ ids: some Sequence<Int32>, skippingSpecials: Bool = false) -> String {
        var bytes: [UInt8] = []
        for id in ids where definition.tokens.indices.contains(Int(id)) {
            let token = definition.tokens[Int(id)]
            if token.kind != .special || !skippingSpecials { bytes += token.bytes }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A token's bytes; none for a number outside of the vocabulary.
    public func bytes(of id: Int32) -> [UInt8] {
        definition.tokens.indices.contains(Int(id)) ? definition.tokens[Int(id)].bytes : []
    }

    /// The number of the token that is exactly this text.
    public func id(of token: String) -> Int32? {
        numbers[Array(token.utf8)]
    }

    /// The token of a single byte; nil where the vocabulary has none: such bytes are lost.
    public func id(ofByte byte: UInt8) -> Int32? {
        byteTokens[Int(byte)] < 0 ? nil : byteTokens[Int(byte)]
    }

    private func encode(
        _ text: String, specials: Bool, prefix: TokenizerDefinition.CharacterCoding.SpacePrefix
    ) -> [Int32] {
        var merger = Merger()
        return encode(text, specials: specials, prefix: prefix, merger: &merger)
    }

    func encode(
        _ text: String, specials: Bool, prefix: TokenizerDefinition.CharacterCoding.SpacePrefix, merger: inout Merger
    ) -> [Int32] {
        var text = definition.composesText ? text.precomposedStringWithCanonicalMapping : text
        var ids: [Int32] = []
        text.withUTF8 { bytes in
            ids.reserveCapacity(bytes.count / 3)
            let starts = specials ? wholeStarts : addedStarts
            var start = 0
            var index = specials || hasAdded ? 0 : bytes.count
            while index < bytes.count {
                if !starts[Int(bytes[index])] {
                    index += 1
                    continue
                }
                guard let found = wholeToken(in: bytes, at: index, specials: specials) else {
                    index += 1
                    continue
                }
                encodePart(
                    UnsafeBufferPointer(rebasing: bytes[start..<index]), isFirst: start == 0, prefix: prefix,
                    merger: &merger, into: &ids)
                ids.append(found.id)
                index += found.bytes.count
                start = index
            }
            encodePart(
                UnsafeBufferPointer(rebasing: bytes[start...]), isFirst: start == 0, prefix: prefix, merger: &merger,
                into: &ids)
        }
        return ids
    }

    /// Encodes what stands between tokens that are found as a whole.
    private func encodePart(
        _ bytes: UnsafeBufferPointer<UInt8>, isFirst: Bool, prefix: TokenizerDefinition.CharacterCoding.SpacePrefix,
        merger: inout Merger, into ids: inout [Int32]
    ) {
        guard definition.characters != nil, !bytes.isEmpty else {
            return encodePieces(of: bytes, merger: &merger, into: &ids)
        }
        let isSpaced = bytes[0] == 0x20 || bytes.starts(with: Self.spaceMark)
        let addsSpace =
            switch prefix {
            case .never: false
            case .always: true
            case .unlessSpaced: !isSpaced
            case .firstUnlessSpaced: isFirst && !isSpaced
            }
        // The mark is a space to these vocabularies, wherever it comes from.
        let hasMarks = bytes.indices.contains { bytes[$0] == 0xe2 && bytes[$0...].starts(with: Self.spaceMark) }
        guard addsSpace || hasMarks else { return encodePieces(of: bytes, merger: &merger, into: &ids) }
        var own: [UInt8] = addsSpace ? [0x20] : []
        own.reserveCapacity(bytes.count + 1)
        var index = 0
        while index < bytes.count {
            if hasMarks, bytes[index] == 0xe2, bytes[index...].starts(with: Self.spaceMark) {
                own.append(0x20)
                index += 3
            } else {
                own.append(bytes[index])
                index += 1
            }
        }
        own.withUnsafeBufferPointer { encodePieces(of: $0, merger: &merger, into: &ids) }
    }

    /// `▁`
    private static let spaceMark: [UInt8] = [0xe2, 0x96, 0x81]

    /// Begins merging with the tokens of single bytes, or of single characters.
    private func startMerging(_ piece: Slice<UnsafeBufferPointer<UInt8>>, _ merger: inout Merger) {
        guard let characters = definition.characters else {
            return merger.start(piece, byteTokens: byteTokens)
        }
        merger.start()
        var index = piece.startIndex
        while index < piece.endIndex {
            let first = piece[index]
            let length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
            let character = piece[index..<min(index + length, piece.endIndex)]
            index += length
            if first < 0x80 {
                if asciiTokens[Int(first)] >= 0 {
                    merger.append(asciiTokens[Int(first)])
                    continue
                }
            } else if let id = numbers[UnsafeBufferPointer(rebasing: character)],
                definition.tokens[Int(id)].kind != .special
            {
                merger.append(id)
                continue
            }
            if character.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
                for byte in character { merger.append(byteTokens[Int(byte)]) }
            } else if let unknown = characters.unknownToken, !(characters.fusesUnknown && merger.last == unknown) {
                merger.append(unknown)
            }
        }
    }

    @inline(__always)
    private func wholeToken(in bytes: UnsafeBufferPointer<UInt8>, at index: Int, specials: Bool) -> WholeToken? {
        for token in wholeTokens[Int(bytes[index])] where specials || !token.isSpecial {
            if bytes.count - index >= token.bytes.count,
                token.bytes.withUnsafeBytes({ memcmp($0.baseAddress!, bytes.baseAddress! + index, $0.count) == 0 })
            {
                return token
            }
        }
        return nil
    }

    private func encodePieces(of bytes: UnsafeBufferPointer<UInt8>, merger: inout Merger, into ids: inout [Int32]) {
        guard !bytes.isEmpty else { return }
        let box =
            merger.dropout != nil
            ? nil
            : cache.withLock { cache in
                // A short text is cut before a new cache would be cleared.
                if cache == nil, bytes.count >= 4096 { cache = CacheBox(value: PieceCache()) }
                return cache.take()
            }
        let known = box?.value
        let scanner = PieceScanner(bytes, style: scanStyle)
        let text = bytes.baseAddress!
        var start = 0
        while start < bytes.count {
            let end = scanner.end(from: start)
            if let known, end - start <= PieceCache.longestPiece {
                let key = PieceCache.Key(text + start, length: end - start, room: bytes.count - start)
                if !known.append(key, to: &ids) {
                    let before = ids.count
                    encodePiece(bytes[start..<end], merger: &merger, into: &ids)
                    known.store(key, ids[before...])
                }
            } else {
                encodePiece(bytes[start..<end], merger: &merger, into: &ids)
            }
            start = end
        }
        if let box { cache.withLock { $0 = box } }
    }

    private func encodePiece(
        _ piece: Slice<UnsafeBufferPointer<UInt8>>, merger: inout Merger, into ids: inout [Int32]
    ) {
        if definition.ignoresMerges, merger.dropout == nil, let id = numbers[UnsafeBufferPointer(rebasing: piece)] {
            ids.append(id)
        } else {
            startMerging(piece, &merger)
            merger.merge(pairs)
            merger.appendResult(to: &ids)
        }
    }

    /// Calls `visit` with the tokens of each piece of a text.
    func visitPieces(of text: String, _ visit: ([Int32]) -> Void) {
        var text = definition.composesText ? text.precomposedStringWithCanonicalMapping : text
        text.withUTF8 { bytes in
            let scanner = PieceScanner(bytes, style: scanStyle)
            var merger = Merger()
            var start = 0
            while start < bytes.count {
                let end = scanner.end(from: start)
                var ids: [Int32] = []
                startMerging(bytes[start..<end], &merger)
                merger.merge(pairs)
                merger.appendResult(to: &ids)
                visit(ids)
                start = end
            }
        }
    }

    /// Calls `visit` with every token that merging these bytes makes on its way.
    func visitMerges(of bytes: [UInt8], _ visit: (Int32) -> Void) {
        var merger = Merger()
        bytes.withUnsafeBufferPointer { startMerging($0[...], &merger) }
        merger.merge(pairs, visit: visit)
    }
}

/// Turns tokens into text as they come, holding back the bytes of an unfinished character.
public struct StreamingDecoder: Sendable {
    private let tokenizer: Tokenizer
    private var pending: [UInt8] = []

    public init(_ tokenizer: Tokenizer) {
        self.tokenizer = tokenizer
    }

    /// The text that this token completes; special tokens give none.
    public mutating func append(_ id: Int32) -> String {
        guard tokenizer.definition.tokens.indices.contains(Int(id)) else { return "" }
        let token = tokenizer.definition.tokens[Int(id)]
        guard token.kind != .special else { return "" }
        pending += token.bytes
        let complete = pending.count - Self.unfinished(pending)
        defer { pending.removeFirst(complete) }
        return String(decoding: pending[..<complete], as: UTF8.self)
    }

    /// What is left when no more tokens come: U+FFFD for an unfinished character.
    public mutating func finish() -> String {
        defer { pending = [] }
        return String(decoding: pending, as: UTF8.self)
    }

    /// How many bytes at the end begin a character that more bytes may complete.
    private static func unfinished(_ bytes: [UInt8]) -> Int {
        for back in 1...3 where back <= bytes.count {
            let byte = bytes[bytes.count - back]
            if byte & 0xc0 == 0x80 { continue }
            let length = byte >= 0xf0 && byte < 0xf5 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1
            return byte < 0xf5 && length > back ? back : 0
        }
        return 0
    }
}
