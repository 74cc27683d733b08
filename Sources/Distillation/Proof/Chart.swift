internal import Foundation

/// The report's drawings, as inline SVG.
enum Chart {
    struct Curve {
        var name: String
        var points: [(x: Double, y: Double)]
    }

    /// A value with its interval on a scale from 0 to 1.
    static func interval(_ value: Double, _ interval: [Double]) -> String {
        let width = 120.0
        func x(_ share: Double) -> String { number(2 + min(1, max(0, share.isFinite ? share : 0)) * (width - 4)) }
        return
            "<svg width=\"120\" height=\"16\" viewBox=\"0 0 120 16\" role=\"img\"><title>\(Format.quality(interval[0])) to \(Format.quality(interval[1]))</title><path class=\"axis\" d=\"M2 13H118\"/><path class=\"line\" d=\"M\(x(interval[0])) 7H\(x(interval[1]))\"/><circle class=\"mark\" cx=\"\(x(value))\" cy=\"7\" r=\"3\"/></svg>"
    }

    /// Quality over cost, the cost on a logarithmic scale.
    static func frontier(_ systems: [Certificate.SystemMeasurement]) -> String {
        let shown = systems.filter {
            $0.usdPerMillionRequests > 0 && $0.usdPerMillionRequests.isFinite && $0.value.isFinite
        }
        guard !shown.isEmpty else { return "" }
        let costs = shown.map { log10($0.usdPerMillionRequests) }
        let low = (costs.min() ?? 0).rounded(.down)
        let high = max(low + 1, (costs.max() ?? 1).rounded(.up))
        let frame = Frame(x: low...high, y: 0...1)
        var content = frame.axes(
            xTicks: stride(from: low, through: high, by: 1).map { ($0, Format.dollars(pow(10, $0))) },
            yTicks: [0, 0.25, 0.5, 0.75, 1].map { ($0, String(format: "%.2f", $0)) })
        var placed: [(x: Double, y: Double)] = []
        for system in shown {
            let cost = log10(system.usdPerMillionRequests)
            let x = frame.x(cost)
            let y = frame.y(system.value)
            content +=
                "<path class=\"line\" d=\"M\(number(x)) \(number(frame.y(system.interval[0])))V\(number(frame.y(system.interval[1])))\"/><circle class=\"mark\" cx=\"\(number(x))\" cy=\"\(number(y))\" r=\"4\"/>"
            // Labels that would lie on another one move down.
            var labelY = y + 4
            while placed.contains(where: { abs($0.x - x) < 190 && abs($0.y - labelY) < 14 }) { labelY += 14 }
            placed.append((x, labelY))
            let isRight = x > Frame.width * 0.7
            content +=
                "<text class=\"ink\" x=\"\(number(isRight ? x - 9 : x + 9))\" y=\"\(number(labelY))\"\(isRight ? " text-anchor=\"end\"" : "")>\(HTML.text(system.name))</text>"
        }
        content += frame.captions(x: "cost of a million requests", y: shown[0].metric)
        return frame.svg(content, title: "Quality over the cost of a million requests")
    }

    /// Curves over updates; the second and later ones are dashed where there are few.
    ///
    /// - Parameters:
    ///   - x: what they are over, below the axis.
    ///   - y: what the curves are of, beside the axis.
    ///   - isMany: many curves of one kind: each has a colour of its own.
    ///   - fall: whether the curves leave room for their names at the top; else these stand at the bottom.
    static func lines(
        _ curves: [Curve], title: String, x under: String = "update", y caption: String = "loss",
        isMany: Bool = false, fall: Bool = true
    ) -> String {
        let curves = curves.map { curve in
            Curve(name: curve.name, points: curve.points.filter { $0.x.isFinite && $0.y.isFinite })
        }.filter { !$0.points.isEmpty }
        let points = curves.flatMap(\.points)
        guard let right = points.map(\.x).max(), let top = points.map(\.y).max(), right > 0, top > 0 else { return "" }
        let frame = Frame(x: 0...right, y: 0...top)
        var content = frame.axes(
            xTicks: [0, 0.25, 0.5, 0.75, 1].map { ($0 * right, "\(Int($0 * right))") },
            yTicks: [0, 0.25, 0.5, 0.75, 1].map { ($0 * top, String(format: "%.2f", $0 * top)) })
        for (index, curve) in curves.enumerated() {
            let path = curve.points.map { "\(number(frame.x($0.x))) \(number(frame.y($0.y)))" }.joined(separator: "L")
            let kind = index == 0 || isMany ? "line" : "line second"
            let hue = isMany ? " style=\"stroke:hsl(\(360 * index / curves.count) 55% 50%)\"" : ""
            content +=
                "<path class=\"\(kind)\"\(hue) d=\"M\(path)\"><title>\(HTML.text(curve.name))</title></path>"
            let perRow = isMany ? 8 : 1
            let row = index / perRow
            let rows = (curves.count + perRow - 1) / perRow
            let x = isMany ? 76 + 80 * Double(index % perRow) : Frame.width - 150
            let y = fall ? 24 + 18 * Double(row) : frame.y(0) - 10 - 18 * Double(rows - 1 - row)
            content +=
                "<path class=\"\(kind)\"\(hue) d=\"M\(number(x)) \(number(y - 4))h\(isMany ? 14 : 26)\"/><text class=\"ink\" x=\"\(number(x + (isMany ? 18 : 32)))\" y=\"\(number(y))\">\(HTML.text(curve.name))</text>"
        }
        content += frame.captions(x: under, y: caption)
        return frame.svg(content, title: title)
    }

    /// Shares as a table of shaded cells, a row for each layer.
    static func heat(_ rows: [[Double]]) -> String {
        let columns = rows.map(\.count).max() ?? 0
        let top = rows.flatMap { $0 }.max() ?? 1
        var content = ""
        for column in 0..<columns {
            content += "<text x=\"\(86 + column * 62)\" y=\"14\" text-anchor=\"middle\">expert \(column + 1)</text>"
        }
        for (index, row) in rows.enumerated() {
            content += "<text x=\"0\" y=\"\(39 + index * 28)\">layer \(index + 1)</text>"
            for (column, share) in row.enumerated() {
                let strength = top > 0 && share.isFinite ? share / top : 0
                content +=
                    "<rect class=\"mark\" stroke=\"none\" style=\"stroke:none\" fill-opacity=\"\(number(0.06 + 0.5 * strength))\" x=\"\(56 + column * 62)\" y=\"\(22 + index * 28)\" width=\"60\" height=\"26\"/><text class=\"ink\" x=\"\(86 + column * 62)\" y=\"\(39 + index * 28)\" text-anchor=\"middle\">\(Format.percent(share, digits: 0))</text>"
            }
        }
        let width = 60 + columns * 62
        let height = 26 + rows.count * 28
        return
            "<svg width=\"\(width)\" height=\"\(height)\" viewBox=\"0 0 \(width) \(height)\" role=\"img\"><title>Share of tokens by layer and expert</title>\(content)</svg>"
    }

    static func number(_ value: Double) -> String { String(format: "%.1f", value) }

    /// A drawing's coordinates.
    struct Frame {
        static let width = 720.0
        static let height = 320.0
        let x: ClosedRange<Double>
        let y: ClosedRange<Double>
        private let left = 56.0
        private let bottom = 44.0
        private let top = 12.0

        func x(_ value: Double) -> Double {
            left + (value - x.lowerBound) / max(x.upperBound - x.lowerBound, 1e-12) * (Self.width - left - 16)
        }

        func y(_ value: Double) -> Double {
            let share = (value - y.lowerBound) / max(y.upperBound - y.lowerBound, 1e-12)
            return Self.height - bottom - min(1, max(0, share)) * (Self.height - bottom - top)
        }

        func axes(xTicks: [(Double, String)], yTicks: [(Double, String)]) -> String {
            var result = ""
            for (value, text) in yTicks {
                result +=
                    "<path class=\"axis\" d=\"M\(number(left)) \(number(y(value)))H\(number(Self.width - 16))\"/><text x=\"\(number(left - 8))\" y=\"\(number(y(value) + 4))\" text-anchor=\"end\">\(text)</text>"
            }
            for (value, text) in xTicks {
                let anchor = value == x.upperBound ? "end" : "middle"
                result +=
                    "<text x=\"\(number(min(x(value) + (anchor == "end" ? 14 : 0), Self.width)))\" y=\"\(number(Self.height - bottom + 18))\" text-anchor=\"\(anchor)\">\(text)</text>"
            }
            return result
        }

        func captions(x: String, y: String) -> String {
            "<text x=\"\(number(Self.width / 2))\" y=\"\(number(Self.height - 6))\" text-anchor=\"middle\">\(HTML.text(x))</text><text x=\"12\" y=\"\(number(Self.height / 2))\" text-anchor=\"middle\" transform=\"rotate(-90 12 \(number(Self.height / 2)))\">\(HTML.text(y))</text>"
        }

        func svg(_ content: String, title: String) -> String {
            "<svg width=\"\(Int(Self.width))\" height=\"\(Int(Self.height))\" viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\"><title>\(HTML.text(title))</title>\(content)</svg>"
        }
    }
}
