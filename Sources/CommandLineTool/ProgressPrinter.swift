internal import Distillation
internal import Foundation

/// Shows a run's progress: one line that is written over on a terminal, now and then a plain line elsewhere.
final class ProgressPrinter: RunObserver {
    private var stage = ""
    private var began = ContinuousClock.now
    private var lastShown = ContinuousClock.now
    private let start = ContinuousClock.now
    private let interval: Duration = Terminal.isInteractive ? .milliseconds(200) : .seconds(15)

    func stageBegan(_ stage: String, number: Int, of count: Int) {
        self.stage = "[\(number)/\(count)] \(stage)"
        began = .now
        lastShown = .now
        if Terminal.isInteractive { Terminal.overwrite(self.stage) }
    }

    func stageAdvanced(_ fraction: Double, detail: String) {
        guard ContinuousClock.now - lastShown >= interval else { return }
        lastShown = .now
        let spent = (ContinuousClock.now - began).seconds
        var text = "\(stage): \(Format.percent(fraction, digits: 0))"
        if fraction > 0.01 {
            text += ", \(Format.duration(spent * (1 - fraction) / fraction)) left"
        }
        if !detail.isEmpty { text += ", " + detail }
        if Terminal.isInteractive { Terminal.overwrite(text) } else { Terminal.note(text) }
    }

    func stageEnded(_ summary: String, reused: Bool) {
        let time = reused ? "as before" : Format.duration((ContinuousClock.now - began).seconds)
        if Terminal.isInteractive { Terminal.overwrite("") }
        Terminal.note(
            "\(stage): \(summary) (\(time); \(Format.duration((ContinuousClock.now - start).seconds)) so far)")
    }

    func note(_ text: String) {
        if Terminal.isInteractive { Terminal.overwrite("") }
        Terminal.note("note: " + text)
    }
}
