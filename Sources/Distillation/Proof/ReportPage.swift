internal import Foundation
internal import Training

/// The report: one page that stands alone.
struct ReportPage {
    struct Failure: Sendable {
        var input: String
        var expected: String
        var answered: String
        var confidence: Double
    }

    struct Confusion: Sendable {
        var expected: String
        var answered: String
        var count: Int
    }

    let certificate: Certificate
    let task: TaskDefinition
    let record: TrainingRecord
    let failures: [Failure]
    let confusions: [Confusion]
    /// What was left out of the data or added to it, in words.
    let notes: [String]
    /// What the teacher's labels are worth, where that was looked at.
    var labelCurve: LabelCurve?

    /// The page's source.
    var html: String {
        let c = certificate
        var body = """
            <header><p class="kind">\(HTML.text(c.industry ?? "task")) · \(HTML.text(c.kind))</p>
            <h1>\(HTML.text(c.task))</h1>
            <p class="verdict \(c.ships ? "ship" : "stay")"><strong>\(c.ships ? "Ship" : "Don’t ship")</strong> \(HTML.text(sentenceWithoutVerdict))</p></header>
            """
        body += section("Proof", systemsTable + HTML.note(proofNote))
        body += section("Quality and cost", Chart.frontier(c.systems.all))
        body += training
        body += experts
        if let labelCurve {
            let curve = Chart.Curve(
                name: "linear model", points: labelCurve.points.map { (Double($0.labels), $0.accuracy) })
            let sentence = labelCurve.sentence
            body += section(
                "More labels?",
                Chart.lines(
                    [curve], title: "Accuracy by labels of the teacher", x: "labels of the teacher", y: "accuracy")
                    + HTML.note(
                        "On \(labelCurve.validationRows) validation rows, learnt from the gold and the first labels. "
                            + sentence.prefix(1).uppercased() + sentence.dropFirst() + "."))
        }
        if let calibration = c.systems.adaptedTeacher?.calibration ?? c.systems.teacher?.calibration {
            body += section(
                "The teacher’s confidence",
                Chart.reliability(calibration) + HTML.note(confidenceNote(calibration, whose: "teacher")))
        }
        if let calibration = c.systems.student.calibration {
            body += section("Confidence", Chart.reliability(calibration) + HTML.note(confidenceNote(calibration)))
        }
        if !confusions.isEmpty {
            let rows = confusions.map { [$0.expected, $0.answered, "\($0.count)"] }
            body += section("Confusions", HTML.table(["should be", "was", "times"], rows, numbers: [2]))
        }
        if !failures.isEmpty {
            let rows = failures.map { [$0.input, $0.expected, $0.answered, Format.quality($0.confidence)] }
            body += section(
                "Wrong, and most sure of it",
                HTML.table(["input", "should be", "was", "confidence"], rows, numbers: [3]))
        }
        body += section("Economics", HTML.table(["", ""], economics, numbers: [1], header: false))
        body += section(
            "Data",
            HTML.table(
                ["set", "rows", "SHA-256"], c.data.map { [$0.name, "\($0.rows)", $0.sha256] }, numbers: [1], code: [2])
                + notes.map { HTML.note($0.prefix(1).uppercased() + $0.dropFirst() + ".") }.joined())
        body += section("Run", HTML.table(["", ""], run, numbers: [], header: false))
        return HTML.page(title: "\(c.task): \(c.verdict)", body: body)
    }

    private var training: String {
        let points = record.points.filter { $0.answerLoss.isFinite }
        guard points.count > 1 else { return "" }
        var losses = [Chart.Curve(name: "training", points: points.map { (Double($0.step), $0.answerLoss) })]
        var accuracies = [Chart.Curve(name: "training", points: points.map { (Double($0.step), $0.accuracy) })]
        if !record.validations.isEmpty {
            let steps = record.validations.map { Double($0.step) }
            losses.append(
                Chart.Curve(name: "validation", points: Array(zip(steps, record.validations.map(\.answerLoss)))))
            accuracies.append(
                Chart.Curve(name: "validation", points: Array(zip(steps, record.validations.map(\.accuracy)))))
        }
        let precision = record.precision.map { ", matrix products in \($0.rawValue)" } ?? ""
        return section(
            "Training",
            Chart.lines(losses, title: "Loss on the answers by update")
                + HTML.note(
                    "Cross-entropy in nats a token of the answer. \(record.steps) updates, \(Format.count(record.tokens)) tokens, \(Format.duration(record.seconds))\(precision).\(incidents)"
                )
                + Chart.lines(accuracies, title: "Right tokens by update", y: "accuracy", fall: false)
                + HTML.note("Share of the answers’ tokens that are the most probable ones."))
    }

    /// How the routed experts were used; empty for dense students.
    private var experts: String {
        guard let count = record.expertLoads.first?.count, count > 0 else { return "" }
        var content =
            Chart.heat(record.expertLoads)
            + HTML.note(
                "Share of a layer’s tokens that each routed expert worked on; even would be \(Format.percent(1 / Double(count), digits: 0)).\(dead)"
            )
        let points = record.points.compactMap { point in point.experts.map { (Double(point.step), $0) } }
        guard points.count > 1 else { return section("Experts", content) }
        let curves = (0..<count).map { expert in
            Chart.Curve(
                name: "expert \(expert + 1)",
                points: points.compactMap { step, experts in experts.shares.map { (step, $0[expert]) } })
        }
        let shares = Chart.lines(curves, title: "Experts’ shares by update", y: "share", isMany: true, fall: false)
        if !shares.isEmpty {
            content += shares + HTML.note("Each expert’s share of its layer’s tokens, mean over the layers.")
        }
        content += Chart.lines(
            [
                Chart.Curve(name: "router", points: points.map { ($0, $1.routerEntropy) }),
                Chart.Curve(name: "knows nothing", points: points.map { ($0.0, log(Double(count))) }),
            ], title: "Router entropy by update", y: "nats", fall: false)
        content += HTML.note("Entropy of the routers’ probabilities, mean over tokens and layers.")
        return section("Experts", content)
    }

    /// The experts that nobody visited, as a sentence.
    private var dead: String {
        let places = record.deadExperts.enumerated().flatMap { layer, experts in
            experts.map { "expert \($0 + 1) of layer \(layer + 1)" }
        }
        return places.isEmpty ? "" : " Nobody visited \(places.joined(separator: ", "))."
    }

    private var sentenceWithoutVerdict: String {
        let sentence = certificate.sentence
        guard let colon = sentence.firstIndex(of: ":") else { return sentence }
        let rest = sentence[sentence.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        return rest.prefix(1).uppercased() + rest.dropFirst()
    }

    /// What did not go as planned while training, as sentences after another.
    private var incidents: String {
        var sentences = record.rollbacks.map {
            "Went back from update \($0.step) to \($0.resumedFrom) with a learning rate \($0.rateScale) times as high: \($0.reason)."
        }
        if record.endedEarly { sentences.append("Ended early: the validation rows gained nothing more.") }
        if let step = record.keptStep { sentences.append("Kept are the weights of update \(step).") }
        return sentences.map { " " + $0 }.joined()
    }

    private var proofNote: String {
        let star = certificate.systems.all.contains(where: \.isPriced) ? " * at the task’s price for tokens." : ""
        return
            "\(certificate.testRows) test rows; the lines show \(Format.percent(task.confidence, digits: 0)) intervals on one scale. Costs are this machine’s time at \(Format.dollars(task.economics.usdPerCoreHour)) a core hour.\(star)"
    }

    private func confidenceNote(_ calibration: CalibrationMeasurement, whose: String = "student") -> String {
        let before = calibration.before
        let after = calibration.after
        let how =
            switch calibration.method {
            case "none": "as the \(whose) gives them"
            case "temperature": String(format: "at temperature %.2f", calibration.temperature)
            case "isotonic": String(format: "at temperature %.2f, then isotonic", calibration.temperature)
            default: "calibrated one by one (\(calibration.method))"
            }
        let learnt = calibration.source == "training" ? ", which the \(whose) has learnt from: there are no others" : ""
        return
            "Bars: confidences \(how), fitted to \(calibration.rows) \(calibration.source) rows\(learnt). Dashed: the \(whose)’s own probabilities. On the diagonal they mean what they say. On the test set, expected calibration error \(Format.quality(before.expectedCalibrationError)) before and \(Format.quality(after.expectedCalibrationError)) after (15 bins of equal width), Brier score \(Format.quality(before.brierScore)) and \(Format.quality(after.brierScore))."
    }

    private var systemsTable: String {
        let systems = certificate.systems.all
        let header = [
            "system", systems[0].metric, "interval", "p50", "p95", "requests/s", "tokens", "active", "MB",
            "$ a million",
        ]
        var rows = ""
        for system in systems {
            let cells = [
                Format.milliseconds(system.p50Milliseconds), Format.milliseconds(system.p95Milliseconds),
                String(format: system.requestsPerSecond < 100 ? "%.1f" : "%.0f", system.requestsPerSecond),
                system.inputTokens > 0 ? String(format: "%.0f + %.0f", system.inputTokens, system.outputTokens) : "–",
                Format.count(system.activeParameters), String(format: "%.1f", system.megabytes),
                Format.dollars(system.usdPerMillionRequests) + (system.isPriced ? " *" : ""),
            ]
            rows +=
                "<tr\(system.name == "student" ? " class=\"own\"" : "")><th scope=\"row\">\(HTML.text(system.name))</th>"
            rows += "<td class=\"n\">\(Format.quality(system.value))</td>"
            rows += "<td>\(Chart.interval(system.value, system.interval))</td>"
            rows += cells.map { "<td class=\"n\">\(HTML.text($0))</td>" }.joined() + "</tr>"
        }
        let heads = header.enumerated().map {
            "<th scope=\"col\"\($0 == 0 ? "" : " class=\"n\"")>\(HTML.text($1))</th>"
        }
        return
            "<div class=\"wide\"><table><thead><tr>\(heads.joined())</tr></thead><tbody>\(rows)</tbody></table></div>"
    }

    private var economics: [[String]] {
        let costs = certificate.costs
        let breakEven =
            costs.breakEvenDays.map { $0 < 1 ? "on the first day" : "after \(Int($0.rounded(.up))) days" } ?? "never"
        return [
            ["Teaching (machine time)", Format.dollars(costs.teachingUSD)],
            ["Requests a day", "\(Int(task.economics.requestsPerDay))"],
            ["Saved a day", Format.dollars(costs.usdSavedPerDay)],
            ["Pays for itself", breakEven],
        ]
    }

    /// What the base gave.
    private var origin: String {
        switch task.student.start ?? .carve {
        case .carve: "Carved from"
        case .upcycle: "Upcycled from"
        case .scratch: "From scratch, with the vocabulary of"
        case .package: "Going on from an earlier student, with the vocabulary of"
        }
    }

    private var run: [[String]] {
        let c = certificate
        return [
            ["Program", c.program], ["Machine", c.machine], ["Threads", "\(c.threads)"], ["Seed", "\(c.seed)"],
            ["Teacher", task.teacher ?? c.systems.teacher?.name ?? "none"], [origin, task.student.base],
            [
                "Kept",
                "\(Format.percent(c.quality.kept)) of \(c.quality.reference); \(Format.percent(c.quality.retain, digits: 0)) asked at \(Format.percent(c.quality.confidence, digits: 0)) confidence",
            ],
            ["Written", c.created],
        ]
    }

    private func section(_ title: String, _ content: String) -> String {
        "<section><h2>\(HTML.text(title))</h2>\(content)</section>"
    }
}

/// Pieces of a page, with everything from data escaped.
enum HTML {
    static func text(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            case _ where scalar.value < 0x20 && scalar != "\n" && scalar != "\t": result += "\u{FFFD}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    static func note(_ text: String) -> String { "<p class=\"note\">\(HTML.text(text))</p>" }

    /// - Parameters:
    ///   - numbers: columns that are set flush right.
    ///   - code: columns in a fixed-width font.
    static func table(
        _ header: [String], _ rows: [[String]], numbers: Set<Int>, code: Set<Int> = [], header shows: Bool = true
    ) -> String {
        func type(_ column: Int) -> String {
            numbers.contains(column) ? " class=\"n\"" : code.contains(column) ? " class=\"c\"" : ""
        }
        let heads = header.enumerated().map { "<th scope=\"col\"\(type($0))>\(text($1))</th>" }.joined()
        let lines = rows.map { row in
            "<tr>" + row.enumerated().map { "<td\(type($0))>\(text($1))</td>" }.joined() + "</tr>"
        }
        return
            "<div class=\"wide\"><table>\(shows ? "<thead><tr>\(heads)</tr></thead>" : "")<tbody>\(lines.joined())</tbody></table></div>"
    }

    static func page(title: String, body: String) -> String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
        <title>\(text(title))</title><style>\(style)</style></head><body><main>\(body)</main></body></html>
        """
    }

    private static let style = """
        :root{--ink:#1c2024;--soft:#5c6670;--line:#d9dee3;--page:#fff;--own:#eef4fb;--accent:#1f5fa8;--good:#1b6e3c;--bad:#a3341f}
        @media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5af;--line:#363d44;--page:#15181b;--own:#1d2833;--accent:#7db3ee;--good:#7fcf9b;--bad:#f0957f}}
        *{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
        main{max-width:72rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}h1{font-size:2rem;margin:0 0 1rem;line-height:1.2}
        h2{font-size:1.15rem;margin:2.75rem 0 .75rem}.kind{color:var(--soft);margin:0 0 .25rem}
        .verdict{border-left:.35rem solid;padding:.6rem 0 .6rem 1rem;margin:0;font-size:1.1rem;max-width:52rem}
        .verdict strong{display:block;font-size:1.35rem}.ship{border-color:var(--good)}.ship strong{color:var(--good)}
        .stay{border-color:var(--bad)}.stay strong{color:var(--bad)}.wide{overflow-x:auto}
        table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
        th,td{padding:.4rem .8rem .4rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
        thead th{color:var(--soft);font-weight:500;white-space:nowrap}tbody th{font-weight:500}.n{text-align:right;white-space:nowrap}
        .c{font-family:ui-monospace,monospace;font-size:.78rem;word-break:break-all}.own{background:var(--own)}
        .note{color:var(--soft);font-size:.85rem;max-width:52rem}svg{max-width:100%;height:auto;display:block}
        svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg .ink{fill:var(--ink)}svg .axis{stroke:var(--line);fill:none}
        svg .mark{fill:var(--accent);stroke:var(--accent)}svg .line{stroke:var(--accent);fill:none;stroke-width:1.75}
        svg .second{stroke:var(--soft);stroke-dasharray:5 4}@media print{main{padding:0}section{break-inside:avoid}}
        """
}
