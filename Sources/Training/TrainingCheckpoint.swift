internal import Foundation
internal import Tensors

/// A training run's whole state in one file: weights, moments, step, record. Written atomically.
///
/// Layout, little-endian: magic, length of a JSON header, the header, arrays of floats (values, first and second
/// moments of what trains, then the mean and the best of the weights where they are kept), the magic again. A file cut short or of another run is refused.
struct TrainingCheckpoint {
    private static let magic = Array("UNDRSTCK".utf8)

    struct Header: Codable {
        var key: String
        var step: Int
        var count: Int
        var record: TrainingRecord
        var pending: Trainer.Window
        var loads: [[Int]]
        var watch: LossWatch
        /// Updates in the mean of the weights.
        var averaged: Int
        var best: BestWeights.State?
        /// The routers' bias on the choice of experts, where training balances with it.
        var bias: [Float]?
    }

    /// - Parameter blocks: arrays of which the first `header.count` floats are written.
    static func write(_ header: Header, blocks: [FloatBuffer], to file: URL) throws {
        let temporary = file.appendingPathExtension("partial")
        do {
            var prefix = Data(magic)
            let json = try JSONEncoder().encode(header)
            withUnsafeBytes(of: UInt64(json.count).littleEndian) { prefix.append(contentsOf: $0) }
            prefix.append(json)
            guard FileManager.default.createFile(atPath: temporary.path, contents: nil) else {
                throw CocoaError(.fileWriteNoPermission)
            }
            let handle = try FileHandle(forWritingTo: temporary)
            defer { try? handle.close() }
            try handle.write(contentsOf: prefix)
            for block in blocks {
                // Pieces, so that a copy of the whole is never held.
                let bytes = header.count * 4
                for start in stride(from: 0, to: bytes, by: 1 << 24) {
                    let piece = Data(
                        bytesNoCopy: UnsafeMutableRawPointer(block.base) + start, count: min(1 << 24, bytes - start),
                        deallocator: .none)
                    try handle.write(contentsOf: piece)
                }
            }
            try handle.write(contentsOf: Data(magic))
            try handle.synchronize()
            guard rename(temporary.path, file.path) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        } catch {
            try? FileManager.default.removeItem(at: temporary)
            throw TrainingError(.checkpoint, "\(file.path): cannot write the checkpoint: \(error.localizedDescription)")
        }
    }

    /// Fills the blocks and returns the header; nil, and nothing is touched, where there is no checkpoint of this run.
    static func read(key: String, count: Int, blocks: [FloatBuffer], from file: URL) -> Header? {
        guard let (header, data, start) = open(key: key, count: count, blocks: blocks.count, from: file) else {
            return nil
        }
        let bytes = count * 4
        data.withUnsafeBytes { memory in
            for (index, block) in blocks.enumerated() {
                UnsafeMutableRawPointer(block.base).copyMemory(
                    from: memory.baseAddress! + start + index * bytes, byteCount: bytes)
            }
        }
        return header
    }

    /// The header of a whole checkpoint of this run, the file, and where its blocks begin; nil where there is none.
    static func open(key: String, count: Int, blocks: Int, from file: URL) -> (
        header: Header, data: Data, start: Int
    )? {
        guard let data = try? Data(contentsOf: file, options: .alwaysMapped), data.count > 24,
            data.prefix(8).elementsEqual(magic), data.suffix(8).elementsEqual(magic)
        else { return nil }
        let length = data.subdata(in: 8..<16).withUnsafeBytes { $0.loadUnaligned(as: UInt64.self).littleEndian }
        guard length <= UInt64(data.count - 24),
            let header = try? JSONDecoder().decode(Header.self, from: data.subdata(in: 16..<16 + Int(length))),
            header.key == key, header.count == count
        else { return nil }
        let start = 16 + Int(length)
        guard data.count == start + blocks * count * 4 + 8 else { return nil }
        return (header, data, start)
    }
}
