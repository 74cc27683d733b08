internal import Foundation
internal import LanguageModels
internal import Tensors
internal import Tokenizers

/// Which inputs the teachers behind endpoints are asked for, and what their labels are worth.
extension TaskRun {
    /// How many inputs are chosen where nobody knows how many the time is enough for.
    private static let mostInTime = 5000

    /// The inputs in the order in which they are asked for.
    ///
    /// The choice depends on the task and its data, not on what was spent before, so that a killed run goes on with it.
    func inputsToAsk() async throws -> [String] {
        let inputs = data.inputsWithoutNoise
        guard let labelling = task.labelling else { return inputs }
        let affordable = try affordableInputs(inputs)
        let wanted = min(labelling.count ?? inputs.count, inputs.count)
        // What costs less than thought leaves something for more; what is left over comes as it stands.
        let most = affordable.map { $0 + $0 / 4 + 1 } ?? (task.budget?.minutes == nil ? wanted : Self.mostInTime)
        let chosen = min(wanted, most)
        guard labelling.choose != .given, chosen < inputs.count else {
            return Array(inputs.prefix(wanted))
        }
        let student = labelling.student.map { task.url($0) }
        let key = try key("choose") {
            try $0.add("labelling", encoding: labelling)
            $0.add("count", chosen)
            $0.add("train", data.trainKey)
            $0.add("inputs", inputs)
            $0.add("seed", task.training.seed)
            if let student {
                for name in [StudentPackage.formatFile, "model.safetensors", Calibration.file] {
                    let file = student.appendingPathComponent(name)
                    if FileManager.default.fileExists(atPath: file.path) {
                        $0.add(name, try workspace.reference(to: file))
                    }
                }
            }
        }
        let places: [Int] = try await workspace.stage("choose", key: key) {
            switch labelling.choose {
            case .given: return Array(0..<chosen)
            case .random:
                var random = RandomNumbers(seed: UInt64(task.training.seed))
                return Array(inputs.indices.shuffled(using: &random).prefix(chosen))
            case .useful:
                return InputSelection.choose(
                    inputs, gold: data.train.map(\.input), uncertainty: try uncertainty(of: inputs, student: student),
                    count: chosen, seed: UInt64(task.training.seed))
            }
        }
        var text = "\(chosen) of \(inputs.count) inputs are asked for first"
        if labelling.choose == .useful {
            text += ": those unlike the gold and each other"
            if student != nil {
                text += ", of which the student is unsure"
            } else if task.kind == .label {
                text += ", of which a linear model of the gold is unsure"
            }
        } else {
            text += ", drawn at random"
        }
        observer.note(text)
        let taken = Set(places)
        let rest = inputs.indices.filter { !taken.contains($0) }.prefix(wanted - min(wanted, places.count))
        return places.map { inputs[$0] } + rest.map { inputs[$0] }
    }

    /// How many inputs the budget is enough for, about; nil: it has no limit but time.
    private func affordableInputs(_ inputs: [String]) throws -> Int? {
        guard let budget = task.budget, !inputs.isEmpty else { return nil }
        let panel = TeacherPanel(task, data: data)
        let sample = inputs.prefix(200)
        var each = BudgetAccount.Amount()
        for (place, member) in panel.members.enumerated() {
            // A cascade asks the next ones for a part that nobody knows yet.
            if task.panel?.combine == .cascade, place > 0 { continue }
            let prices = try task.prices(of: member.endpoint)
            let samples = member.endpoint.samples ?? 1
            for input in sample {
                let tokens = member.prompt.expectedTokens(input)
                let usd = prices.usd(input: tokens.input, output: tokens.output)
                each.usd += (member.endpoint.batches == true ? usd / 2 : usd) * Double(samples)
                each.tokens += (tokens.input + tokens.output) * samples
                each.requests += samples
            }
        }
        let count = Double(sample.count)
        let limits = [
            budget.usd.map { $0 / max(each.usd / count, 1e-12) },
            budget.tokens.map { $0 / max(Double(each.tokens) / count, 1) },
            budget.requests.map { $0 / max(Double(each.requests) / count, 1) },
        ].compactMap { $0 }
        guard let least = limits.min() else { return nil }
        // The test set, in a run, and the rows to calibrate on come before.
        return Int(min(1e9, max(0, least - Double(panel.calibrationRows.count))))
    }

    /// How unsure a model is of each input, 0 ... 1; nil where there is none that could be.
    private func uncertainty(of inputs: [String], student: URL?) throws -> [Double]? {
        if let student {
            let package = try StudentPackage(folder: student)
            let calibration = try Calibration(package: student) ?? Calibration()
            let model = try package.model(pool: pool)
            return try model.answer(inputs, alternatives: package.format.labels.count).map {
                1 - calibration.confidence($0, kind: package.format.kind)
            }
        }
        guard task.kind == .label, Set(data.train.map(\.output)).count > 1 else { return nil }
        let linear = LinearClassifier(data.train, seed: UInt64(task.training.seed))
        return inputs.map { input in
            let margins = linear.margins(input, labels: data.labels).sorted(by: >)
            // Probabilities of the best two against each other, from margins as sharp as they usually are.
            let lead = Double(margins[0] - margins[1]) * 4
            return 1 - tanh(lead / 2)
        }
    }

    /// Keeps the curve of quality against labels, where the task asks for a choice of inputs.
    func drawLabelCurve(_ labels: Labels) async throws {
        guard task.labelling != nil, task.kind == .label else { return }
        let key = key("curve") {
            $0.add("labels", labels.key)
            $0.add("train", data.trainKey)
            $0.add("seed", task.training.seed)
        }
        labelCurve = try await workspace.stage("curve", key: key) {
            LabelCurve(
                gold: data.train, labelled: labels.rows.map { Example(input: $0.input, output: $0.answer.output) },
                validation: data.validation, seed: UInt64(task.training.seed))
        }
        if let labelCurve { observer.note(labelCurve.sentence) }
    }
}
