internal import Foundation

/// The proof as a table of plain text.
public struct ProofTable: Sendable, CustomStringConvertible {
    private let rows: [[String]]

    public init(_ certificate: Certificate) {
        let metric = certificate.systems.student.metric
        let header = [
            "system", metric, "interval", "p50", "p95", "requests/s", "tokens in+out", "active", "MB", "$/million",
        ]
        let own = certificate.systems.all.map { system -> [String] in
            [
                system.name, Format.quality(system.value),
                "\(Format.quality(system.interval[0]))–\(Format.quality(system.interval[1]))",
                Format.milliseconds(system.p50Milliseconds), Format.milliseconds(system.p95Milliseconds),
                String(format: system.requestsPerSecond < 100 ? "%.1f" : "%.0f", system.requestsPerSecond),
                system.inputTokens > 0 ? String(format: "%.0f+%.0f", system.inputTokens, system.outputTokens) : "–",
                system.activeParameters > 0 ? Format.count(system.activeParameters) : "–",
                system.megabytes > 0 ? String(format: "%.1f", system.megabytes) : "–",
                Format.dollars(system.usdPerMillionRequests).dropFirst() + (system.isPriced ? "*" : ""),
            ]
        }
        rows = [header] + own
    }

    public var description: String {
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            row.enumerated().map { column, cell in
                let space = String(repeating: " ", count: widths[column] - cell.count)
                return column == 0 ? cell + space : space + cell
            }.joined(separator: "  ")
        }
        return lines.joined(separator: "\n")
    }
}
