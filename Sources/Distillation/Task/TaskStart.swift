internal import Yams

extension TaskReader {
    /// `student.start` and what goes with it, checked.
    func start(_ student: Section?, _ experts: Section?, _ task: inout TaskDefinition) throws {
        let start = try student?.choice("start", TaskDefinition.Student.Start.self) ?? .carve
        if start != .upcycle, let node = experts?.node("copies") {
            throw error(node, "'student.experts.copies' is for student.start upcycle")
        }
        if start != .scratch, let node = student?.node("width") {
            throw error(node, "'student.width' is for student.start scratch")
        }
        if start != .package, let node = student?.node("package") {
            throw error(node, "'student.package' is for student.start package")
        }
        if let node = student?.node("steps"), try student?.integer("steps", 1...2) == 2 {
            guard start == .carve || start == .upcycle else {
                throw error(node, "'student.steps' is for student.start carve and upcycle")
            }
            task.student.steps = 2
        }
        if try student?.boolean("prune") == true { task.student.prunes = true }
        switch start {
        // As if nothing had been said.
        case .carve: return
        case .upcycle:
            let copies = try experts?.integer("copies", 2...64) ?? 2
            if experts?.node("routed") == nil { task.student.routed = 3 * copies }
            if experts?.node("active") == nil { task.student.active = task.student.routed / copies }
            guard task.student.routed % copies == 0 else {
                throw TaskError(
                    "'student.experts.routed' (\(task.student.routed)) must be a multiple of 'copies' (\(copies))",
                    file: file, line: experts?.line ?? student?.line)
            }
            task.student.copies = copies
        case .scratch: task.student.width = try student?.integer("width", 32...8192) ?? 256
        case .package:
            for key in ["layers", "experts"] {
                if let node = student?.node(key) {
                    throw error(node, "'student.\(key)' does not go with student.start package, whose shape stays")
                }
            }
            guard let package = try student?.string("package") else {
                throw TaskError(
                    "'student.package' is missing: the folder of the student to go on from", file: file,
                    line: student?.line)
            }
            do { _ = try StudentPackage(folder: task.url(package)) } catch let failure as TaskError {
                throw TaskError("'student.package': \(failure)", file: file, line: student?.line)
            }
            task.student.package = package
        }
        task.student.start = start
    }
}
