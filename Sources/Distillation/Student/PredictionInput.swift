package import Foundation
internal import Tokenizers

/// Reads requests for `predict`, and writes its answers.
package enum PredictionInput {
    /// JSON lines with `input`, or plain lines where the first one is no JSON object.
    ///
    /// - Throws: ``TaskError`` with the line.
    package static func read(_ data: Data, file: String) throws -> [String] {
        let reader = RowReader(form: AnswerForm(kind: .text))
        let lines = data.split(separator: 0x0A, omittingEmptySubsequences: false)
        let isJSON =
            lines.first { !$0.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D } }
            .map { $0.first { $0 != 0x20 && $0 != 0x09 } == UInt8(ascii: "{") } ?? false
        if isJSON { return try reader.inputs(data, file: file) }
        return lines.enumerated().compactMap { index, line in
            if index == lines.count - 1, line.isEmpty { return nil }
            var text = String(decoding: line, as: UTF8.self)
            if text.hasSuffix("\r") { text.removeLast() }
            return text
        }
    }

    package static func line(_ answer: TaskAnswer, kind: TaskDefinition.OutputKind) -> String {
        let confidence = String(format: "%.6f", answer.confidence)
        return JSONValue.object([
            ("output", kind.value(of: answer.output)), ("confidence", .number(confidence)), ("by", .string("student")),
        ]).text
    }
}
