import Foundation
import GRDB

/// One number of a run at one step.
package struct MetricValue: Sendable, Equatable {
    package var step: Int
    package var name: String
    /// May be NaN or infinite; infinities come back as NaN.
    package var value: Double

    package init(step: Int, name: String, value: Double) {
        self.step = step
        self.name = name
        self.value = value
    }
}

extension Workspace {
    /// Stores numbers of a run, replacing those of the same step and name.
    /// - Throws: ``WorkspaceError``.
    package func record(_ values: [MetricValue], run: String) throws {
        guard !values.isEmpty else { return }
        try writing { db in
            let statement = try db.cachedStatement(
                sql: "INSERT OR REPLACE INTO metrics (run, name, step, value) VALUES (?, ?, ?, ?)")
            for value in values {
                let number: Double? = value.value.isFinite ? value.value : nil
                try statement.execute(arguments: [run, value.name, value.step, number])
            }
        }
    }

    /// A run's curves by name, each in the order of its steps.
    /// - Throws: ``WorkspaceError``.
    package func metrics(run: String) throws -> [String: [MetricValue]] {
        try reading { db in
            var curves: [String: [MetricValue]] = [:]
            let rows = try Row.fetchCursor(
                db, sql: "SELECT name, step, value FROM metrics WHERE run = ? ORDER BY name, step", arguments: [run])
            while let row = try rows.next() {
                guard let name = row.text("name"), let step = row.integer("step") else { continue }
                curves[name, default: []].append(
                    MetricValue(step: step, name: name, value: row.number("value") ?? .nan))
            }
            return curves
        }
    }

    /// The names of the runs that have numbers.
    /// - Throws: ``WorkspaceError``.
    package func metricRuns() throws -> [String] {
        try reading { db in
            try Row.fetchAll(db, sql: "SELECT DISTINCT run FROM metrics ORDER BY run").compactMap { $0.text("run") }
        }
    }

    /// Forgets a run's numbers after a step, for a run that goes on from an older checkpoint.
    /// - Parameter step: the last step to keep; nil: keep none.
    /// - Throws: ``WorkspaceError``.
    package func discardMetrics(run: String, after step: Int? = nil) throws {
        try writing { db in
            try db.execute(
                sql: "DELETE FROM metrics WHERE run = ? AND (? IS NULL OR step > ?)", arguments: [run, step, step])
        }
    }
}
