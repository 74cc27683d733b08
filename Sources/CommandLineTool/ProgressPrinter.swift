internal import Distillation
internal import Foundation

/// Shows a run's progress: on a terminal one line that is written over, and a few while a training runs; elsewhere now
/// and then a plain line.
final class ProgressPrinter: RunObserver {
    private var stage = ""
    private var began = ContinuousClock.now
    private var lastShown = ContinuousClock.now
    private let start = ContinuousClock.now
    private let interval: Duration = Terminal.isInteractive ? .milliseconds(200) : .seconds(15)
    private var live = LiveLines()

    func stageBegan(_ stage: String, number: Int, of count: Int) {
        self.stage = "[\(number)/\(count)] \(stage)"
        began = .now
        lastShown = .now
        if Terminal.isInteractive { live.show([self.stage]) }
    }

    func stageAdvanced(_ fraction: Double, detail: String) {
        guard isDue() else { return }
        let spent = (ContinuousClock.now - began).seconds
        var text = "\(stage): \(Format.percent(fraction, digits: 0))"
        if fraction > 0.01 {
            text += ", \(Format.duration(spent * (1 - fraction) / fraction)) left"
        }
        if !detail.isEmpty { text += ", " + detail }
        if Terminal.isInteractive { live.show([text]) } else { Terminal.note(text) }
    }

    func trainingAdvanced(_ training: TrainingState) {
        guard isDue() else { return }
        if Terminal.isInteractive {
            let view = TrainingView(training, width: Terminal.size.columns - 1, hasColour: Terminal.hasColour)
            live.show([stage] + view.lines)
        } else {
            let left = training.secondsLeft.map { ", \(Format.duration($0)) left" } ?? ""
            Terminal.note("\(stage): \(Format.percent(training.fraction, digits: 0))\(left), \(training.sentence)")
        }
    }

    func stageEnded(_ summary: String, reused: Bool) {
        let time = reused ? "as before" : Format.duration((ContinuousClock.now - began).seconds)
        live.clear()
        Terminal.note(
            "\(stage): \(summary) (\(time); \(Format.duration((ContinuousClock.now - start).seconds)) so far)")
    }

    func note(_ text: String) {
        live.clear()
        Terminal.note("note: " + text)
    }

    /// Whether something may be shown again; counts as shown.
    private func isDue() -> Bool {
        guard ContinuousClock.now - lastShown >= interval else { return false }
        lastShown = .now
        return true
    }
}
