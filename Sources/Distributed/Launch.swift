internal import Foundation
package import Tensors
package import Training

/// How this process was started.
package enum Launch {
    private static let environment = ProcessInfo.processInfo.environment

    /// Processes that `mpirun` started; 1 without it.
    package static var processCount: Int { environment["OMPI_COMM_WORLD_SIZE"].flatMap(Int.init) ?? 1 }

    /// Threads for this process, so that those on one machine share its cores.
    package static var threadCount: Int {
        let cores = min(WorkerPool.defaultThreadCount, allowedCores)
        // A process that mpirun has bound to some cores has these for itself.
        if environment["OMPI_MCA_orte_bound_at_launch"] != nil { return cores }
        let local = environment["OMPI_COMM_WORLD_LOCAL_SIZE"].flatMap(Int.init) ?? 1
        return max(1, cores / max(1, local))
    }

    /// Cores that the system lets this process run on, by Linux's `Cpus_allowed`; all where it is not known.
    private static var allowedCores: Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed:") }) else {
            return .max
        }
        let digits = line.dropFirst("Cpus_allowed:".count).compactMap(\.hexDigitValue)
        return max(1, digits.reduce(0) { $0 + $1.nonzeroBitCount })
    }

    /// Runs `main` at rank 0 with the group of all processes, or nil where this one is alone; the others help until `main`
    /// has ended.
    ///
    /// - Parameters:
    ///   - threads: 0: ``threadCount``.
    ///   - helpers: what the others do.
    /// - Throws: `TrainingError` when `mpirun` started several processes of a program that is built without MPI.
    package static func run(
        threads: Int, helpers: (WorkerPool) -> [any GroupHelper], _ main: ((any ProcessGroup)?) async throws -> Void
    ) async throws {
        guard processCount > 1 else { return try await main(nil) }
        #if MPI
            let group = MPIProcessGroup()
            defer { group.end() }
            if group.rank > 0 {
                let pool = WorkerPool(threadCount: threads == 0 ? threadCount : threads)
                return GroupWorker.run(group, helpers: helpers(pool))
            }
            defer { GroupWorker.end(group) }
            try await main(group)
        #else
            throw TrainingError(
                .configuration,
                "mpirun started \(processCount) processes, but this program was built without MPI: build it with --traits MPI"
            )
        #endif
    }
}
