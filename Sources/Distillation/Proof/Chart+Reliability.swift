internal import Foundation

extension Chart {
    /// Share of right answers by confidence: bars as calibrated, a line as the model said it, on the diagonal of what
    /// confidences promise (DeGroot & Fienberg 1983).
    static func reliability(_ calibration: CalibrationMeasurement) -> String {
        let frame = Frame(x: 0...1, y: 0...1)
        let ticks = [0, 0.25, 0.5, 0.75, 1].map { ($0, String(format: "%.2f", $0)) }
        var content = frame.axes(xTicks: ticks, yTicks: ticks)
        let most = Double(max(1, calibration.after.bins.map(\.count).max() ?? 1))
        for bin in calibration.after.bins where bin.count > 0 {
            let left = frame.x(bin.low) + 1
            let top = frame.y(bin.accuracy)
            // The more answers, the darker.
            let strength = 0.15 + 0.5 * Double(bin.count) / most
            content +=
                "<rect class=\"mark\" style=\"stroke:none\" fill-opacity=\"\(number(strength))\" x=\"\(number(left))\" y=\"\(number(top))\" width=\"\(number(frame.x(bin.high) - left - 1))\" height=\"\(number(frame.y(0) - top))\"><title>\(bin.count) answers, confidence \(Format.quality(bin.confidence)), right \(Format.quality(bin.accuracy))</title></rect>"
        }
        content +=
            "<path class=\"axis\" d=\"M\(number(frame.x(0))) \(number(frame.y(0)))L\(number(frame.x(1))) \(number(frame.y(1)))\"/>"
        let before = calibration.before.bins.filter { $0.count > 0 }
            .map { "\(number(frame.x($0.confidence))) \(number(frame.y($0.accuracy)))" }
        if !before.isEmpty { content += "<path class=\"line second\" d=\"M\(before.joined(separator: "L"))\"/>" }
        content += frame.captions(x: "confidence", y: "share of right answers")
        return frame.svg(content, title: "Share of right answers by confidence")
    }
}
