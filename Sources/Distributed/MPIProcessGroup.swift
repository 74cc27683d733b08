#if MPI
    internal import COpenMPI
    internal import Foundation
    internal import Tensors
    internal import Training

    /// The processes that `mpirun` started, over Open MPI. Calls come from one thread at a time. Errors of MPI end all
    /// processes, as is its default.
    final class MPIProcessGroup: ProcessGroup {
        let rank: Int
        let size: Int
        private let sums = ScratchBuffer()

        /// Floats of the other processes that are held at a time while gradients are summed.
        private static let piece = 1 << 20

        init() {
            var provided: Int32 = 0
            MPI_Init_thread(nil, nil, Int32(MPI_THREAD_SERIALIZED), &provided)
            var rank: Int32 = 0
            var size: Int32 = 0
            MPI_Comm_rank(understudy_mpi_world(), &rank)
            MPI_Comm_size(understudy_mpi_world(), &size)
            self.rank = Int(rank)
            self.size = Int(size)
        }

        func announce(_ message: [UInt8]) -> [UInt8] {
            // Blocking calls of MPI spin; whoever waits for rank 0's next word may wait for minutes.
            var length = Int64(message.count)
            var request: MPI_Request?
            MPI_Ibcast(&length, 8, understudy_mpi_byte(), 0, understudy_mpi_world(), &request)
            var done: Int32 = 0
            var tries = 0
            while true {
                understudy_mpi_test(&request, &done)
                if done != 0 { break }
                tries += 1
                if tries > 2000 { usleep(200) }
            }
            var result = rank == 0 ? message : [UInt8](repeating: 0, count: Int(length))
            result.withUnsafeMutableBytes { bytes in
                _ = MPI_Bcast(
                    bytes.baseAddress, Int32(bytes.count), understudy_mpi_byte(), 0, understudy_mpi_world())
            }
            return result
        }

        func broadcast(_ values: Floats, count: Int) {
            for start in stride(from: 0, to: count, by: 1 << 28) {
                MPI_Bcast(
                    values + start, Int32(min(1 << 28, count - start)), understudy_mpi_float(), 0,
                    understudy_mpi_world())
            }
        }

        /// MPI's own sums may be added in any order. Here each process gets everyone's part of a slice, adds the parts
        /// in the order of the ranks, and rank 0 collects the slices: a reduce-scatter and a gather.
        func sum(_ values: Floats, count: Int) {
            for start in stride(from: 0, to: count, by: Self.piece) {
                sumPiece(values + start, count: min(Self.piece, count - start))
            }
        }

        private func sumPiece(_ values: Floats, count: Int) {
            let begins = (0...size).map { Int32(count * $0 / size) }
            let lengths = (0..<size).map { begins[$0 + 1] - begins[$0] }
            let own = Int(lengths[rank])
            let parts = sums.floats(own * size + 1)
            MPI_Alltoallv(
                values, lengths, begins, understudy_mpi_float(), parts,
                [Int32](repeating: Int32(own), count: size), (0..<size).map { Int32($0 * own) },
                understudy_mpi_float(), understudy_mpi_world())
            for other in 1..<size {
                let part = parts + other * own
                for index in 0..<own { parts[index] += part[index] }
            }
            MPI_Gatherv(
                parts, Int32(own), understudy_mpi_float(), values, lengths, begins, understudy_mpi_float(), 0,
                understudy_mpi_world())
        }

        func gather(_ values: [Double]) -> [[Double]] {
            var all = [Double](repeating: 0, count: rank == 0 ? values.count * size : 0)
            MPI_Gather(
                values, Int32(values.count), understudy_mpi_double(), &all, Int32(values.count),
                understudy_mpi_double(), 0, understudy_mpi_world())
            return rank == 0
                ? (0..<size).map { Array(all[$0 * values.count..<($0 + 1) * values.count]) } : []
        }

        func collect(_ bytes: [UInt8]) -> [[UInt8]] {
            let lengths = gather([Double(bytes.count)]).map { Int32($0[0]) }
            let begins = lengths.reduce(into: [Int32(0)]) { $0.append($0[$0.count - 1] + $1) }
            var all = [UInt8](repeating: 0, count: Int(begins[lengths.count]))
            MPI_Gatherv(
                bytes, Int32(bytes.count), understudy_mpi_byte(), &all, lengths, begins, understudy_mpi_byte(), 0,
                understudy_mpi_world())
            return lengths.indices.map { Array(all[Int(begins[$0])..<Int(begins[$0 + 1])]) }
        }

        func end() { MPI_Finalize() }
    }
#endif
