public import Foundation
internal import Yams

extension TaskDefinition {
    /// Reads `task.yaml` in a folder.
    ///
    /// - Throws: ``TaskError`` with the line of the key it is about.
    public init(folder: URL) throws {
        let url = folder.appendingPathComponent("task.yaml")
        guard let data = FileManager.default.contents(atPath: url.path) else {
            throw TaskError("no such file; a task is a folder with a task.yaml", file: url.path)
        }
        guard data.count <= 1 << 20 else { throw TaskError("larger than 1 MB", file: url.path) }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw TaskError("not valid UTF-8", file: url.path)
        }
        try self.init(yaml: text, file: url.path, folder: folder)
    }

    /// - Parameter folder: what the task's files are relative to.
    package init(yaml: String, file: String, folder: URL) throws {
        // Aliases can make a small file describe a huge document; a task needs none.
        if yaml.contains("&") || yaml.contains("*") {
            let line = yaml.split(separator: "\n", omittingEmptySubsequences: false).firstIndex {
                let text = $0.drop { $0 == " " }
                return !text.hasPrefix("#")
                    && (text.contains(": &") || text.contains(": *") || text.contains("- *") || text.contains("- &"))
            }
            if let line { throw TaskError("anchors and aliases are not supported", file: file, line: line + 1) }
        }
        let node: Node?
        do {
            node = try Yams.compose(yaml: yaml)
        } catch let error as YamlError {
            throw TaskError("not valid YAML: \(TaskReader.describe(error))", file: file, line: TaskReader.line(error))
        } catch {
            throw TaskError("not valid YAML: \(error)", file: file)
        }
        guard let node else { throw TaskError("the file is empty", file: file) }
        self = try TaskReader(file: file).task(node, folder: folder)
    }
}

/// Takes a YAML document apart, and says where it is not as expected.
struct TaskReader {
    let file: String

    static func describe(_ error: YamlError) -> String {
        switch error {
        case .scanner(let context, let problem, _, _), .parser(let context, let problem, _, _):
            return problem + (context.map { " (\($0.text))" } ?? "")
        case .reader(let problem, _, _, _): return problem
        case .composer(_, let problem, _, _): return problem
        default: return "\(error)".components(separatedBy: "\n")[0]
        }
    }

    static func line(_ error: YamlError) -> Int? {
        switch error {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): return mark.line
        default: return nil
        }
    }

    /// One mapping: knows its keys and where it stands.
    struct Section {
        let reader: TaskReader
        let path: String
        let line: Int?
        private let members: [(key: String, value: Node)]

        init(_ reader: TaskReader, _ node: Node, _ path: String, keys: [String]) throws {
            self.reader = reader
            self.path = path
            line = node.mark?.line
            guard let mapping = node.mapping else {
                throw reader.error(
                    node, path.isEmpty ? "expected keys and values" : "'\(path)' must be keys and values")
            }
            var members: [(key: String, value: Node)] = []
            for (key, value) in mapping {
                guard let name = key.scalar?.string, keys.contains(name) else {
                    let found = key.scalar?.string ?? "?"
                    let nearest = Similarity.nearest(found, in: keys).map { "; did you mean '\($0)'?" } ?? ""
                    throw reader.error(
                        key,
                        "unknown key '\(path.isEmpty ? "" : path + ".")\(found)'\(nearest) (known: \(keys.joined(separator: ", ")))"
                    )
                }
                members.append((name, value))
            }
            self.members = members
        }

        func node(_ key: String) -> Node? {
            guard let node = members.first(where: { $0.key == key })?.value else { return nil }
            return node.null == nil || node.scalar?.style != .plain ? node : nil
        }

        func name(_ key: String) -> String { path.isEmpty ? key : path + "." + key }

        func string(_ key: String) throws -> String? {
            guard let node = node(key) else { return nil }
            guard let text = node.scalar?.string, !text.isEmpty else {
                throw reader.error(node, "'\(name(key))' must be text")
            }
            return text
        }

        func number(_ key: String, _ range: ClosedRange<Double>) throws -> Double? {
            guard let node = node(key) else { return nil }
            guard let text = node.scalar?.string, let value = Double(text), range.contains(value) else {
                throw reader.error(
                    node,
                    "'\(name(key))' must be a number from \(Self.plain(range.lowerBound)) to \(Self.plain(range.upperBound))"
                )
            }
            return value
        }

        func integer(_ key: String, _ range: ClosedRange<Int>) throws -> Int? {
            guard let node = node(key) else { return nil }
            guard let text = node.scalar?.string, let value = Int(text), range.contains(value) else {
                throw reader.error(
                    node, "'\(name(key))' must be a whole number from \(range.lowerBound) to \(range.upperBound)")
            }
            return value
        }

        func boolean(_ key: String) throws -> Bool? {
            guard let node = node(key) else { return nil }
            guard let text = node.scalar?.string, text == "true" || text == "false" else {
                throw reader.error(node, "'\(name(key))' must be true or false")
            }
            return text == "true"
        }

        /// nil where the key is missing or `auto`.
        func automatic<Value>(_ key: String, _ read: (Section, String) throws -> Value?) throws -> Value? {
            node(key)?.scalar?.string == "auto" ? nil : try read(self, key)
        }

        func choice<Value: RawRepresentable & CaseIterable>(_ key: String, _: Value.Type) throws -> Value?
        where Value.RawValue == String {
            guard let node = node(key) else { return nil }
            guard let text = node.scalar?.string, let value = Value(rawValue: text) else {
                let known = Value.allCases.map(\.rawValue).joined(separator: ", ")
                throw reader.error(node, "'\(name(key))' is '\(node.scalar?.string ?? "?")', expected one of: \(known)")
            }
            return value
        }

        func section(_ key: String, keys: [String]) throws -> Section? {
            try node(key).map { try Section(reader, $0, name(key), keys: keys) }
        }

        private static func plain(_ value: Double) -> String {
            value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
        }
    }

    func error(_ node: Node, _ message: String) -> TaskError {
        TaskError(message, file: file, line: node.mark?.line)
    }

    func task(_ node: Node, folder: URL) throws -> TaskDefinition {
        let root = try Section(
            self, node, "",
            keys: [
                "name", "industry", "instruction", "output", "data", "teacher", "student", "training", "quality",
                "economics", "synthesis", "label",
            ])
        guard let name = try root.string("name") else { throw TaskError("'name' is missing", file: file) }
        guard let output = try root.section("output", keys: ["kind", "labels", "abstain", "schema"]) else {
            throw TaskError("'output' is missing", file: file)
        }
        let kind = try output.choice("kind", TaskDefinition.OutputKind.self)
        guard let kind else { throw TaskError("'output.kind' is missing", file: file, line: output.line) }
        let data = try root.section("data", keys: ["inputs", "gold", "recorded", "written", "varied"])
        var gold: Section?
        var train: String?
        if let node = data?.node("gold") {
            // `gold: file` stands for `gold: {train: file}`.
            if node.scalar != nil {
                train = try data?.string("gold")
            } else {
                gold = try data?.section("gold", keys: ["train", "validation", "test"])
            }
        }
        let student = try studentSection(root)
        let experts = try student?.section("experts", keys: ["routed", "shared", "active", "copies"])
        let quality = try root.section("quality", keys: ["metric", "retain", "confidence"])
        let teacher = try root.section(
            "teacher",
            keys: [
                "model", "endpoint", "endpoints", "combine", "threshold", "agreement", "confidence", "adapt", "budget",
            ])
        let economics = try root.section(
            "economics", keys: ["teacher", "usdPerCoreHour", "requestsPerDay", "usdPerRequest"])
        let prices = try economics?.section("teacher", keys: ["usdPerMillionInput", "usdPerMillionOutput"])
        let money = 0.0...1e9
        let (endpoint, panel) = try endpoints(teacher, isPriced: prices != nil)
        var task = TaskDefinition(
            name: name, industry: try root.string("industry"),
            instruction: try root.string("instruction") ?? "Answer as in the examples.", kind: kind,
            labels: try labels(output, kind: kind),
            descriptions: try descriptions(output),
            inputs: try data?.string("inputs"),
            train: try gold?.string("train") ?? train, validation: try gold?.string("validation"),
            test: try gold?.string("test"), recorded: try data?.string("recorded"),
            teacher: try teacher?.string("model"),
            adaptation: try adaptation(teacher), endpoint: endpoint,
            budget: try budget(teacher),
            student: .init(
                base: try student?.string("base") ?? "smollm2-135m-instruct",
                layers: try student?.automatic("layers", { try $0.integer($1, 1...1024) }),
                routed: try experts?.integer("routed", 1...256) ?? 7,
                shared: try experts?.integer("shared", 1...256) ?? 1,
                active: try experts?.integer("active", 1...256) ?? 2),
            training: try training(root, kind: kind),
            metric: try quality?.choice("metric", TaskDefinition.Metric.self) ?? (kind.hasLabels ? .accuracy : .exact),
            retain: try quality?.number("retain", 0...1) ?? 0.98,
            confidence: try quality?.number("confidence", 0.5...0.9999) ?? 0.95,
            economics: .init(
                usdPerMillionInput: try prices?.number("usdPerMillionInput", money) ?? 2.4,
                usdPerMillionOutput: try prices?.number("usdPerMillionOutput", money) ?? 9.6,
                usdPerCoreHour: try economics?.number("usdPerCoreHour", money) ?? 0.04,
                requestsPerDay: try economics?.number("requestsPerDay", 0...1e12) ?? 100_000,
                usdPerRequest: try economics?.number("usdPerRequest", money) ?? 0.0004),
            folder: folder)
        if !kind.hasLabels, task.metric != .exact, let node = quality?.node("metric") {
            throw error(node, "'quality.metric' \(task.metric.rawValue) needs labels; for \(kind.rawValue) it is exact")
        }
        if kind.hasLabels, task.metric == .exact { task.metric = .accuracy }
        task.schema = try schema(output, of: task)
        task.written = try data?.automatic("written", { try $0.integer($1, 0...1_000_000) })
        if task.written ?? 0 > 0, task.adaptation == nil, let node = data?.node("written") {
            throw error(
                node, "'data.written' needs a teacher that is adapted (teacher.adapt), which answers what was written")
        }
        task.varied = try data?.automatic("varied", { try $0.integer($1, 0...100_000) })
        if task.varied ?? 0 > 0, task.adaptation == nil || !kind.hasLabels, let node = data?.node("varied") {
            throw error(
                node,
                "'data.varied' needs labels, and a teacher that is adapted (teacher.adapt), which answers the inputs")
        }
        task.abstain = try abstain(output, kind: kind, labels: task.labels)
        try start(student, experts, &task)
        task.synthesis = try synthesis(root)
        try checkPhases(root, task)
        task.panel = panel
        task.trust = try trust(teacher, isLocal: endpoint == nil, isAdapted: task.adaptation != nil)
        task.labelling = try labelling(root)
        if task.labelling != nil, endpoint == nil, let node = root.node("label") {
            throw error(node, "'label' is for a teacher behind an endpoint")
        }
        if task.student.active > task.student.routed, let node = experts?.node("active") {
            throw error(node, "'student.experts.active' is more than the \(task.student.routed) routed ones")
        }
        if task.train == nil, task.recorded == nil {
            throw TaskError(
                task.inputs == nil
                    ? "'data' must name at least one of: gold.train, recorded, inputs"
                    : "'data.inputs' alone is not enough: give at least a few gold examples in 'data.gold.train'",
                file: file, line: data?.line)
        }
        for (key, path) in [
            ("data.inputs", task.inputs), ("data.gold.train", task.train), ("data.gold.validation", task.validation),
            ("data.gold.test", task.test), ("data.recorded", task.recorded),
        ] {
            guard let path else { continue }
            if !FileManager.default.isReadableFile(atPath: task.url(path).path) {
                throw TaskError("'\(key)' names '\(path)', which is not a readable file", file: file, line: data?.line)
            }
        }
        return task
    }

    private func studentSection(_ root: Section) throws -> Section? {
        guard let node = root.node("student"), node.scalar?.string != "auto" else { return nil }
        let section = try root.section(
            "student", keys: ["base", "start", "steps", "layers", "experts", "width", "prune", "package"])
        return section
    }

    private func labels(_ output: Section, kind: TaskDefinition.OutputKind) throws -> [String] {
        guard let node = output.node("labels") else { return [] }
        guard kind.hasLabels else { throw error(node, "'output.labels' is for kind label or labels") }
        let nodes = node.mapping.map { $0.map(\.key) } ?? node.sequence.map { Array($0) } ?? []
        guard !nodes.isEmpty else {
            throw error(node, "'output.labels' must be a list of labels, or labels with what they mean")
        }
        var seen: Set<String> = []
        return try nodes.map { node in
            guard let label = node.scalar?.string, !label.isEmpty else { throw error(node, "a label must be text") }
            guard seen.insert(label).inserted else { throw error(node, "the label '\(label)' occurs twice") }
            return label
        }
    }

    /// What labels mean, where they are keys of a mapping.
    private func descriptions(_ output: Section) throws -> [String: String]? {
        guard let mapping = output.node("labels")?.mapping else { return nil }
        var result: [String: String] = [:]
        for (key, value) in mapping {
            guard let label = key.scalar?.string, let text = value.scalar?.string else {
                throw error(value, "what a label means must be text")
            }
            if !text.isEmpty { result[label] = text }
        }
        return result
    }

    private func schema(_ output: Section, of task: TaskDefinition) throws -> AnswerSchema? {
        guard let path = try output.automatic("schema", { try $0.string($1) }), let node = output.node("schema") else {
            return nil
        }
        guard task.kind.isJSON else { throw error(node, "'output.schema' is for kind json or tool") }
        let url = task.url(path)
        guard FileManager.default.isReadableFile(atPath: url.path) else {
            throw error(node, "'output.schema' names '\(path)', which is not a readable file")
        }
        return try AnswerSchema(contentsOf: url, kind: task.kind)
    }

    private func adaptation(_ teacher: Section?) throws -> TaskDefinition.Adaptation? {
        guard
            let section = try teacher?.section(
                "adapt", keys: ["method", "epochs", "rank", "rate", "members", "domain", "self_training"])
        else {
            return nil
        }
        return .init(
            method: try section.choice("method", TaskDefinition.Adaptation.Method.self) ?? .lora,
            epochs: try section.automatic("epochs", { try $0.number($1, 0.01...1000) }),
            rank: try section.integer("rank", 1...256) ?? 16,
            rate: try section.number("rate", 1e-7...1) ?? 1e-3,
            members: try section.automatic("members", { try $0.integer($1, 1...16) }),
            domain: try section.automatic("domain", { try $0.number($1, 0...100) }),
            selfTraining: try section.number("self_training", 0...100) ?? 0)
    }
}

/// How alike two words are.
enum Similarity {
    /// The word nearest to `word`, when it is near enough to be a slip of the pen.
    static func nearest(_ word: String, in known: [String]) -> String? {
        let distance = EditDistance(Array(word.unicodeScalars))
        let best = known.map { (distance.edits(to: Array($0.unicodeScalars)), $0) }.min { $0.0 < $1.0 }
        guard let best, best.0 <= max(1, word.count / 3) else { return nil }
        return best.1
    }
}
