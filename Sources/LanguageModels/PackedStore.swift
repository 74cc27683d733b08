internal import CKernels
internal import Crypto
internal import Foundation
internal import Tensors

/// Packed weights in a file, so that a model that was opened before opens without packing: the file is mapped, and pages
/// come in as they are used.
///
/// Layout: `UKPACK01`, the key (32 bytes of text), the table's offset; then the matrices, each at a multiple of 4096; then
/// the table. A store is believed only when its key names the very files that are opened now, by size and time, and when
/// every place in its table lies inside of it.
final class PackedStore: Sendable {
    private struct Entry {
        var rows, columns: Int
        var format: uk_packed
        var offset, bytes: Int
    }

    private static let magic = Array("UKPACK01".utf8)
    private static let headerBytes = 48
    /// Stores that are kept, the latest used.
    private static let kept = 6

    private let file: MappedFile
    private let entries: [String: Entry]

    /// Opens a store; nil when there is none, or not one for this key.
    init?(path: String, key: String) {
        guard let file = try? MappedFile(path: path), file.count >= Self.headerBytes else { return nil }
        let bytes = file.bytes
        guard bytes.prefix(8).elementsEqual(Self.magic), bytes[8..<40].elementsEqual(Self.padded(key)) else {
            return nil
        }
        let table = Int(truncatingIfNeeded: bytes.loadUnaligned(fromByteOffset: 40, as: UInt64.self))
        guard table >= Self.headerBytes, table < file.count else { return nil }
        guard
            let rows = try? JSONDecoder().decode([Row].self, from: Data(bytes[table...])), !rows.isEmpty
        else { return nil }
        var entries: [String: Entry] = [:]
        for row in rows {
            let format = uk_packed(rawValue: row.format)
            guard row.rows > 0, row.columns > 0, row.rows <= 1 << 24, row.columns <= 1 << 24, row.format <= 4,
                row.offset >= 0, row.offset % 64 == 0,
                row.bytes == PackedMatrix.byteCount(row.rows, row.columns, format),
                row.bytes <= table - row.offset
            else { return nil }
            entries[row.name] = Entry(
                rows: row.rows, columns: row.columns, format: format, offset: row.offset, bytes: row.bytes)
        }
        self.file = file
        self.entries = entries
        // Kept while it is used.
        utimes(path, nil)
    }

    /// The matrix of this name, when it has this shape.
    func matrix(_ name: String, rows: Int, columns: Int) -> PackedMatrix? {
        guard let entry = entries[name], entry.rows == rows, entry.columns == columns else { return nil }
        return PackedMatrix(
            rows: rows, columns: columns, format: entry.format, memory: file.pointer(at: entry.offset), owner: file)
    }

    private struct Row: Codable {
        var name: String
        var rows, columns: Int
        var format: UInt32
        var offset, bytes: Int
    }

    /// Writes a store, and removes those that were not used for the longest time. What fails is left out: the next opening
    /// packs again.
    static func write(_ matrices: [String: PackedMatrix], key: String, to path: String) {
        let folder = (path as NSString).deletingLastPathComponent
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let total = matrices.values.reduce(0) { $0 + $1.byteCount }
            let free = try FileManager.default.attributesOfFileSystem(forPath: folder)[.systemFreeSize] as? Int ?? 0
            guard free > 4 * total else { return }
            let names = matrices.keys.sorted()
            var rows: [Row] = []
            var offset = 4096
            for name in names {
                let matrix = matrices[name]!
                rows.append(
                    Row(
                        name: name, rows: matrix.rows, columns: matrix.columns, format: matrix.format.rawValue,
                        offset: offset, bytes: matrix.byteCount))
                offset += (matrix.byteCount + 4095) / 4096 * 4096
            }
            let file = try AtomicFile(path: path)
            try file.write(magic)
            try file.write(padded(key))
            try file.write(withUnsafeBytes(of: UInt64(offset).littleEndian) { Array($0) })
            for name in names {
                try file.pad(to: 4096)
                try file.write(UnsafeRawBufferPointer(start: matrices[name]!.base, count: matrices[name]!.byteCount))
            }
            try file.pad(to: 4096)
            try file.write(JSONEncoder().encode(rows))
            try file.commit()
            removeOld(folder)
        } catch {
            // A cache that can't be written is no reason to refuse the model.
        }
    }

    private static func padded(_ key: String) -> [UInt8] {
        Array(key.utf8.prefix(32)) + [UInt8](repeating: 0, count: max(0, 32 - key.utf8.count))
    }

    private static func removeOld(_ folder: String) {
        let manager = FileManager.default
        let names = ((try? manager.contentsOfDirectory(atPath: folder)) ?? []).filter { $0.hasSuffix(".packed") }
        let dated = names.map { name -> (String, Date) in
            let path = folder + "/" + name
            return (path, (try? manager.attributesOfItem(atPath: path)[.modificationDate] as? Date) ?? .distantPast)
        }
        for (path, _) in dated.sorted(by: { $0.1 > $1.1 }).dropFirst(kept) { try? manager.removeItem(atPath: path) }
    }

    /// What names a model's files: paths, sizes, times of the last change; 32 characters. nil for files that are gone.
    static func key(of path: String) -> String? {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return nil }
        let names =
            isFolder.boolValue ? ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() : [""]
        var text = "packing 1\n"
        for name in names where name.isEmpty || name.hasSuffix(".safetensors") || name == "config.json" {
            let file = name.isEmpty ? path : path + "/" + name
            var status = stat()
            guard stat(file, &status) == 0 else { return nil }
            #if os(Linux)
                let changed = "\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
            #else
                let changed = "\(status.st_mtimespec.tv_sec).\(status.st_mtimespec.tv_nsec)"
            #endif
            text +=
                "\(URL(fileURLWithPath: file).standardizedFileURL.path)\n\(status.st_ino) \(status.st_size) \(changed)\n"
        }
        let digest = SHA256.hash(data: Data(text.utf8))
        return digest.prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
