internal import ArgumentParser
internal import Distillation
internal import Foundation
internal import Tensors

struct Predict: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a student answer.",
        discussion: """
            Input: JSON lines with "input", or plain lines of text. Output: one JSON object a line, in the same order: \
            {"output": …, "confidence": …, "by": "student"}.
            """)

    @Option(help: "A student package.") var student: String
    @Option(help: "A file; standard input when left out.") var input: String?
    @Option(help: "A file; standard output when left out.") var output: String?
    @Option(help: "Threads; 0: one for each core.") var threads = 0

    func validate() throws {
        guard threads >= 0, threads <= 1024 else { throw ValidationError("--threads must be 0 to 1024.") }
    }

    func run() throws {
        let package = try StudentPackage(folder: URL(fileURLWithPath: student))
        let pool = threads == 0 ? WorkerPool() : WorkerPool(threadCount: threads)
        let model = try package.model(pool: pool)
        let calibration = try Calibration(package: package.folder)
        let alternatives = calibration?.needsProbabilities == true ? package.format.labels.count : 0
        let data: Data
        if let input {
            guard let contents = FileManager.default.contents(atPath: input) else {
                throw TaskError("no such file, or not readable", file: input)
            }
            data = contents
        } else {
            data = FileHandle.standardInput.readDataToEndOfFile()
        }
        let inputs = try PredictionInput.read(data, file: input ?? "standard input")
        var text = ""
        // Parts, so that a long file needs no more memory than a short one for its tokens.
        for start in stride(from: 0, to: inputs.count, by: 1024) {
            let part = Array(inputs[start..<min(start + 1024, inputs.count)])
            for var answer in try model.answer(part, alternatives: alternatives) {
                if let calibration { answer.confidence = calibration.confidence(answer, kind: package.format.kind) }
                text += PredictionInput.line(answer, kind: package.format.kind) + "\n"
            }
            if output == nil {
                Terminal.write(text)
                text = ""
            }
        }
        guard let output else { return }
        do {
            try Data(text.utf8).write(to: URL(fileURLWithPath: output), options: .atomic)
        } catch {
            throw TaskError("cannot be written: \(error.localizedDescription)", file: output)
        }
    }
}
