import Foundation
import LanguageModels
import Synchronization
import Tensors
import Testing
import Training

/// Processes that are threads of this one.
private final class Threads: Sendable {
    private struct Board {
        var message: [UInt8] = []
        var values: [[Float]]
        var numbers: [[Double]]
        var calls = 0
    }

    let size: Int
    private let board: Mutex<Board>
    private let barrier: Barrier

    init(_ size: Int) {
        self.size = size
        board = Mutex(
            Board(values: .init(repeating: [], count: size), numbers: .init(repeating: [], count: size)))
        barrier = Barrier(size)
    }

    var members: [Member] { (0..<size).map { Member(threads: self, rank: $0) } }
    /// Sums over all members so far.
    var calls: Int { board.withLock { $0.calls } }

    final class Member: ProcessGroup {
        private let threads: Threads
        let rank: Int
        var size: Int { threads.size }

        init(threads: Threads, rank: Int) {
            self.threads = threads
            self.rank = rank
        }

        func announce(_ message: [UInt8]) -> [UInt8] {
            if rank == 0 { threads.board.withLock { $0.message = message } }
            threads.barrier.wait()
            defer { threads.barrier.wait() }
            return threads.board.withLock { $0.message }
        }

        func broadcast(_ values: Floats, count: Int) {
            if rank == 0 {
                threads.board.withLock { $0.values[0] = Array(UnsafeBufferPointer(start: values, count: count)) }
            }
            threads.barrier.wait()
            defer { threads.barrier.wait() }
            threads.board.withLock { values.update(from: $0.values[0], count: count) }
        }

        func sum(_ values: Floats, count: Int) {
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

        func gather(_ values: [Double]) -> [[Double]] {
            threads.board.withLock { $0.numbers[rank] = values }
            threads.barrier.wait()
            defer { threads.barrier.wait() }
            return rank == 0 ? threads.board.withLock { $0.numbers } : []
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

struct DataParallelTests {
    /// Trains a small decoder with so many processes.
    private func train(
        processes: Int, microBatch: Int = 0, balance: Float = 1e-2, adapters: Bool = false, checkpoint: URL? = nil,
        precision: Precision = .float32,
        data: [TrainingSequence] = TinyDecoder.copies(40)
    ) throws -> (weights: [Float], record: TrainingRecord) {
        let c = adapters ? TinyDecoder.dense() : TinyDecoder.experts()
        let threads = Threads(processes)
        let members = threads.members
        let done = DispatchGroup()
        for member in members.dropFirst() {
            DispatchQueue(label: "rank \(member.rank)").async(group: done) {
                GradientWorker.run(member, pool: WorkerPool(threadCount: 1))
            }
        }
        var options = TrainingOptions()
        options.epochs = 2
        options.batch = 8
        options.rate = 1e-3
        options.microBatch = microBatch
        options.balance = balance
        options.checkpointInterval = 3
        options.validationInterval = 4
        let parameters = TinyDecoder.parameters(c, adapterRank: adapters ? 2 : nil)
        let trainer = try Trainer(
            model: TinyDecoder.decoder(c, parameters, precision: precision), data: data,
            validation: TinyDecoder.copies(4, seed: 5),
            options: options, checkpoint: checkpoint, key: "k", group: processes > 1 ? members[0] : nil)
        #expect(try trainer.run())
        if processes > 1 { GradientWorker.end(members[0]) }
        done.wait()
        #expect(threads.calls == (processes > 1 ? processes * 10 : 0))
        return (parameters.values.values, trainer.record)
    }

    private func distance(_ a: [Float], _ b: [Float]) -> Float {
        zip(a, b).map { abs($0 - $1) }.max() ?? .infinity
    }

    @Test(arguments: [2, 3]) func processesTogetherAreOne(processes: Int) throws {
        // Without the load-balance loss, which is a mean of the shares' losses, only the order of sums differs.
        let one = try train(processes: 1, balance: 0)
        let many = try train(processes: processes, balance: 0)
        #expect(distance(one.weights, many.weights) < 2e-5)
        for (a, b) in zip(one.record.points, many.record.points) {
            #expect(abs(a.loss - b.loss) < 1e-5 && abs(a.gradientNorm - b.gradientNorm) < 1e-4)
            #expect(a.accuracy == b.accuracy)
            #expect(abs(a.experts!.routerEntropy - b.experts!.routerEntropy) < 1e-5)
        }
        #expect(one.record.expertLoads == many.record.expertLoads)
        #expect(one.record.tokens == many.record.tokens)
    }

    @Test func twoProcessesAreTwoMicroBatches() throws {
        let one = try train(processes: 1, microBatch: 4)
        let two = try train(processes: 2)
        #expect(distance(one.weights, two.weights) < 2e-5)
        #expect(distance(one.weights, try train(processes: 1, balance: 0).weights) > 2e-5)
    }

    @Test func precisionIsThatOfRankZero() throws {
        func norm(_ processes: Int, _ precision: Precision) throws -> Double {
            try train(processes: processes, balance: 0, precision: precision).record.points[0].gradientNorm
        }
        let one = try norm(1, .bfloat16)
        #expect(abs(try norm(2, .bfloat16) - one) < 1e-5)
        #expect(abs(try norm(1, .float32) - one) > 1e-4)
    }

    @Test func theSameProcessesGiveTheSameBits() throws {
        #expect(try train(processes: 3).weights == train(processes: 3).weights)
    }

    @Test func frozenWeightsAreSentToo() throws {
        let one = try train(processes: 1, adapters: true)
        #expect(distance(one.weights, try train(processes: 2, adapters: true).weights) < 2e-5)
    }

    @Test func aProcessMayHaveNothingToDo() throws {
        let one = try train(processes: 1, balance: 0)
        #expect(distance(one.weights, try train(processes: 9, balance: 0).weights) < 2e-5)
    }

    @Test func softTargetsAreSentWhole() throws {
        let data = TinyDecoder.copies(40).enumerated().map { index, sequence in
            var sequence = sequence
            sequence.weight = index % 3 == 0 ? 0.25 : 1
            sequence.targets[0] = SoftTarget(tokens: [4, 7, 9], probabilities: [0.5, 0.2, 0.1], tail: 0.2)
            return sequence
        }
        let one = try train(processes: 1, balance: 0, data: data)
        #expect(distance(one.weights, try train(processes: 2, balance: 0, data: data).weights) < 2e-5)
    }
}
