internal import CKernels
internal import Foundation
internal import Synchronization

/// Threads of our own that run one piece of arithmetic together: fork, work, join.
///
/// `run` hands out task numbers 0 ..< count to the calling thread and the workers, and returns when all are done.
/// Workers spin briefly for the next call and then sleep, so that a row of small products costs no system calls
/// and an idle process costs no processor time. Kernels never occupy Swift's cooperative threads beyond
/// the caller's own.
///
/// One `run` at a time: calls from several threads take turns.
public final class WorkerPool: Sendable {
    /// Threads that work together, the caller included.
    public let threadCount: Int
    private let shared: Shared

    /// Starts `threadCount - 1` workers; they end when the pool is released.
    public init(threadCount: Int = WorkerPool.defaultThreadCount) {
        precondition(threadCount >= 1, "WorkerPool needs at least one thread, got \(threadCount)")
        self.threadCount = threadCount
        shared = Shared()
        for index in 1..<max(threadCount, 1) {
            let shared = self.shared
            let thread = Thread { shared.work(thread: index) }
            thread.name = "understudy-worker-\(index)"
            thread.stackSize = 1 << 20
            thread.start()
        }
    }

    deinit {
        shared.stop()
    }

    /// The processor's cores, or UNDERSTUDY_THREADS where that is set.
    public static var defaultThreadCount: Int {
        if let text = ProcessInfo.processInfo.environment["UNDERSTUDY_THREADS"], let count = Int(text), count >= 1 {
            return min(count, 256)
        }
        return max(1, ProcessInfo.processInfo.activeProcessorCount)
    }

    /// Runs `body(task, thread)` for every task in 0 ..< count, each exactly once, in no fixed order.
    ///
    /// `thread` is in 0 ..< threadCount and tells apart the scratch of threads working at the same time.
    /// The body must not call `run` of the same pool.
    public func run(_ count: Int, _ body: (_ task: Int, _ thread: Int) -> Void) {
        if count <= 0 { return }
        if threadCount == 1 || count == 1 {
            shared.turn.withLock { _ in
                for task in 0..<count { body(task, 0) }
            }
            return
        }
        shared.turn.withLock { _ in
            withoutActuallyEscaping(body) { escaping in
                shared.fork(count: count, workers: threadCount - 1, body: escaping)
            }
        }
    }
}

/// What the pool and its workers share.
private final class Shared: Sendable {
    /// One fork-join at a time.
    let turn = Mutex(())
    /// Counts the calls; a worker that sees it change takes part in the new one.
    private let generation = Atomic<UInt64>(0)
    private let nextTask = Atomic<Int>(0)
    private let workersLeft = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let stopped = Atomic<Bool>(false)
    private let job = Job()
    private let condition = NSCondition()

    private static let spins = 20_000

    func fork(count: Int, workers: Int, body: @escaping (Int, Int) -> Void) {
        job.set(body, count: count)
        nextTask.store(0, ordering: .relaxed)
        workersLeft.store(workers, ordering: .relaxed)
        generation.add(1, ordering: .sequentiallyConsistent)
        if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
            condition.lock()
            condition.broadcast()
            condition.unlock()
        }
        take(body, count: count, thread: 0)
        var spin = 0
        while workersLeft.load(ordering: .acquiring) > 0 {
            spin &+= 1
            if spin > Shared.spins { sched_yield() } else { uk_spin_hint() }
        }
        job.clear()
    }

    func work(thread: Int) {
        var seen: UInt64 = 0
        while true {
            seen = waitForCall(after: seen)
            if stopped.load(ordering: .acquiring) { return }
            job.withBody { body, count in take(body, count: count, thread: thread) }
            workersLeft.subtract(1, ordering: .releasing)
        }
    }

    func stop() {
        stopped.store(true, ordering: .releasing)
        generation.add(1, ordering: .sequentiallyConsistent)
        condition.lock()
        condition.broadcast()
        condition.unlock()
    }

    private func waitForCall(after seen: UInt64) -> UInt64 {
        for _ in 0..<Shared.spins {
            let now = generation.load(ordering: .acquiring)
            if now != seen { return now }
            uk_spin_hint()
        }
        condition.lock()
        defer { condition.unlock() }
        sleepers.add(1, ordering: .sequentiallyConsistent)
        defer { sleepers.subtract(1, ordering: .sequentiallyConsistent) }
        while true {
            let now = generation.load(ordering: .sequentiallyConsistent)
            if now != seen { return now }
            condition.wait()
        }
    }

    private func take(_ body: (Int, Int) -> Void, count: Int, thread: Int) {
        while true {
            let task = nextTask.add(1, ordering: .relaxed).oldValue
            if task >= count { return }
            body(task, thread)
        }
    }

}

/// The call under way. Written by the caller before it raises the generation and after all workers are done,
/// read by workers in between: the generation and the count of workers order the accesses.
private final class Job: @unchecked Sendable {
    private var body: ((Int, Int) -> Void)?
    private var count = 0

    func set(_ body: @escaping (Int, Int) -> Void, count: Int) {
        self.body = body
        self.count = count
    }

    func clear() { body = nil }

    func withBody(_ use: ((Int, Int) -> Void, Int) -> Void) {
        if let body { use(body, count) }
    }
}
