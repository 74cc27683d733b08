public import Foundation
public import Training

/// A narrow job, as `task.yaml` describes it.
public struct TaskDefinition: Sendable, Hashable, Codable {
    /// How a run judges answers.
    public enum Metric: String, Sendable, Hashable, Codable, CaseIterable {
        /// Share of right labels, or of right sets of them.
        case accuracy
        /// F1 averaged over the labels.
        case macroF1 = "macro_f1"
        /// Share of answers that equal the gold: as text, or as JSON values.
        case exact
    }

    public struct Adaptation: Sendable, Hashable, Codable {
        /// Both give the same weights: `qlora` keeps the frozen ones as they are stored and needs less memory.
        public enum Method: String, Sendable, Hashable, Codable, CaseIterable {
            case lora, qlora
        }

        public var method: Method
        /// Passes over the gold; nil: as many as its rows and their kind call for.
        public var epochs: Double?
        public var rank: Int
        public var rate: Double
        /// Teachers that are fitted from different seeds and answer together; nil: as many as few examples call for.
        public var members: Int?
        /// Passes over the inputs as text before the gold; nil: one where there are many more inputs than gold.
        public var domain: Double?
        /// Passes over the inputs with the teachers' own labels, after which the one fitted to them is the teacher.
        public var selfTraining: Double
    }

    public struct Student: Sendable, Hashable, Codable {
        /// Catalogue name or path of the open model it is carved from.
        public var base: String
        /// nil: as many as the budget of active parameters allows.
        public var layers: Int?
        public var routed: Int
        public var shared: Int
        public var active: Int
        /// Where its first weights come from; nil: they are carved out of the base.
        public var start: Start?
        /// Copies of each shard of a feed-forward layer, of an upcycled student.
        public var copies: Int?
        /// Of a student from scratch.
        public var width: Int?
        /// The folder of the student to go on from.
        public var package: String?
        /// 2: a dense model half-way is carved and taught first, and the student carved out of that.
        public var steps: Int?
        /// true: routed experts that are hardly ever chosen are left out after the training.
        public var prunes: Bool?

        public enum Start: String, Sendable, Hashable, Codable, CaseIterable {
            case carve
            /// Every feed-forward layer in shards, each several times.
            case upcycle
            /// Drawn.
            case scratch
            /// An earlier student's.
            case package
        }
    }

    public typealias Optimizer = TrainingOptions.Optimizer
    public typealias Schedule = TrainingOptions.Schedule

    public struct Training: Sendable, Hashable, Codable {
        /// nil: as many as the budget of arithmetic allows.
        public var epochs: Double?
        /// Rows an update; nil: what the number of updates calls for.
        public var batch: Int?
        public var rate: Double
        public var seed: Int
        /// Stop for time: epochs are cut to what fits, measured at the start.
        public var minutes: Double?
        /// nil: AdamW.
        public var optimizer: Optimizer?
        /// nil: cosine.
        public var schedule: Schedule?
        /// Whether activations are computed again instead of kept: less memory, the same student. nil: no.
        public var recompute: Bool?
        /// What products are rounded to, the teacher's adapting included; nil: left to the program.
        public var precision: Precision?
        /// Rows of a forward and backward pass, whose gradients are added until the batch is whole; nil: all of it.
        public var microBatch: Int?
        /// Validations in a row without a better loss after which training ends; nil: it never ends early.
        public var patience: Int?
        /// true: the learning rate is found by a range test instead of `rate`.
        public var findsRate: Bool?
        /// nil: the cross-entropy to a mixture, half of it the teacher's.
        public var loss: Loss?
        /// What the distance from the adapted teacher's last hidden states counts; nil: nothing.
        public var hidden: Double?
        /// true: rows of rare labels count more.
        public var balances: Bool?
        /// Share of every target that is spread over the vocabulary; nil: none.
        public var labelSmoothing: Double?
        /// nil: none.
        public var averaging: Averaging?
        /// nil: by a loss.
        public var router: RouterBalance?
        /// Phases after the training; nil: none.
        public var onPolicy: OnPolicy?
        public var preference: Preference?
    }

    public struct Economics: Sendable, Hashable, Codable {
        public var usdPerMillionInput: Double
        public var usdPerMillionOutput: Double
        public var usdPerCoreHour: Double
        public var requestsPerDay: Double
        public var usdPerRequest: Double
    }

    public var name: String
    public var industry: String?
    public var instruction: String
    public var kind: OutputKind
    /// Empty: taken from the training answers.
    public var labels: [String]
    /// What labels mean, for a teacher that is told; nil: they say it themselves.
    public var descriptions: [String: String]?
    /// What JSON answers and tool calls must be; nil: any.
    public var schema: AnswerSchema?
    /// The label of what lies outside the task; nil: there is none.
    public var abstain: String?
    public var inputs: String?
    public var train: String?
    public var validation: String?
    public var test: String?
    public var recorded: String?
    /// Inputs that the student's base writes after those of the gold, for an adapted teacher to answer; nil: as many as
    /// the unlabelled ones are too few.
    public var written: Int?
    /// Inputs made of parts and words of others, for an adapted teacher to give labels; nil: as many as the unlabelled ones
    /// are too few.
    public var varied: Int?
    /// Catalogue name or path; nil: learn from the recorded answers and the gold alone.
    public var teacher: String?
    public var adaptation: Adaptation?
    /// A teacher behind OpenAI's API instead of a local one.
    public var endpoint: Endpoint?
    public var budget: Budget?
    /// More teachers beside `endpoint`; nil: it is the only one.
    public var panel: Panel?
    /// nil: a teacher's confidence is taken as it is.
    public var trust: Trust?
    /// nil: all inputs, as they come.
    public var labelling: Labelling?
    /// Rows to make up and to learn from; nil: none.
    public var synthesis: Synthesis?
    public var student: Student
    public var training: Training
    public var metric: Metric
    /// The share of the teacher's quality the student must keep.
    public var retain: Double
    public var confidence: Double
    public var economics: Economics
    /// The folder the files are relative to.
    public var folder: URL

    /// What answers must be, as far as the task says it.
    var form: AnswerForm { AnswerForm(kind: kind, labels: labels, schema: schema) }

    /// A label as a teacher is told of it.
    func described(_ label: String) -> String { descriptions?[label].map { "\(label): \($0)" } ?? label }

    /// Where a file of the task is.
    public func url(_ path: String) -> URL {
        path.hasPrefix("/") ? URL(fileURLWithPath: path) : folder.appendingPathComponent(path).standardizedFileURL
    }
}
