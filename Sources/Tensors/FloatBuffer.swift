internal import Foundation

/// Memory aligned to 64 bytes, zeroed, owned by this object.
///
/// The pointer is stable for the object's life. Who shares a buffer between threads sees to it that no two write
/// the same part at the same time.
public final class AlignedBuffer: @unchecked Sendable {
    /// Bytes that can be used.
    public let byteCount: Int
    /// The first byte, a multiple of 64.
    public let base: UnsafeMutableRawPointer

    /// Zeroed memory; pages that are never written cost nothing.
    public init(byteCount: Int) {
        precondition(byteCount >= 0, "AlignedBuffer: \(byteCount) bytes")
        self.byteCount = byteCount
        let size = max(64, (byteCount + 63) / 64 * 64)
        // Large blocks come from the kernel as zero pages; small ones are cleared by hand.
        if size >= 1 << 20 {
            let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            guard let memory, memory != MAP_FAILED else {
                preconditionFailure("out of memory: \(size) bytes")
            }
            base = memory
            mapped = size
        } else {
            base = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
            base.initializeMemory(as: UInt8.self, repeating: 0, count: size)
            mapped = 0
        }
    }

    private let mapped: Int

    deinit {
        if mapped > 0 { munmap(base, mapped) } else { base.deallocate() }
    }
}

/// A block of floats, aligned to 64 bytes and zeroed, owned by this object.
public final class FloatBuffer: @unchecked Sendable {
    /// Floats that can be used.
    public let count: Int
    /// The first float.
    public let base: UnsafeMutablePointer<Float>
    private let storage: AlignedBuffer

    /// `count` zeros.
    public init(count: Int) {
        self.count = count
        storage = AlignedBuffer(byteCount: count * 4)
        base = storage.base.bindMemory(to: Float.self, capacity: max(count, 1))
    }

    /// A copy of the values.
    public convenience init(_ values: [Float]) {
        self.init(count: values.count)
        values.withUnsafeBufferPointer { source in
            if let first = source.baseAddress { base.update(from: first, count: values.count) }
        }
    }

    /// The values as an array.
    public var values: [Float] { Array(UnsafeBufferPointer(start: base, count: count)) }
}

/// Memory that grows to what is asked for and is kept between uses; its contents do not survive a growth.
public final class ScratchBuffer: @unchecked Sendable {
    private var buffer = FloatBuffer(count: 0)

    public init() {}

    /// At least `count` floats, aligned to 64 bytes, with whatever was there before.
    public func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
        if buffer.count < count { buffer = FloatBuffer(count: max(count, buffer.count * 3 / 2)) }
        return buffer.base
    }
}
