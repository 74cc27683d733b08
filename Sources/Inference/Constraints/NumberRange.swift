/// Decimal numbers between bounds as patterns, digit by digit.
enum NumberRange {
    /// A bound: a decimal written without exponent.
    struct Bound {
        var isNegative: Bool
        /// Without leading zeros; "0" for zero.
        var whole: [UInt8]
        /// Without trailing zeros.
        var fraction: [UInt8]
        var isExclusive: Bool

        /// nil for texts that are no plain decimal numbers of at most 30 digits.
        init?(_ text: String, isExclusive: Bool) {
            var digits = Substring(text)
            isNegative = digits.first == "-"
            if isNegative { digits.removeFirst() }
            if let value = Double(text), digits.contains(where: { $0 == "e" || $0 == "E" }) {
                guard value.magnitude < 1e15, value == value.rounded() else { return nil }
                digits = Substring(String(Int64(value.magnitude)))
            }
            let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
            guard (1...2).contains(parts.count), digits.utf8.count <= 30 else { return nil }
            guard parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }) else {
                return nil
            }
            whole = Array(parts[0].utf8.drop { $0 == 0x30 })
            if whole.isEmpty { whole = [0x30] }
            fraction = parts.count == 2 ? Array(parts[1].utf8) : []
            while fraction.last == 0x30 { fraction.removeLast() }
            self.isExclusive = isExclusive
            if isZero { isNegative = false }
        }

        var isZero: Bool { whole == [0x30] && fraction.isEmpty }
        var isWhole: Bool { fraction.isEmpty }
    }

    /// Numbers from `low` to `high` (nil: no bound). Without an exponent.
    ///
    /// - Returns: nil when there is no such number.
    static func pattern(low: Bound?, high: Bound?, isInteger: Bool) -> Pattern? {
        var choices: [Pattern] = []
        // Below zero: the sizes from -high to -low.
        if low == nil || low!.isNegative {
            var least: Bound?
            if let high, high.isNegative { least = high }
            var most = low
            least?.isNegative = false
            most?.isNegative = false
            let zero = Bound("0", isExclusive: true)!
            if let sizes = magnitudes(least ?? zero, most, isInteger) {
                choices.append(.sequence([.text("-"), sizes]))
            }
        }
        if high == nil || !high!.isNegative {
            let least = low.flatMap { $0.isNegative ? nil : $0 } ?? Bound("0", isExclusive: false)!
            if let sizes = magnitudes(least, high, isInteger) { choices.append(sizes) }
        }
        return choices.isEmpty ? nil : .choice(choices)
    }

    /// Numbers without sign between two bounds that are not negative.
    private static func magnitudes(_ low: Bound, _ high: Bound?, _ isInteger: Bool) -> Pattern? {
        var choices: [Pattern] = []
        let anyFraction =
            isInteger ? Pattern.empty : .optional(fraction(.repeated(JSONGrammar.digit, minimum: 1, maximum: nil)))
        // Whole parts strictly between the bounds' whole parts, with any fraction.
        for pattern in wholes(above: low.whole, below: high?.whole) {
            choices.append(.sequence([pattern, anyFraction]))
        }
        // The whole part of the lower bound.
        let isSame = high.map { $0.whole == low.whole } ?? false
        func add(_ whole: [UInt8], from: Bound?, to: Bound?) {
            guard let tail = fractions(from: from, to: to, isInteger: isInteger) else { return }
            choices.append(.sequence([.bytes(whole), tail]))
        }
        if isSame {
            add(low.whole, from: low, to: high)
        } else {
            if high == nil || compare(low.whole, high!.whole) < 0 {
                add(low.whole, from: low, to: nil)
                if let high { add(high.whole, from: nil, to: high) }
            }
        }
        return choices.isEmpty ? nil : .choice(choices)
    }

    private static func fraction(_ digits: Pattern) -> Pattern { .sequence([.text("."), digits]) }

    /// What may follow the whole part so that the fraction lies between those of the bounds; nil: nothing.
    private static func fractions(from: Bound?, to: Bound?, isInteger: Bool) -> Pattern? {
        let low = from?.fraction ?? []
        let high = to?.fraction
        var isZeroAllowed = low.isEmpty && !(from?.isExclusive ?? false)
        if let to, to.isExclusive, to.fraction.isEmpty { isZeroAllowed = false }
        if isInteger { return isZeroAllowed ? .empty : nil }
        var choices: [Pattern] = isZeroAllowed ? [.empty] : []
        let isLowStrict = from?.isExclusive ?? false
        let isHighStrict = to?.isExclusive ?? false
        if let digits = digits(low, isLowStrict: isLowStrict, high, isHighStrict: isHighStrict) {
            choices.append(fraction(digits))
        }
        return choices.isEmpty ? nil : .choice(choices)
    }

    /// Strings of one or more digits d with low ≤ 0.d ≤ high.
    private static func digits(_ low: [UInt8], isLowStrict: Bool, _ high: [UInt8]?, isHighStrict: Bool) -> Pattern? {
        let any = Pattern.repeated(JSONGrammar.digit, minimum: 0, maximum: nil)
        let some = Pattern.repeated(JSONGrammar.digit, minimum: 1, maximum: nil)
        let zeros = Pattern.repeated(.text("0"), minimum: 0, maximum: nil)
        let bothFree = low.isEmpty && high == nil
        if bothFree {
            // Above zero strictly: some digit is not zero.
            return isLowStrict ? .sequence([zeros, .range(0x31...0x39), any]) : some
        }
        /// At `place`, with the digits so far equal to the bounds that are still tight.
        func build(_ place: Int, _ isLowTight: Bool, _ isHighTight: Bool) -> Pattern? {
            let lowDone = !isLowTight || place >= low.count
            let highDone = !isHighTight || place >= high!.count
            if lowDone, highDone {
                // Here the number so far equals the bounds that are tight.
                if isHighTight {
                    // Nothing but zeros may follow.
                    if isHighStrict || (isLowTight && isLowStrict) { return nil }
                    return place == 0 ? .repeated(.text("0"), minimum: 1, maximum: nil) : zeros
                }
                if isLowTight, isLowStrict { return .sequence([zeros, .range(0x31...0x39), any]) }
                return place == 0 ? some : any
            }
            let least = isLowTight && place < low.count ? low[place] : 0x30
            let most = isHighTight ? (place < high!.count ? high![place] : 0x30) : 0x39
            if least > most { return nil }
            var choices: [Pattern] = []
            for digit in least...most {
                let next = build(
                    place + 1, isLowTight && (place < low.count ? digit == low[place] : digit == 0x30),
                    isHighTight && digit == most && (place < high!.count ? digit == high![place] : true))
                if let next { choices.append(.sequence([.bytes([digit]), next])) }
            }
            // Ending here means zeros from here on.
            let endsLow = !isLowTight || (place >= low.count && !isLowStrict)
            let endsHigh = !isHighTight || place < high!.count || !isHighStrict
            if place > 0, endsLow, endsHigh { choices.append(.empty) }
            return choices.isEmpty ? nil : .choice(choices)
        }
        return build(0, true, high != nil)
    }

    /// Whole numbers above one and below the other, strictly, as patterns.
    private static func wholes(above low: [UInt8], below high: [UInt8]?) -> [Pattern] {
        var result: [Pattern] = []
        func digits(_ count: Int) -> Pattern { .repeated(JSONGrammar.digit, minimum: count, maximum: count) }
        /// Numbers of the length of `bound` that are above it.
        func above(_ bound: [UInt8], limit: [UInt8]?) -> [Pattern] {
            var list: [Pattern] = []
            for place in bound.indices where bound[place] < 0x39 {
                // The same digits before, a greater one here, any behind; below the limit where there is one.
                for digit in (bound[place] + 1)...0x39 {
                    let head = Array(bound[..<place]) + [digit]
                    if let limit {
                        let part = Array(limit[...place])
                        if compare(head, part) > 0 { break }
                        if head == part {
                            list += below(limit, from: place + 1)
                            break
                        }
                    }
                    list.append(.sequence([.bytes(head), digits(bound.count - place - 1)]))
                }
            }
            return list
        }
        /// Numbers of the length of `bound` that share its first `from` digits and are below it.
        func below(_ bound: [UInt8], from: Int) -> [Pattern] {
            var list: [Pattern] = []
            for place in from..<max(from, bound.count) {
                let first: UInt8 = place == 0 && bound.count > 1 ? 0x31 : 0x30
                if bound[place] > first {
                    list.append(
                        .sequence([
                            .bytes(Array(bound[..<place])), .range(first...bound[place] - 1),
                            digits(bound.count - place - 1),
                        ]))
                }
            }
            return list
        }
        if let high {
            if high.count < low.count || (high.count == low.count && compare(low, high) >= 0) { return [] }
            if high.count == low.count { return above(low, limit: high) }
            result += above(low, limit: nil)
            for count in (low.count + 1)..<max(high.count, low.count + 1) {
                result.append(.sequence([.range(0x31...0x39), digits(count - 1)]))
            }
            return result + below(high, from: 0)
        }
        result += above(low, limit: nil)
        result.append(
            .sequence([.range(0x31...0x39), .repeated(JSONGrammar.digit, minimum: low.count, maximum: nil)]))
        return result
    }

    /// -1, 0 or 1: numbers without leading zeros.
    private static func compare(_ a: [UInt8], _ b: [UInt8]) -> Int {
        if a.count != b.count { return a.count < b.count ? -1 : 1 }
        return a == b ? 0 : a.lexicographicallyPrecedes(b) ? -1 : 1
    }
}
