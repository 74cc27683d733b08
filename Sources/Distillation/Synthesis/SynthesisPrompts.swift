internal import Tensors
internal import Tokenizers

/// What a teacher is asked for, method by method. The same task, seed and round ask the same, so that what is stored
/// answers it.
package struct SynthesisPrompts: Sendable {
    /// Changes when the same is asked for in other words.
    package static let version = "2"

    private let task: TaskDefinition
    private let labels: [String]
    private let gold: [Example]
    /// What evolves: the gold's inputs and the unlabelled ones.
    private let inputs: [String]
    private let targets: BackwardTargets
    /// The gold whose inputs are conversations: its answers, and each conversation.
    private let dialogues: (targets: BackwardTargets, conversations: [Conversation])

    package init(_ task: TaskDefinition, labels: [String], gold: [Example], inputs: [String]) {
        self.task = task
        self.labels = labels
        self.gold = gold
        self.inputs = gold.map(\.input) + inputs
        let targeted = labels.filter { $0 != task.abstain }
        targets = BackwardTargets(gold, kind: task.kind, labels: targeted)
        let told = gold.compactMap { row in Conversation(row.input).map { (row, $0) } }
        dialogues = (BackwardTargets(told.map(\.0), kind: task.kind, labels: targeted), told.map(\.1))
    }

    /// Whether a method goes with the task; why not otherwise.
    package func obstacle(to method: SynthesisMethod) -> String? {
        switch method {
        case .outOfScope where task.abstain == nil: "out_of_scope needs 'output.abstain', the label for it"
        case .dialogue where dialogues.conversations.isEmpty:
            "dialogue needs gold whose inputs are conversations, lists of messages with OpenAI's roles"
        default: nil
        }
    }

    /// Requests for about `rows` rows.
    ///
    /// - Parameter round: later ones ask for something else.
    package func requests(_ method: SynthesisMethod, rows: Int, round: Int) -> [SynthesisRequest] {
        guard rows > 0, !gold.isEmpty else { return [] }
        var random = RandomNumbers(
            seed: UInt64(task.training.seed) &+ ContentKey(of: "\(method.rawValue) \(round)").number)
        let perRequest =
            switch method {
            case .evolve, .paraphrase, .dialogue: 2
            case .persona: 3
            default: 4
            }
        return (0..<((rows + perRequest - 1) / perRequest)).map { number in
            request(method, number: number, count: perRequest, random: &random)
        }
    }

    private func request(
        _ method: SynthesisMethod, number: Int, count: Int, random: inout RandomNumbers
    ) -> SynthesisRequest {
        // Within what every endpoint takes as a seed.
        let seed = random.below(1 << 31)
        func draw(_ count: Int) -> [Example] { Array(gold.shuffled(using: &random).prefix(count)) }
        func build(
            _ variant: String, _ shown: [Example], _ wish: String, expected: String? = nil, quoting: String? = nil
        ) -> SynthesisRequest {
            var user = ""
            if !shown.isEmpty { user += "Examples:\n" + shown.map(line).joined(separator: "\n") + "\n\n" }
            if let quoting { user += "The input:\n" + quoting + "\n\n" }
            return SynthesisRequest(
                method: method, variant: variant, system: system, user: user + wish + "\n" + form(expected: expected),
                seed: seed, parents: shown.map(\.input) + (quoting.map { [$0] } ?? []), expected: expected, count: count
            )
        }
        func form(expected: String?) -> String {
            let input = method == .dialogue ? "[{\"role\": \"user\", \"content\": …}, …]" : "…"
            let output = expected == nil ? ", \"output\": …" : ""
            return
                "Answer with one JSON object and nothing else: {\"rows\": [{\"input\": \(input)\(output)}, …]}"
        }
        switch method {
        case .instruct:
            return build(
                "examples", draw(8),
                "Write \(count) new inputs of this kind with their answers. They differ in topic, words, length and tone from the examples and from each other."
            )
        case .evolve:
            let step = Evolution.allCases[number % Evolution.allCases.count]
            return build(
                step.rawValue, draw(3),
                "Rewrite the input in \(count) ways: \(step.wish) It stays something the same kind of person would write. Give the answer to each.",
                quoting: inputs[random.below(inputs.count)])
        case .persona:
            let persona = Self.personas[(number + random.below(Self.personas.count)) % Self.personas.count]
            return build(
                persona, draw(4),
                "Write \(count) new inputs as \(persona) would write them, with their answers. Do not mention who writes."
            )
        case .backward:
            let target = targets.target(number, random: &random)
            return build(
                target.name, target.examples,
                "Write \(count) new inputs whose answer is exactly this:\n\(target.answer)\nThey differ in words, length and tone from the examples and from each other.",
                expected: target.answer)
        case .paraphrase:
            let row = gold[random.below(gold.count)]
            return build(
                "words", [],
                "Say the same in \(count) other ways. Its answer is and must stay:\n\(row.output)\nKeep names, numbers and dates as they are.",
                expected: row.output, quoting: row.input)
        case .dialogue:
            let target = dialogues.targets.target(number, random: &random)
            let model = dialogues.conversations[random.below(dialogues.conversations.count)]
            let roles = model.messages.reduce(into: [String]()) { if !$0.contains($1.role) { $0.append($1.role) } }
            let trace =
                roles.contains("tool") ? " Messages of the role tool are what a tool gave back." : ""
            return build(
                target.name, target.examples,
                "Write \(count) new conversations of about \(model.messages.count) messages (roles: \(roles.joined(separator: ", "))), after which the system's answer is exactly this:\n\(target.answer)\nWhat it depends on may stand in several messages; the last one is not the assistant's.\(trace) They differ in topic, words and tone from the examples and from each other.",
                expected: target.answer)
        case .outOfScope:
            let inScope = draw(16).filter { $0.output != task.abstain }.prefix(6)
            return build(
                "near", Array(inScope),
                "Write \(count) inputs that the same people might send by mistake: near these in topic or words, but none of the listed answers fits them.",
                expected: task.abstain)
        case .noise:
            preconditionFailure("SynthesisPrompts: noise asks no teacher")
        }
    }

    private var system: String {
        var text =
            "You write realistic inputs for testing a system. This is the system's job:\n\(task.instruction)\n"
        if !labels.isEmpty {
            text += "Its possible answers: " + labels.map(task.described).joined(separator: ", ") + "\n"
        }
        if let schema = task.schema { text += "JSON Schema of its answers: \(schema.rawValue)\n" }
        return text + "Write as its users do. Invent names and numbers; never use those of real people."
    }

    private func line(_ example: Example) -> String {
        let input = Conversation(example.input)?.json ?? .string(example.input)
        return JSONValue.object([("input", input), ("output", task.kind.value(of: example.output))]).text
    }

    /// What evolution does to an input.
    private enum Evolution: String, CaseIterable {
        case constraint
        case depth
        case concreteness
        case breadth

        var wish: String {
            switch self {
            case .constraint: "add one more condition or requirement."
            case .depth: "make it harder: it takes one more step of thought to answer rightly."
            case .concreteness: "replace what is general by something concrete."
            case .breadth: "move it to a related but rarer matter of the same domain."
            }
        }
    }

    private static let personas = [
        "somebody in a hurry who types on a phone", "an elderly person who explains everything",
        "a student with little money", "a polite business customer", "an angry customer who was let down before",
        "somebody whose English is not fluent", "a technician who uses jargon",
        "a parent who does three things at once", "a shop owner who asks for the firm", "a traveller abroad",
        "somebody who has never done this before", "somebody who thinks they know better",
        "a person who writes in fragments", "a night-shift worker", "somebody who asks on behalf of a friend",
        "a lawyer who is exact", "a teenager who uses slang", "somebody who apologises for asking",
        "a person who mixes up names of things", "an accountant who gives figures",
        "somebody who mentions what happened before", "a farmer in the country", "a nurse on a break",
        "somebody who is testing the service",
    ]
}

extension ContentKey {
    /// The first eight bytes as a number.
    var number: UInt64 { bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } }
}

/// Answers to write inputs for, the rarest first.
struct BackwardTargets: Sendable {
    struct Target: Sendable {
        var name: String
        var answer: String
        var examples: [Example]
    }

    private let kind: TaskDefinition.OutputKind
    /// Labels, or shapes of JSON, or one group of all texts; with their rows; rarest first.
    private let groups: [(name: String, rows: [Example])]
    /// Of the answers that have a key, the share that copies its value from the input: then it is a slot.
    private static let copiedShare = 0.95
    /// For each slot the values that answers copy from their inputs.
    private let slots: [String: [String]]

    init(_ gold: [Example], kind: TaskDefinition.OutputKind, labels: [String]) {
        self.kind = kind
        var groups: [String: [Example]] = [:]
        if kind.hasLabels { for label in labels { groups[label] = [] } }
        var slots: [String: Set<String>] = [:]
        var seen: [String: Int] = [:]
        var copies: [String: Int] = [:]
        for row in gold {
            switch kind {
            case .label where groups[row.output] == nil: continue
            case .label: groups[row.output]!.append(row)
            case .labels:
                let own = LabelSet.labels(row.output)
                for label in own.isEmpty ? ["none"] : own { groups[label, default: []].append(row) }
            case .text: groups["text", default: []].append(row)
            case .json, .tool:
                guard let value = try? JSONParser.parse(row.output.utf8) else { continue }
                let tool = kind == .tool ? value["name"]?.stringValue ?? "" : ""
                groups[tool + Self.shape(value), default: []].append(row)
                let slotted = Self.slotted(value, kind: kind)
                if case .object(let members) = slotted { for member in members { seen[member.key, default: 0] += 1 } }
                for (key, text) in Self.copied(slotted, from: row.input) {
                    slots[key, default: []].insert(text)
                    copies[key, default: 0] += 1
                }
            }
        }
        self.groups = groups.map { (name: $0.key, rows: $0.value) }
            .sorted { ($0.rows.count, $0.name) < ($1.rows.count, $1.name) }
        // A word that is copied now and then is a choice that the input happens to name.
        self.slots = slots.filter { key, _ in Double(copies[key] ?? 0) >= Self.copiedShare * Double(seen[key] ?? 0) }
            .mapValues { $0.sorted() }
    }

    /// The target of a request: group by group, the rarest first, so that all are reached and the rare ones most often.
    func target(_ number: Int, random: inout RandomNumbers) -> Target {
        guard !groups.isEmpty else { return Target(name: "", answer: "", examples: []) }
        let group = groups[number % groups.count]
        let rows = group.rows.shuffled(using: &random)
        switch kind {
        case .label: return Target(name: group.name, answer: group.name, examples: Array(rows.prefix(4)))
        case .labels where rows.isEmpty:
            return Target(name: group.name, answer: LabelSet.text([group.name], order: []), examples: [])
        case .labels, .text:
            return Target(name: group.name, answer: rows[0].output, examples: Array(rows.dropFirst().prefix(3)))
        case .json, .tool:
            return Target(
                name: group.name, answer: exchanged(rows[0], random: &random), examples: Array(rows.prefix(3)))
        }
    }

    /// The row's answer with the values it copies exchanged for those that other answers have at the same key.
    private func exchanged(_ row: Example, random: inout RandomNumbers) -> String {
        guard let value = try? JSONParser.parse(row.output.utf8),
            case .object(let members) = Self.slotted(value, kind: kind)
        else { return row.output }
        let copied = Set(Self.copied(.object(members), from: row.input).map(\.key))
        let changed = JSONValue.object(
            members.map { key, value in
                guard copied.contains(key), let values = slots[key], !values.isEmpty else { return (key, value) }
                return (key, .string(values[random.below(values.count)]))
            })
        guard kind == .tool, let name = value["name"] else { return changed.text }
        return JSONValue.object([("name", name), ("arguments", changed)]).text
    }

    /// The object whose values may be copied: of a call its arguments.
    private static func slotted(_ value: JSONValue, kind: TaskDefinition.OutputKind) -> JSONValue {
        kind == .tool ? value["arguments"] ?? value : value
    }

    /// The top-level strings of an object that stand in its input.
    private static func copied(_ value: JSONValue, from input: String) -> [(key: String, text: String)] {
        guard case .object(let members) = value else { return [] }
        return members.compactMap { key, value in
            value.stringValue.flatMap { $0.count > 1 && input.contains($0) ? (key, $0) : nil }
        }
    }

    /// The keys of a value, at any depth, such as `{account,amount,intent}`.
    private static func shape(_ value: JSONValue) -> String {
        switch value {
        case .object(let members):
            "{" + members.map { "\($0.key)\(shape($0.value))" }.sorted().joined(separator: ",") + "}"
        case .array(let values): "[" + Set(values.map(shape)).sorted().joined(separator: ",") + "]"
        default: ""
        }
    }
}
