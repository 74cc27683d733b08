package import Foundation
internal import Tensors

extension Parameters {
    /// Writes all values, 32-bit little-endian floats in the order of `entries`, atomically.
    ///
    /// - Throws: `TrainingError` when the file can't be written.
    package func write(to file: URL) throws {
        let data = Data(
            bytesNoCopy: UnsafeMutableRawPointer(values.base), count: values.count * 4, deallocator: .none)
        do { try data.write(to: file, options: .atomic) } catch {
            throw TrainingError(
                .checkpoint, "\(file.path): cannot write the weights: \(error.localizedDescription)")
        }
    }

    /// Takes the values that ``write(to:)`` wrote for the same tensors.
    ///
    /// - Throws: `TrainingError` when the file can't be read or is of another length.
    package func read(from file: URL) throws {
        guard let data = try? Data(contentsOf: file, options: .alwaysMapped), data.count == values.count * 4 else {
            throw TrainingError(.checkpoint, "\(file.path): not the weights of this student")
        }
        data.withUnsafeBytes { memory in
            UnsafeMutableRawPointer(values.base).copyMemory(from: memory.baseAddress!, byteCount: memory.count)
        }
    }
}
