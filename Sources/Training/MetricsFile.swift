internal import Foundation

/// Keeps a file of JSON lines, one for each point of a training run's record, that grows while the run goes on.
///
/// A line says: `run` (the beginning of the run's key: several runs share a file), `step`, `loss` and `answerLoss` in
/// nats a target, `accuracy`, `rate`, `gradientNorm`, `tokensPerSecond`; `experts` (`maximumShare`, `dead`,
/// `routerEntropy` in nats, `shares`, `unused`) of a mixture; `validation`, where there was one since the line before; `rollback`, in the
/// first line after training went back. Lines depend on the record alone, so a resumed run writes what is missing.
struct MetricsFile {
    private struct Place: Decodable {
        var run: String
        var step: Int
    }

    private struct Line: Encodable {
        var run: String
        var point: TrainingRecord.Point
        var validation: TrainingRecord.Validation?
        var rollback: TrainingRecord.Rollback?

        enum Keys: CodingKey {
            case run, validation, rollback
        }

        func encode(to encoder: any Encoder) throws {
            try point.encode(to: encoder)
            var values = encoder.container(keyedBy: Keys.self)
            try values.encode(run, forKey: .run)
            try values.encodeIfPresent(validation, forKey: .validation)
            try values.encodeIfPresent(rollback, forKey: .rollback)
        }
    }

    private let file: URL
    private let run: String
    /// The step of the run's last line.
    private var written = 0

    init(_ file: URL, run: String) {
        self.file = file
        self.run = run
    }

    /// Removes the run's lines after a step (it was killed later than its checkpoint, or went back), and what isn't a
    /// whole line.
    ///
    /// - Throws: `TrainingError` when the file can't be written.
    mutating func cut(after step: Int) throws {
        written = 0
        guard let data = try? Data(contentsOf: file) else { return }
        var kept = Data()
        for line in data.split(separator: UInt8(ascii: "\n")) {
            guard let place = try? JSONDecoder().decode(Place.self, from: line) else { continue }
            if place.run == run {
                if place.step > step { continue }
                written = max(written, place.step)
            }
            kept += line + [UInt8(ascii: "\n")]
        }
        guard kept != data else { return }
        do { try kept.write(to: file, options: .atomic) } catch { throw failure(error) }
    }

    /// Appends the lines of the points that have none yet.
    ///
    /// - Throws: `TrainingError` when the file can't be written.
    mutating func append(_ record: TrainingRecord) throws {
        guard let last = record.points.last, last.step > written else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        do {
            var lines = Data()
            var before = 0
            for point in record.points {
                defer { before = point.step }
                guard point.step > written else { continue }
                let new = before + 1...point.step
                lines += try encoder.encode(
                    Line(
                        run: run, point: point, validation: record.validations.last { new.contains($0.step) },
                        rollback: record.rollbacks.last { new.contains($0.resumedFrom + 1) }))
                lines.append(UInt8(ascii: "\n"))
            }
            if !FileManager.default.fileExists(atPath: file.path) { try Data().write(to: file) }
            let handle = try FileHandle(forWritingTo: file)
            defer { try? handle.close() }
            try handle.seekToEnd()
            try handle.write(contentsOf: lines)
        } catch {
            throw failure(error)
        }
        written = last.step
    }

    private func failure(_ error: any Error) -> TrainingError {
        TrainingError(.metrics, "\(file.path): cannot write the metrics: \(error.localizedDescription)")
    }
}
