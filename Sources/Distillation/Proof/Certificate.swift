internal import Foundation

/// What a run measured, and the verdict: the contents of `certificate.json`.
public struct Certificate: Sendable, Codable {
    /// One system's figures on the test set.
    public struct SystemMeasurement: Sendable, Codable {
        public var name: String
        public var metric: String
        public var value: Double
        /// Low and high end.
        public var interval: [Double]
        public var p50Milliseconds: Double
        public var p95Milliseconds: Double
        /// Many requests together, all threads.
        public var requestsPerSecond: Double
        /// Means a request.
        public var inputTokens: Double
        public var outputTokens: Double
        public var parameters: Int
        public var activeParameters: Int
        public var megabytes: Double
        public var usdPerMillionRequests: Double
        /// Whether the cost is the task's price for tokens, not this machine's time.
        public var isPriced: Bool
        /// How far its confidences are what they say; nil where they are not calibrated.
        public var calibration: CalibrationMeasurement?
    }

    public struct Systems: Sendable, Codable {
        public var teacher: SystemMeasurement?
        public var adaptedTeacher: SystemMeasurement?
        public var student: SystemMeasurement
        public var baseline: SystemMeasurement

        /// In the order of the proof's table.
        public var all: [SystemMeasurement] { [teacher, adaptedTeacher].compactMap { $0 } + [student, baseline] }
    }

    public struct Quality: Sendable, Codable {
        /// What the student is held against.
        public var reference: String
        /// Share of the reference's quality that must be kept.
        public var retain: Double
        /// Share that was kept.
        public var kept: Double
        public var confidence: Double
        /// Lower end of student − retain · reference at this confidence (paired bootstrap); at least 0 passes.
        public var margin: Double
    }

    public struct DataSet: Sendable, Codable {
        public var name: String
        public var rows: Int
        public var sha256: String
    }

    public struct Costs: Sendable, Codable {
        public var teachingUSD: Double
        public var usdSavedPerDay: Double
        /// nil: never.
        public var breakEvenDays: Double?
    }

    public var version = 1
    public var task: String
    public var industry: String?
    public var kind: String
    /// `ship` or `do not ship`.
    public var verdict: String
    public var sentence: String
    public var reasons: [String]
    public var systems: Systems
    public var quality: Quality
    public var testRows: Int
    public var data: [DataSet]
    public var costs: Costs
    public var seed: Int
    public var program: String
    public var machine: String
    public var threads: Int
    public var trainingSeconds: Double
    public var trainingTokens: Int
    /// `fp32`, `bf16` or `int16`, what the operands of the last update's products were rounded to; nil in earlier certificates.
    public var trainingPrecision: String?
    public var created: String

    public var ships: Bool { verdict == "ship" }
}
