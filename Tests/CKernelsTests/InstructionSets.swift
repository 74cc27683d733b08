import CKernels

/// Runs tests on chosen instruction sets.
enum InstructionSets {
    /// What this processor can run, the scalar twin first.
    static let supported = [UK_ISA_SCALAR, UK_ISA_AVX2, UK_ISA_AVX512, UK_ISA_NEON].filter(uk_isa_supported)

    /// The result of `body` with this thread's kernels switched to `isa`.
    static func using<Result>(_ isa: uk_isa, _ body: () throws -> Result) rethrows -> Result {
        let before = uk_isa_active()
        defer { _ = uk_isa_select(before) }
        precondition(uk_isa_select(isa), "unsupported instruction set")
        return try body()
    }

    static func name(_ isa: uk_isa) -> String { String(cString: uk_isa_name(isa)) }
}

/// A small generator (SplitMix64) for test data.
struct TestRandom: RandomNumberGenerator {
    var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in -size ..< size.
    mutating func floats(_ count: Int, size: Float = 1) -> [Float] {
        (0..<count).map { _ in Float.random(in: -size..<size, using: &self) }
    }

    /// Roughly normal with the given deviation.
    mutating func normals(_ count: Int, deviation: Float = 1) -> [Float] {
        (0..<count).map { _ in
            (0..<12).reduce(Float(-6)) { sum, _ in sum + Float.random(in: 0..<1, using: &self) } * deviation
        }
    }
}

/// 64-byte aligned bytes, zeroed.
final class AlignedBytes {
    let memory: UnsafeMutableRawBufferPointer

    init(_ count: Int) {
        memory = .allocate(byteCount: max(count, 1), alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { memory.deallocate() }

    var base: UnsafeMutableRawPointer { memory.baseAddress! }
}
