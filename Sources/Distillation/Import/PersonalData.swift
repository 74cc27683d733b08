internal import Foundation

/// Finds personal data in texts and puts marks in its place: e-mail and IP addresses, IBANs with a right checksum, card
/// numbers with a right one (Luhn), phone numbers.
///
/// The same value has the same mark in all texts of one row, so that an answer that copies from its input still does.
package struct PersonalData: Sendable {
    package enum Kind: String, Sendable, Hashable, CaseIterable {
        case email
        case iban
        case card
        case ip
        case phone
    }

    private var marks: [String: String] = [:]
    private var numbers: [Kind: Int] = [:]
    /// How much of each kind was found.
    package private(set) var counts: [Kind: Int] = [:]

    package init() {}

    /// The next text belongs to another row.
    package mutating func beginRow() {
        marks = [:]
        numbers = [:]
    }

    package mutating func mask(_ text: String) -> String {
        let characters = Array(text)
        var result = ""
        var at = 0
        while at < characters.count {
            if let (kind, end) = PersonalData.match(characters, at: at) {
                result += mark(kind, String(characters[at..<end]))
                at = end
            } else {
                result.append(characters[at])
                at += 1
            }
        }
        return result
    }

    private mutating func mark(_ kind: Kind, _ value: String) -> String {
        counts[kind, default: 0] += 1
        let name =
            kind.rawValue + ":" + value.lowercased().filter { $0.isLetter || $0.isNumber || $0 == "@" || $0 == "." }
        if let mark = marks[name] { return mark }
        numbers[kind, default: 0] += 1
        let number = numbers[kind] ?? 1
        let mark = number == 1 ? "[\(kind.rawValue.uppercased())]" : "[\(kind.rawValue.uppercased())_\(number)]"
        marks[name] = mark
        return mark
    }

    /// What begins at a place, and where it ends.
    private static func match(_ text: [Character], at: Int) -> (Kind, Int)? {
        if at > 0, isWord(text[at - 1]) || text[at - 1] == "." && at > 1 && isWord(text[at - 2]) { return nil }
        if let end = email(text, at) { return (.email, end) }
        if let end = iban(text, at) { return (.iban, end) }
        if let end = ip(text, at) { return (.ip, end) }
        if let end = card(text, at) { return (.card, end) }
        if let end = phone(text, at) { return (.phone, end) }
        return nil
    }

    private static func isWord(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || character == "_"
    }

    private static func isDigit(_ character: Character) -> Bool { ("0"..."9").contains(character) }

    private static func isASCIILetter(_ character: Character) -> Bool { character.isASCII && character.isLetter }

    private static func email(_ text: [Character], _ at: Int) -> Int? {
        var place = at
        while place < text.count, place - at < 64,
            isASCIILetter(text[place]) || isDigit(text[place]) || "._%+-".contains(text[place])
        { place += 1 }
        guard place > at, place < text.count, text[place] == "@" else { return nil }
        place += 1
        let domain = place
        var end: Int?
        var label = 0
        while place < text.count, place - domain < 253 {
            let character = text[place]
            if isASCIILetter(character) || isDigit(character) || character == "-" {
                label += 1
            } else if character == ".", label > 0 {
                label = 0
            } else {
                break
            }
            place += 1
            // Every ending of at least two letters after a dot will do; the longest counts.
            let name = text[domain..<place]
            if let dot = name.lastIndex(of: "."), place - dot > 2, text[(dot + 1)..<place].allSatisfy(isASCIILetter) {
                end = place
            }
        }
        return end
    }

    /// Country, check digits, up to 30 letters and digits, in groups or not; ISO 13616 with the checksum of ISO 7064.
    private static func iban(_ text: [Character], _ at: Int) -> Int? {
        guard at + 4 < text.count, isASCIILetter(text[at]), isASCIILetter(text[at + 1]), isDigit(text[at + 2]),
            isDigit(text[at + 3])
        else { return nil }
        var digits: [Character] = []
        var ends: [(count: Int, place: Int)] = []
        var place = at
        while place < text.count, digits.count < 34 {
            let character = text[place]
            if isASCIILetter(character) || isDigit(character) {
                digits.append(character)
                let next = place + 1
                if digits.count >= 15, next == text.count || !isWord(text[next]) { ends.append((digits.count, next)) }
            } else if !((character == " " || character == "-") && place + 1 < text.count
                && (isASCIILetter(text[place + 1]) || isDigit(text[place + 1])))
            {
                break
            }
            place += 1
        }
        return ends.last { hasRightChecksum(digits.prefix($0.count)) }?.place
    }

    private static func hasRightChecksum(_ iban: some Collection<Character>) -> Bool {
        let characters = Array(iban)
        var remainder = 0
        for character in characters.dropFirst(4) + characters.prefix(4) {
            guard let value = Int(String(character), radix: 36) else { return false }
            remainder = (remainder * (value < 10 ? 10 : 100) + value) % 97
        }
        return remainder == 1
    }

    /// 13 to 19 digits, in groups or not, with a right last one (Luhn, ISO 7812).
    private static func card(_ text: [Character], _ at: Int) -> Int? {
        guard let (digits, ends) = number(text, at, separators: " -", atMost: 19) else { return nil }
        return ends.last { count, _ in count >= 13 && hasRightLastDigit(digits.prefix(count)) }?.place
    }

    private static func hasRightLastDigit(_ digits: some Collection<Int>) -> Bool {
        guard Set(digits).count > 1 else { return false }
        var sum = 0
        for (place, digit) in Array(digits).reversed().enumerated() {
            let value = place % 2 == 1 ? digit * 2 : digit
            sum += value > 9 ? value - 9 : value
        }
        return sum % 10 == 0
    }

    /// Digits with at most one separator between them; where it may end and with how many.
    private static func number(
        _ text: [Character], _ at: Int, separators: String, atMost limit: Int
    ) -> (digits: [Int], ends: [(count: Int, place: Int)])? {
        guard isDigit(text[at]) else { return nil }
        var digits: [Int] = []
        var ends: [(count: Int, place: Int)] = []
        var place = at
        while place < text.count, digits.count < limit {
            if isDigit(text[place]) {
                digits.append(text[place].wholeNumberValue ?? 0)
                let next = place + 1
                if next == text.count || !isWord(text[next]) { ends.append((digits.count, next)) }
            } else if !(separators.contains(text[place]) && place + 1 < text.count && isDigit(text[place + 1])) {
                break
            }
            place += 1
        }
        return (digits, ends)
    }

    /// IPv4 in four numbers, and IPv6 with at least two colons.
    private static func ip(_ text: [Character], _ at: Int) -> Int? {
        var place = at
        while place < text.count, isDigit(text[place]) || text[place] == "." { place += 1 }
        // A full stop after it is not of it.
        while place > at, text[place - 1] == "." { place -= 1 }
        if place == text.count || !isWord(text[place]) {
            let parts = String(text[at..<place]).split(separator: ".", omittingEmptySubsequences: false)
            if parts.count == 4, parts.allSatisfy({ $0.count <= 3 && Int($0).map { $0 <= 255 } ?? false }) {
                return place
            }
        }
        place = at
        while place < text.count, place - at < 45, text[place].isHexDigit && text[place].isASCII || text[place] == ":" {
            place += 1
        }
        while place > at, text[place - 1] == ":", !(place > at + 1 && text[place - 2] == ":") { place -= 1 }
        guard place == text.count || !isWord(text[place]) else { return nil }
        let address = String(text[at..<place])
        var storage = in6_addr()
        let groups = address.split(separator: ":")
        // Short ones without digits are more often something else, such as names in C++.
        guard address.filter({ $0 == ":" }).count >= 2, address.contains(where: isDigit),
            groups.count >= 3 || groups.contains(where: { $0.count >= 3 }),
            inet_pton(AF_INET6, address, &storage) == 1
        else { return nil }
        return place
    }

    /// A plus and 8 to 15 digits (E.164); or a zero and 9 to 13 digits; or ten digits as (212) 555-0123, 212-555-0123.
    private static func phone(_ text: [Character], _ at: Int) -> Int? {
        let start = text[at] == "+" || text[at] == "(" ? at + 1 : at
        guard start < text.count, isDigit(text[start]) else { return nil }
        var digits = 0
        var groups: [Int] = [0]
        var place = start
        var end = start
        while place < text.count, digits < 15 {
            if isDigit(text[place]) {
                digits += 1
                groups[groups.count - 1] += 1
                end = place + 1
            } else if " -./()".contains(text[place]), place - end < 2 {
                if groups.last != 0 { groups.append(0) }
            } else {
                break
            }
            place += 1
        }
        guard end == text.count || !isWord(text[end]) else { return nil }
        if groups.last == 0 { groups.removeLast() }
        switch text[at] {
        case "+": return (8...15).contains(digits) ? end : nil
        case "0" where text[at] == text[start] || text[start] == "0": return (9...13).contains(digits) ? end : nil
        default: return groups == [3, 3, 4] || groups == [1, 3, 3, 4] ? end : nil
        }
    }
}
