/// A metadata value of a GGUF file, in the type it is stored in.
public enum GGUFValue: Sendable, Hashable {
    case uint8(UInt8)
    case int8(Int8)
    case uint16(UInt16)
    case int16(Int16)
    case uint32(UInt32)
    case int32(Int32)
    case uint64(UInt64)
    case int64(Int64)
    case float32(Float)
    case float64(Double)
    case bool(Bool)
    case string(String)
    case array(Array)

    /// A list of values of one type. Lists of lists do not occur in model files and are refused.
    public enum Array: Sendable, Hashable {
        case uint8([UInt8])
        case int8([Int8])
        case uint16([UInt16])
        case int16([Int16])
        case uint32([UInt32])
        case int32([Int32])
        case uint64([UInt64])
        case int64([Int64])
        case float32([Float])
        case float64([Double])
        case bool([Bool])
        case string([String])
    }
}

extension GGUFValue {
    /// The value as an `Int`, when it is an integer that fits.
    public var intValue: Int? {
        switch self {
        case .uint8(let value): Int(value)
        case .int8(let value): Int(value)
        case .uint16(let value): Int(value)
        case .int16(let value): Int(value)
        case .uint32(let value): Int(value)
        case .int32(let value): Int(value)
        case .uint64(let value): Int(exactly: value)
        case .int64(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The value as a float, when it is a floating-point number.
    public var floatValue: Float? {
        switch self {
        case .float32(let value): value
        case .float64(let value): Float(value)
        default: nil
        }
    }

    public var boolValue: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    public var stringValue: String? {
        if case .string(let value) = self { value } else { nil }
    }

    public var stringArray: [String]? {
        if case .array(.string(let values)) = self { values } else { nil }
    }

    /// The value as 32-bit integers, when it is a list of integers that all fit.
    public var int32Array: [Int32]? {
        guard case .array(let array) = self else { return nil }
        switch array {
        case .int32(let values): return values
        case .uint8(let values): return values.map(Int32.init)
        case .int8(let values): return values.map(Int32.init)
        case .uint16(let values): return values.map(Int32.init)
        case .int16(let values): return values.map(Int32.init)
        case .uint32(let values):
            let result = values.compactMap(Int32.init(exactly:))
            return result.count == values.count ? result : nil
        default: return nil
        }
    }

    /// The type's name as the format's description has it.
    var typeName: String {
        switch self {
        case .uint8: "uint8"
        case .int8: "int8"
        case .uint16: "uint16"
        case .int16: "int16"
        case .uint32: "uint32"
        case .int32: "int32"
        case .uint64: "uint64"
        case .int64: "int64"
        case .float32: "float32"
        case .float64: "float64"
        case .bool: "bool"
        case .string: "string"
        case .array: "array"
        }
    }
}

/// GGUF's numbers for value types.
enum GGUFValueType: UInt32 {
    case uint8 = 0
    case int8 = 1
    case uint16 = 2
    case int16 = 3
    case uint32 = 4
    case int32 = 5
    case float32 = 6
    case bool = 7
    case string = 8
    case array = 9
    case uint64 = 10
    case int64 = 11
    case float64 = 12
}
