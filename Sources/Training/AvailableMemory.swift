package import Foundation

/// How much memory this process may still take.
package enum AvailableMemory {
    /// The least of what the system has left and what the process's control groups leave of their limits, in bytes;
    /// nil where neither is known.
    ///
    /// - Parameter root: the folder in which `proc` and `sys` are.
    package static func bytes(root: URL = URL(fileURLWithPath: "/")) -> Int? {
        ([system(root)] + groups(root)).compactMap { $0 }.min()
    }

    /// `MemAvailable` of /proc/meminfo.
    private static func system(_ root: URL) -> Int? {
        guard let line = lines(root, "proc/meminfo").first(where: { $0.hasPrefix("MemAvailable:") }) else { return nil }
        return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
    }

    /// What is left in each group with a limit, from the process's own up to the root; versions 2 and 1.
    private static func groups(_ root: URL) -> [Int?] {
        var found: [Int?] = []
        for line in lines(root, "proc/self/cgroup") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let second = parts[1].isEmpty
            guard second || parts[1].split(separator: ",").contains("memory") else { continue }
            let mount = second ? "sys/fs/cgroup" : "sys/fs/cgroup/memory"
            let (limit, usage) =
                second ? ("memory.max", "memory.current") : ("memory.limit_in_bytes", "memory.usage_in_bytes")
            let names = parts[2].split(separator: "/").filter { $0 != ".." }
            for depth in 0...names.count {
                let folder = ([mount] + names.prefix(depth).map(String.init)).joined(separator: "/")
                guard let most = number(root, folder + "/" + limit), let used = number(root, folder + "/" + usage)
                else { continue }
                // Pages of files are given back when memory is short.
                let files = lines(root, folder + "/memory.stat").first {
                    $0.hasPrefix(second ? "inactive_file " : "total_inactive_file ")
                }
                let reclaimable = files?.split(separator: " ").last.flatMap { Int($0) } ?? 0
                found.append(max(0, most - max(0, used - reclaimable)))
            }
        }
        return found
    }

    private static func number(_ root: URL, _ path: String) -> Int? {
        lines(root, path).first.flatMap { Int($0) }
    }

    private static func lines(_ root: URL, _ path: String) -> [Substring] {
        guard let text = try? String(contentsOf: root.appendingPathComponent(path), encoding: .utf8) else { return [] }
        return text.split(separator: "\n")
    }
}
