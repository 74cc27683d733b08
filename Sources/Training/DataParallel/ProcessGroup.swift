/// Processes that compute together, perhaps on several machines.
///
/// Every call is collective: all processes make the same calls in the same order, and rank 0 says what comes next. A
/// process that is lost ends all of them; the run then goes on from its checkpoint.
package protocol ProcessGroup: AnyObject, Sendable {
    /// This process's number, from 0.
    var rank: Int { get }
    var size: Int { get }

    /// Rank 0's message, at every process. The others may wait long for it and take no processor time meanwhile.
    ///
    /// - Parameter message: ignored but at rank 0.
    func announce(_ message: [UInt8]) -> [UInt8]

    /// Copies rank 0's values into those of the others.
    func broadcast(_ values: Floats, count: Int)

    /// Sets rank 0's values to the sum over all processes, added one by one in the order of their ranks; what the
    /// others' values are afterwards is undefined.
    func sum(_ values: Floats, count: Int)

    /// Numbers of all processes, by rank, at rank 0; nothing at the others. Each has as many.
    func gather(_ values: [Double]) -> [[Double]]

    /// Bytes of all processes, by rank, at rank 0; nothing at the others. Less than 2 GiB in all.
    func collect(_ bytes: [UInt8]) -> [[UInt8]]
}

extension ProcessGroup {
    /// Neighbouring pieces of work for each process, about as much for each; a process may get none.
    ///
    /// - Parameter work: of each piece, in any unit.
    package func shares(of work: [Int]) -> [Range<Int>] {
        let all = work.reduce(0, +)
        var ends = [Int](repeating: 0, count: size)
        var before = 0
        for (index, amount) in work.enumerated() {
            // Where the piece's middle lies says whose it is.
            ends[min(size - 1, (2 * before + amount) * size / max(1, 2 * all))] = index + 1
            before += amount
        }
        var start = 0
        return ends.map { end in
            defer { start = max(start, end) }
            return start..<max(start, end)
        }
    }
}
