internal import Dispatch
internal import Foundation
internal import Synchronization
internal import Tensors
package import Training

/// Processes that are threads of this one.
package final class ThreadGroup: Sendable {
    private struct Board {
        var message: [UInt8] = []
        var values: [[Float]]
        var numbers: [[Double]]
        var bytes: [[UInt8]]
        var calls = 0
    }

    package let size: Int
    private let board: Mutex<Board>
    private let barrier: Barrier

    package init(_ size: Int) {
        self.size = size
        board = Mutex(
            Board(
                values: .init(repeating: [], count: size), numbers: .init(repeating: [], count: size),
                bytes: .init(repeating: [], count: size)))
        barrier = Barrier(size)
    }

    package var members: [Member] { (0..<size).map { Member(threads: self, rank: $0) } }
    /// Sums over all members so far.
    package var calls: Int { board.withLock { $0.calls } }

    /// Lets the other members help.
    package func help(_ helpers: @escaping @Sendable () -> [any GroupHelper]) -> Helpers {
        let done = DispatchGroup()
        for member in members.dropFirst() {
            DispatchQueue(label: "rank \(member.rank)").async(group: done) {
                GroupWorker.run(member, helpers: helpers())
            }
        }
        return Helpers(group: self, done: done)
    }

    package struct Helpers {
        fileprivate let group: ThreadGroup
        fileprivate let done: DispatchGroup

        /// Returns when all have ended.
        package func end() {
            if group.size > 1 { GroupWorker.end(group.members[0]) }
            done.wait()
        }
    }

    package final class Member: ProcessGroup {
        private let threads: ThreadGroup
        package let rank: Int
        package var size: Int { threads.size }

        init(threads: ThreadGroup, rank: Int) {
            self.threads = threads
            self.rank = rank
        }

        package func announce(_ message: [UInt8]) -> [UInt8] {
            if rank == 0 { threads.board.withLock { $0.message = message } }
            threads.barrier.wait()
            defer { threads.barrier.wait() }
            return threads.board.withLock { $0.message }
        }

        package func broadcast(_ values: Floats, count: Int) {
            if rank == 0 {
                threads.board.withLock { $0.values[0] = Array(UnsafeBufferPointer(start: values, count: count)) }
            }
            threads.barrier.wait()
            defer { threads.barrier.wait() }
            threads.board.withLock { values.update(from: $0.values[0], count: count) }
        }

        package func sum(_ values: Floats, count: Int) {
            threads.board.withLock {
                $0.values[rank] = Array(UnsafeBufferPointer(start: values, count: count))
                $0.calls += 1
            }
            threads.barrier.wait()
            defer { threads.barrier.wait() }
            guard rank == 0 else { return }
            threads.board.withLock { board in
                for other in 1..<size {
                    for index in 0..<count { values[index] += board.values[other][index] }
                }
            }
        }

        package func gather(_ values: [Double]) -> [[Double]] {
            threads.board.withLock { $0.numbers[rank] = values }
            threads.barrier.wait()
            defer { threads.barrier.wait() }
            return rank == 0 ? threads.board.withLock { $0.numbers } : []
        }

        package func collect(_ bytes: [UInt8]) -> [[UInt8]] {
            threads.board.withLock { $0.bytes[rank] = bytes }
            threads.barrier.wait()
            defer { threads.barrier.wait() }
            return rank == 0 ? threads.board.withLock { $0.bytes } : []
        }
    }

    private final class Barrier: @unchecked Sendable {
        private let condition = NSCondition()
        private let count: Int
        private var waiting = 0
        private var round = 0

        init(_ count: Int) { self.count = count }

        func wait() {
            condition.lock()
            defer { condition.unlock() }
            waiting += 1
            if waiting == count {
                waiting = 0
                round += 1
                condition.broadcast()
            } else {
                let own = round
                while own == round { condition.wait() }
            }
        }
    }
}
