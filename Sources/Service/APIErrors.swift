internal import HTTPTypes
internal import Hummingbird
internal import Inference
internal import OpenAI
internal import Tokenizers

/// Turns errors into OpenAI's form of them: the one place where errors become HTTP.
struct APIErrors<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch {
            let described = APIErrors<BasicRequestContext>.described(error)
            var response = try OpenAIRoutes.json(described, status: .init(code: described.status))
            if described.status == 429 { response.headers[.retryAfter] = "1" }
            return response
        }
    }
}

extension APIErrors where Context == BasicRequestContext {
    static func described(_ error: any Error) -> APIError {
        switch error {
        case let error as APIError: return error
        case let error as InferenceError:
            switch error.code {
            case .busy:
                return APIError(status: 429, error.message, type: "rate_limit_error", code: error.code.rawValue)
            case .stopped: return APIError(status: 503, error.message, type: "server_error", code: error.code.rawValue)
            case .promptTooLong:
                return APIError(status: 400, error.message, code: "context_length_exceeded")
            default: return APIError(status: 400, error.message, code: error.code.rawValue)
            }
        case let error as TokenizerError: return .invalid(error.description)
        case let error as HTTPError:
            let message = error.body ?? error.status.reasonPhrase
            return APIError(status: error.status.code, message.isEmpty ? "No such thing." : message)
        default: return APIError(status: 500, "\(error)", type: "server_error")
        }
    }
}
