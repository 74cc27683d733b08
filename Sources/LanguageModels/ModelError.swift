public import Foundation

/// What went wrong with a model file, a configuration or the model store, in one sentence for the user.
public struct ModelError: Error, Sendable, Hashable {
    /// The kind of an error. Open: other parts of the program may add their own.
    public struct Code: RawRepresentable, Sendable, Hashable {
        public let rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        /// A file or folder that is not there, or not readable.
        public static let notFound = Code(rawValue: "not_found")
        /// A file that breaks the rules of its format.
        public static let malformed = Code(rawValue: "malformed")
        /// A file in order, of a kind this program does not handle.
        public static let unsupported = Code(rawValue: "unsupported")
        /// A tensor the model needs that its files do not have, or have in another shape.
        public static let missingTensor = Code(rawValue: "missing_tensor")
        /// The operating system refused to read, write, lock or map a file.
        public static let inputOutput = Code(rawValue: "input_output")
        /// A model name that neither the catalogue nor the disk knows.
        public static let unknownModel = Code(rawValue: "unknown_model")
        /// A model of the catalogue that has not been pulled.
        public static let notInstalled = Code(rawValue: "not_installed")
        /// A pull that could not fetch its package.
        public static let downloadFailed = Code(rawValue: "download_failed")
        /// Bytes whose size or digest is not the published one.
        public static let checksumMismatch = Code(rawValue: "checksum_mismatch")
    }

    public var code: Code
    /// What was expected and what was found, without the place.
    public var message: String
    /// The file it is about, as the user would name it.
    public var file: String?
    /// The byte of the file where it was noticed.
    public var byteOffset: Int?

    public init(_ code: Code, _ message: String, file: String? = nil, byteOffset: Int? = nil) {
        self.code = code
        self.message = message
        self.file = file
        self.byteOffset = byteOffset
    }
}

extension ModelError: CustomStringConvertible, LocalizedError {
    public var description: String {
        guard let file else { return message }
        guard let byteOffset else { return "\(file): \(message)" }
        return "\(file), byte \(byteOffset): \(message)"
    }

    public var errorDescription: String? { description }
}

extension ModelError {
    /// The error of a failed system call, with the system's words for `errno`.
    package static func system(_ action: String, file: String, number: Int32 = errno) -> ModelError {
        let reason = String(cString: strerror(number))
        return ModelError(number == ENOENT ? .notFound : .inputOutput, "\(action) failed: \(reason)", file: file)
    }

    /// A string of a file, made fit for a message: control characters shown, cut at 80 characters.
    static func quoted(_ text: String) -> String {
        var result = "'"
        for (index, scalar) in text.unicodeScalars.enumerated() {
            if index == 80 {
                result += "…"
                break
            }
            if scalar.value < 32 || (0x7f...0x9f).contains(scalar.value) {
                result += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result + "'"
    }
}
