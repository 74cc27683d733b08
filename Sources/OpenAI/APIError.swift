/// An error as OpenAI's API tells it.
public struct APIError: Error, Sendable, Hashable {
    /// HTTP status.
    public var status: Int
    public var message: String
    /// `invalid_request_error`, `server_error`, …
    public var type: String
    /// The field at fault.
    public var parameter: String?
    public var code: String?

    public init(
        status: Int, _ message: String, type: String = "invalid_request_error", parameter: String? = nil,
        code: String? = nil
    ) {
        self.status = status
        self.message = message
        self.type = type
        self.parameter = parameter
        self.code = code
    }

    /// A request that makes no sense.
    public static func invalid(_ message: String, parameter: String? = nil) -> APIError {
        APIError(status: 400, message, parameter: parameter)
    }
}

extension APIError: Encodable {
    private struct Body: Encodable {
        var message: String
        var type: String
        var param: String?
        var code: String?

        /// The API says null where there is nothing.
        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(message, forKey: .message)
            try container.encode(type, forKey: .type)
            try container.encode(param, forKey: .param)
            try container.encode(code, forKey: .code)
        }

        enum CodingKeys: String, CodingKey { case message, type, param, code }
    }

    private enum CodingKeys: String, CodingKey { case error }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(Body(message: message, type: type, param: parameter, code: code), forKey: .error)
    }
}
