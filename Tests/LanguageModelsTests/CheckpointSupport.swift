import Foundation
import LanguageModels
import Testing

/// A folder that is removed with the object.
final class TemporaryFolder {
    let path: String

    init() throws {
        let name = "understudy-tests-" + String(UInt64.random(in: 0 ... .max), radix: 36)
        path = (NSTemporaryDirectory() as NSString).appendingPathComponent(name)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func file(_ name: String) -> String {
        (path as NSString).appendingPathComponent(name)
    }

    func write(_ bytes: some Sequence<UInt8>, _ name: String) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: file(name)))
        return file(name)
    }

    var contents: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted()
    }
}

/// Damages bytes in the ways files get damaged, the same way for the same seed.
struct Mutator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int {
        Int(next() % UInt64(bound))
    }

    /// One to four changes: flipped bits, other bytes, extreme numbers, cuts, doubled and removed pieces.
    mutating func mutate(_ original: [UInt8], extremesAt: Range<Int>? = nil) -> [UInt8] {
        var bytes = original
        for _ in 0..<1 + below(4) where !bytes.isEmpty {
            let position = below(bytes.count)
            switch below(7) {
            case 0: bytes[position] ^= 1 << UInt8(below(8))
            case 1: bytes[position] = UInt8(truncatingIfNeeded: next())
            case 2:
                let extremes: [UInt64] = [
                    0, 1, 0x7f, 0xff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, .max, .max - 31, 1 << 33,
                ]
                let value = extremes[below(extremes.count)]
                let width = 1 << below(4)
                for index in 0..<width where position + index < bytes.count {
                    bytes[position + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
                }
            case 3: bytes.removeLast(below(min(bytes.count, 64)))
            case 4: bytes.removeSubrange(position..<min(bytes.count, position + 1 + below(8)))
            case 5:
                let piece = bytes[position..<min(bytes.count, position + 1 + below(16))]
                bytes.insert(contentsOf: piece, at: below(bytes.count))
            default:
                let other = below(bytes.count)
                bytes.swapAt(position, other)
            }
        }
        return bytes
    }
}

/// The teacher's file when this machine has it: from UNDERSTUDY_TEACHER.
enum Teacher {
    static let path: String? = {
        if let path = ProcessInfo.processInfo.environment["UNDERSTUDY_TEACHER"], !path.isEmpty { return path }
        return nil
    }()

    static let missing: Comment = "needs the teacher: set UNDERSTUDY_TEACHER or pull smollm2-135m-instruct"
}

/// Floats as little-endian bytes.
func bytes(_ floats: [Float]) -> [UInt8] {
    floats.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
}

/// Expects `body` to throw a `ModelError` of this code whose description contains `text`.
func expectModelError(
    _ code: ModelError.Code, containing text: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("no error was thrown", sourceLocation: sourceLocation)
    } catch let error as ModelError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        #expect(error.description.contains(text), "\(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("not a ModelError: \(error)", sourceLocation: sourceLocation)
    }
}
