import Synchronization
import Tensors
import Testing

@Suite struct WorkerPoolTests {
    @Test(arguments: [1, 2, 3, 8])
    func everyTaskRunsOnce(threads: Int) {
        let pool = WorkerPool(threadCount: threads)
        for round in 0..<500 {
            let count = round % 67
            let runs = (0..<count).map { _ in Counter() }
            pool.run(count) { task, thread in
                #expect(thread < threads)
                runs[task].value.add(1, ordering: .relaxed)
            }
            #expect(runs.allSatisfy { $0.value.load(ordering: .relaxed) == 1 })
        }
    }

    @Test func callsFromSeveralThreadsTakeTurns() async {
        let pool = WorkerPool(threadCount: 3)
        let total = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<200 { pool.run(10) { _, _ in total.value.add(1, ordering: .relaxed) } }
                }
            }
        }
        #expect(total.value.load(ordering: .relaxed) == 8 * 200 * 10)
    }
}

private final class Counter: Sendable {
    let value = Atomic<Int>(0)
}
