/// What the pre-tokenizers need to know of a character.
struct UnicodeClass: OptionSet, Sendable {
    let rawValue: UInt8

    static let letter = UnicodeClass(rawValue: 1)
    static let number = UnicodeClass(rawValue: 2)
    static let space = UnicodeClass(rawValue: 4)
    /// A character the digit splitter takes by itself. Nearly the same as `number`: the reference
    /// asks two libraries with different Unicode versions.
    static let digit = UnicodeClass(rawValue: 8)
}

/// The classes of all Unicode scalars in two stages: a page number for each 256 scalars, and the
/// distinct pages.
struct UnicodeClasses: @unchecked Sendable {
    // Never freed and never written after `init`: one table for the life of the program.
    private let pageNumbers: UnsafePointer<UInt16>
    private let pages: UnsafePointer<UInt8>

    static let shared = UnicodeClasses()

    private init() {
        var flat = [UInt8](repeating: 0, count: 0x110000)
        let sets: [([UInt32], UnicodeClass)] = [
            (UnicodeClassRanges.letters, .letter), (UnicodeClassRanges.numbers, .number),
            (UnicodeClassRanges.spaces, .space), (UnicodeClassRanges.digits, .digit),
        ]
        for (ranges, bit) in sets {
            for index in stride(from: 0, to: ranges.count, by: 2) {
                for value in Int(ranges[index])...Int(ranges[index + 1]) {
                    flat[value] |= bit.rawValue
                }
            }
        }
        var numbers: [UInt16] = []
        var distinct: [[UInt8]: UInt16] = [:]
        var stored: [UInt8] = []
        for page in 0..<(0x110000 / 256) {
            let content = Array(flat[page * 256..<(page + 1) * 256])
            if let number = distinct[content] {
                numbers.append(number)
            } else {
                let number = UInt16(distinct.count)
                distinct[content] = number
                numbers.append(number)
                stored += content
            }
        }
        let numberStorage = UnsafeMutablePointer<UInt16>.allocate(capacity: numbers.count)
        numberStorage.initialize(from: numbers, count: numbers.count)
        let pageStorage = UnsafeMutablePointer<UInt8>.allocate(capacity: stored.count)
        pageStorage.initialize(from: stored, count: stored.count)
        pageNumbers = UnsafePointer(numberStorage)
        pages = UnsafePointer(pageStorage)
    }

    /// The classes of a scalar value below 0x110000.
    @inline(__always)
    subscript(value: UInt32) -> UnicodeClass {
        let page = Int(pageNumbers[Int(value >> 8)])
        return UnicodeClass(rawValue: pages[page << 8 | Int(value & 255)])
    }
}
