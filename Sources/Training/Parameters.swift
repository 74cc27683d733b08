package import Tensors

/// One tensor of a model being trained.
public struct ParameterSpecification: Sendable, Hashable, Codable {
    /// Its canonical (Hugging Face) name.
    public var name: String
    /// Its shape, row-major; [out, in] for matrices.
    public var shape: [Int]
    /// Whether the optimiser changes it.
    public var trains: Bool
    /// The layer whose memory it shares with the same tensor of all other layers: its values stay where they are stored, and
    /// are read when the layer is needed; nil: it has memory of its own.
    public var sharedLayer: Int?

    public init(name: String, shape: [Int], trains: Bool = true) {
        self.name = name
        self.shape = shape
        self.trains = trains
    }

    /// Number of values.
    public var count: Int { shape.reduce(1, *) }
    /// Whether weight decay applies: matrices yes, norms and biases no.
    public var decays: Bool { shape.count > 1 }
}

/// Values and gradients of a model's tensors in one block each: the trained ones first, so that the optimiser walks one range;
/// at the end the memory that layers share.
///
/// Order of the specifications is kept within the trained and the frozen ones: tensors whose products are fused
/// (q, k and v; gate and up) are listed next to each other and so lie next to each other.
package final class Parameters {
    /// A tensor's place.
    package struct Entry {
        package let specification: ParameterSpecification
        package let offset: Int
    }

    package let entries: [Entry]
    /// All values, trained ones first.
    package let values: FloatBuffer
    /// Gradients of the trained ones, at the same offsets.
    package let gradients: FloatBuffer
    /// Floats at the start of `values` that are trained (fillers included).
    package let trainedCount: Int
    private let index: [String: Int]

    package init(_ specifications: [ParameterSpecification]) {
        let layout = Self.layout(specifications)
        entries = layout.entries
        trainedCount = layout.trained
        values = FloatBuffer(count: layout.count)
        gradients = FloatBuffer(count: layout.trained)
        index = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.specification.name, $0) })
    }

    /// Floats of all values.
    package static func count(_ specifications: [ParameterSpecification]) -> Int { layout(specifications).count }

    /// Where each tensor lies, floats that are trained, and floats in all.
    private static func layout(_ specifications: [ParameterSpecification]) -> (
        entries: [Entry], trained: Int, count: Int
    ) {
        var entries: [Entry] = []
        /// Places tensors one behind the other and returns where they end.
        func place(_ own: [ParameterSpecification], at start: Int) -> Int {
            own.reduce(start) { offset, specification in
                entries.append(Entry(specification: specification, offset: offset))
                return offset + (specification.count + 15) / 16 * 16
            }
        }
        let trained = place(specifications.filter(\.trains), at: 0)
        let frozen = Dictionary(grouping: specifications.filter { !$0.trains }, by: \.sharedLayer)
        let shared = place(frozen[nil] ?? [], at: trained)
        let end = frozen.keys.compactMap(\.self).sorted().map { place(frozen[$0]!, at: shared) }.max() ?? shared
        return (entries, trained, end)
    }

    package func entry(_ name: String) -> Entry {
        guard let place = index[name] else { preconditionFailure("no parameter named \(name)") }
        return entries[place]
    }

    package func has(_ name: String) -> Bool { index[name] != nil }

    /// The tensor's values.
    package func value(_ name: String) -> Floats { values.base + entry(name).offset }

    /// The tensor's gradient, nil for a frozen one.
    package func gradient(_ name: String) -> Floats? {
        let entry = entry(name)
        return entry.specification.trains ? gradients.base + entry.offset : nil
    }

    package func zeroGradients() {
        gradients.base.update(repeating: 0, count: gradients.count)
    }

    /// Copies values in.
    package func set(_ name: String, _ new: [Float]) {
        let entry = entry(name)
        precondition(
            new.count == entry.specification.count,
            "\(name): \(new.count) values for shape \(entry.specification.shape)")
        new.withUnsafeBufferPointer { (values.base + entry.offset).update(from: $0.baseAddress!, count: new.count) }
    }

    /// The same tensors with the same values; gradients are zero.
    package func copy() -> Parameters {
        let copy = Parameters(entries.map(\.specification))
        copy.set(self)
        return copy
    }

    /// Takes the values of the same tensors.
    package func set(_ other: Parameters) {
        precondition(other.values.count == values.count, "set: \(other.values.count) values for \(values.count)")
        values.base.update(from: other.values.base, count: values.count)
    }

    /// The tensor's values, copied out.
    package func array(_ name: String) -> [Float] {
        let entry = entry(name)
        return Array(UnsafeBufferPointer(start: values.base + entry.offset, count: entry.specification.count))
    }
}

/// A linear layer's views: y = x · Wᵀ (+ bias) (+ scale · (x · Aᵀ) · Bᵀ with an adapter).
package struct LinearView {
    package var weight: Floats
    package var gradient: Floats?
    package var bias: Floats?
    package var biasGradient: Floats?
    package var input: Int
    package var output: Int
    package var adapter: AdapterView?

    /// Some of its outputs alone.
    func outputs(_ range: Range<Int>) -> LinearView {
        var part = self
        part.weight += range.lowerBound * input
        part.gradient = gradient.map { $0 + range.lowerBound * input }
        part.bias = bias.map { $0 + range.lowerBound }
        part.biasGradient = biasGradient.map { $0 + range.lowerBound }
        part.output = range.count
        if let adapter {
            part.adapter?.b = adapter.b + range.lowerBound * adapter.rank
            part.adapter?.bGradient = adapter.bGradient + range.lowerBound * adapter.rank
        }
        return part
    }
}

/// A low-rank adapter's views (Hu et al. 2021): A [rank, in], B [out, rank].
package struct AdapterView {
    package var a: Floats
    package var b: Floats
    package var aGradient: Floats
    package var bGradient: Floats
    package var rank: Int
    package var scale: Float
}
