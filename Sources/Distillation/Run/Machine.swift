internal import CKernels
internal import Foundation

/// What figures were measured on.
enum Machine {
    static var description: String {
        let information = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let model = information.split(separator: "\n").first { $0.hasPrefix("model name") }?
            .split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) }
        let kernels = String(cString: uk_isa_name(uk_isa_active()))
        return
            "\(ProcessInfo.processInfo.activeProcessorCount) cores, \(model ?? "unknown processor"), \(kernels) kernels"
    }
}
