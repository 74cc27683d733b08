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
}
