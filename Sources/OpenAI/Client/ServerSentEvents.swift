/// Takes a stream of server-sent events apart as its bytes come (WHATWG HTML, 9.2.6): the data of every event.
public struct ServerSentEvents: Sendable {
    private var line: [UInt8] = []
    private var data: [UInt8] = []
    private var hasData = false
    private var endedWithReturn = false
    /// An event larger than this is no answer of a model.
    private let maximumBytes: Int

    public struct TooLarge: Error {}

    public init(maximumBytes: Int = 16 << 20) { self.maximumBytes = maximumBytes }

    /// - Returns: the data of the events that are whole with these bytes.
    /// - Throws: ``TooLarge``.
    public mutating func add(_ bytes: some Sequence<UInt8>) throws -> [[UInt8]] {
        var events: [[UInt8]] = []
        for byte in bytes {
            switch byte {
            case 0x0A where endedWithReturn: endedWithReturn = false
            case 0x0A, 0x0D:
                endedWithReturn = byte == 0x0D
                if let event = endLine() { events.append(event) }
            default:
                endedWithReturn = false
                line.append(byte)
                guard line.count + data.count <= maximumBytes else { throw TooLarge() }
            }
        }
        return events
    }

    private mutating func endLine() -> [UInt8]? {
        defer { line.removeAll(keepingCapacity: true) }
        guard !line.isEmpty else {
            guard hasData else { return nil }
            defer {
                data = []
                hasData = false
            }
            return data
        }
        let name = line.prefix { $0 != UInt8(ascii: ":") }
        guard name.elementsEqual("data".utf8) else { return nil }
        var value = line.dropFirst(name.count + 1)
        if value.first == 0x20 { value = value.dropFirst() }
        if hasData { data.append(0x0A) }
        data += value
        hasData = true
        return nil
    }
}
