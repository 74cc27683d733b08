internal import Foundation
internal import Training

/// A training on a person's screen: a few lines that are drawn again after every update.
package struct TrainingView {
    let state: TrainingState
    /// Columns there are; no line is longer.
    let width: Int
    let hasColour: Bool

    package init(_ state: TrainingState, width: Int, hasColour: Bool) {
        self.state = state
        self.width = width
        self.hasColour = hasColour
    }

    /// The lines, the most important first.
    package var lines: [String] {
        let experts = state.record.points.last?.experts
        return [progress, losses, pace, experts.flatMap(loads), experts.flatMap(unused)].compactMap { $0?.text(self) }
    }

    // MARK: Lines

    private var progress: Line {
        let percent = String(format: "%3.0f %%", state.fraction * 100)
        var tail = "update \(state.update) of \(state.updates)"
        if let left = state.secondsLeft { tail += "  \(Format.duration(left)) left" }
        var line = Line()
        // The bar takes what the words leave, and goes where they leave too little.
        let room = min(40, width - percent.count - tail.count - 6)
        if room >= 5 {
            let full = Int((Double(room) * state.fraction).rounded(.down))
            line.add(String(repeating: "█", count: full), .accent)
            line.add(String(repeating: "░", count: room - full) + "  ", .soft)
        }
        line.add(percent + "  ", .plain)
        line.add(tail, .plain)
        return line
    }

    private var losses: Line? {
        let points = state.record.points.map(\.answerLoss)
        guard let last = points.last else { return nil }
        let validations = state.record.validations.map(\.answerLoss)
        let room = min(24, width - 40)
        var line = Line()
        line.add("loss ", .soft)
        line.add(String(format: "%.4f", last), .plain)
        if room >= 4 { line.add(" " + Sparkline.text(points, width: room), .accent) }
        if let validation = validations.last {
            line.add("  validation ", .soft)
            line.add(String(format: "%.4f", validation), .plain)
            if room >= 4 { line.add(" " + Sparkline.text(validations, width: 8), .accent) }
        }
        return line
    }

    private var pace: Line? {
        guard let point = state.record.points.last else { return nil }
        var line = Line()
        line.add("rate ", .soft)
        line.add(String(format: "%.2e", point.rate), .plain)
        line.add("  gradient norm ", .soft)
        line.add(String(format: "%.3f", point.gradientNorm), .plain)
        if let speed = point.tokensPerSecond {
            line.add("  tokens/s ", .soft)
            line.add(String(format: "%.0f", speed), .plain)
        }
        return line
    }

    /// A bar for each expert, as high as its share of the visits.
    private func loads(_ experts: TrainingRecord.Experts) -> Line? {
        guard let shares = experts.shares, let low = shares.min(), let high = shares.max() else { return nil }
        var line = Line()
        line.add("experts ", .soft)
        // Twice the even share fills a bar.
        let even = 1 / Double(shares.count)
        let bars = shares.map { Sparkline.bar($0 / (2 * even)) }.joined(separator: shares.count <= 16 ? " " : "")
        if 8 + bars.count <= width { line.add(bars, .accent) }
        line.add("  \(Format.percent(low, digits: 0)) to \(Format.percent(high, digits: 0))", .plain)
        line.add(" (even \(Format.percent(even, digits: 0)))", .soft)
        line.add("  router entropy ", .soft)
        line.add(
            String(format: "%.2f of %.2f", experts.routerEntropy, log(Double(shares.count))), .plain)
        return line
    }

    private func unused(_ experts: TrainingRecord.Experts) -> Line? {
        guard let unused = experts.unused else { return nil }
        let named = unused.prefix(6).map { "expert \($0[1] + 1) of layer \($0[0] + 1)" }.joined(separator: ", ")
        var line = Line()
        line.add("no visits lately: " + named + (unused.count > 6 ? " and \(unused.count - 6) more" : ""), .warning)
        return line
    }

    // MARK: Text

    private enum Style: String {
        case plain = ""
        case soft = "2"
        case accent = "36"
        case warning = "33"
    }

    private struct Line {
        private var parts: [(text: String, style: Style)] = []

        mutating func add(_ text: String, _ style: Style) { parts.append((text, style)) }

        /// Cut to the width; every part ends its own colour.
        func text(_ view: TrainingView) -> String {
            var left = view.width
            var result = ""
            for part in parts where left > 0 {
                let text = String(part.text.prefix(left))
                left -= text.count
                result +=
                    view.hasColour && part.style != .plain && !text.isEmpty
                    ? "\u{1B}[\(part.style.rawValue)m\(text)\u{1B}[0m" : text
            }
            return result
        }
    }
}

/// Numbers as a row of bars, one character each.
enum Sparkline {
    private static let bars: [Character] = Array("▁▂▃▄▅▆▇█")

    /// At most `width` bars from the least to the greatest value; longer rows are drawn as means of neighbours, and
    /// what is not finite is left out.
    static func text(_ values: [Double], width: Int) -> String {
        let values = values.filter(\.isFinite)
        guard width > 0, !values.isEmpty else { return "" }
        let count = min(width, values.count)
        let means = (0..<count).map { place in
            let range = values[(values.count * place / count)..<(values.count * (place + 1) / count)]
            return range.reduce(0, +) / Double(range.count)
        }
        let low = means.min() ?? 0
        let span = (means.max() ?? 0) - low
        return means.map { bar(span > 0 ? ($0 - low) / span : 0) }.joined()
    }

    /// From empty at 0 to full at 1 and above.
    static func bar(_ share: Double) -> String {
        let place = share.isFinite ? (min(1, max(0, share)) * Double(bars.count - 1)).rounded() : 0
        return String(bars[Int(place)])
    }
}
