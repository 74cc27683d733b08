import Foundation
import LanguageModels
import Tensors
import Testing
import Training

struct MemoryForecastTests {
    private let specifications = TrainableDecoder.specifications(TinyDecoder.experts())

    private func forecast(tokens: Int = 512, rows: Int = 32, _ change: (inout TrainingOptions) -> Void = { _ in })
        -> MemoryForecast
    {
        var options = TrainingOptions()
        change(&options)
        return MemoryForecast(
            TinyDecoder.experts(), specifications, options: options, tokens: tokens, rows: rows, longest: 16,
            validates: true, threads: 2)
    }

    @Test func whatItConsistsOf() {
        let count = specifications.reduce(0) { $0 + $1.count }
        let plain = forecast()
        #expect(plain.weights == 4 * count && plain.gradients == 4 * count && plain.optimizer == 8 * count)
        #expect(plain.copies == 0)
        #expect(plain.logits == 4 * 32 * TinyDecoder.vocabulary)
        #expect(forecast { ($0.averaging, $0.patience) = (.uniform, 2) }.copies == 8 * count)
        // An optimiser with one moment of most matrices, and room to make them orthogonal.
        #expect(forecast { $0.optimizer = .muon }.optimizer != plain.optimizer)
        #expect(plain.total == plain.weights + plain.beyondWeights)
    }

    @Test func storedLayersTakeTheRoomOfOne() {
        let c = TinyDecoder.dense()
        func count(_ staysStored: Bool) -> Int {
            Parameters.count(TrainableDecoder.specifications(c, adapterRank: 4, staysStored: staysStored))
        }
        let matrices = TrainableDecoder.specifications(c).filter { $0.name.contains("layers.0.") && $0.shape.count > 1 }
        #expect(count(false) - count(true) == (c.layerCount - 1) * matrices.reduce(0) { $0 + $1.count })
        #expect(
            c.layerCount > 1
                && Parameters(TrainableDecoder.specifications(c)).values.count
                    == Parameters.count(TrainableDecoder.specifications(c))
        )
    }

    @Test func activationsFollowTokensRowsAndRecompute() {
        // Of a token: the inputs of two layers; normed, middle, normed; inverses; q, k, v, mixed, log-sums;
        // probabilities and their sum, two experts and a shared one of three parts, and its gate.
        let attention = 32 + 2 * 16 + 32 + 4
        let inner = 32 + 1 + 2 * 32 + 1 + attention + 4 + 1 + 3 * 3 * 16 + 1
        #expect(forecast(tokens: 512, rows: 512).activations == 4 * 512 * 2 * (32 + inner))
        // Of the last layer only keys, values and the normed input are there for all tokens.
        let last = 512 * (32 + 1 + 2 * 16) + 32 * (inner - 32 - 1 - 2 * 16)
        #expect(forecast(tokens: 512, rows: 32).activations == 4 * (512 * (2 * 32 + inner) + last))
        #expect(forecast { $0.recompute = true }.activations == 4 * 512 * (2 * 32 + inner))
    }

    @Test func whatDoesNotFitIsRefused() throws {
        let plain = forecast()
        try plain.check(available: plain.beyondWeights)
        try plain.check(available: nil)
        let error = #expect(throws: TrainingError.self) { try plain.check(available: plain.beyondWeights - 1) }
        #expect(error?.code == .memory)
        #expect(error?.message.contains("with recompute it would be") == true)
        let last = #expect(throws: TrainingError.self) {
            try forecast { $0.recompute = true }.check(available: 1_000_000)
        }
        #expect(last?.message.contains("1 MB are available; a smaller micro-batch needs less") == true)
    }

    @Test func availableMemoryIsTheLeastOfSystemAndGroups() throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        defer { try? FileManager.default.removeItem(at: root) }
        func write(_ path: String, _ text: String) throws {
            let file = root.appendingPathComponent(path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        #expect(AvailableMemory.bytes(root: root) == nil)
        try write("proc/meminfo", "MemTotal:  9000 kB\nMemAvailable:   5000 kB\n")
        #expect(AvailableMemory.bytes(root: root) == 5_120_000)
        // Version 2: the group itself has no limit, the one above has.
        try write("proc/self/cgroup", "0::/jobs/train\n")
        try write("sys/fs/cgroup/jobs/train/memory.max", "max\n")
        try write("sys/fs/cgroup/jobs/train/memory.current", "10\n")
        try write("sys/fs/cgroup/jobs/memory.max", "4000000\n")
        try write("sys/fs/cgroup/jobs/memory.current", "1500000\n")
        try write("sys/fs/cgroup/jobs/memory.stat", "anon 5\ninactive_file 500000\n")
        #expect(AvailableMemory.bytes(root: root) == 3_000_000)
        // Version 1.
        try write("proc/self/cgroup", "5:cpu:/\n4:memory:/box\n0::/\n")
        try write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2000000\n")
        try write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "3000000\n")
        #expect(AvailableMemory.bytes(root: root) == 0)
        try write("proc/meminfo", "nonsense")
        try write("proc/self/cgroup", "nonsense\n::::\n0::/../..\n")
        #expect(AvailableMemory.bytes(root: root) == nil)
    }
}
