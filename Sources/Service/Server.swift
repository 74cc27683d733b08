public import Hummingbird
internal import Inference
internal import Logging

/// Serves a model on this machine's loopback address.
public struct Server: Sendable {
    public let model: ServedModel
    public let port: Int

    public init(model: ServedModel, port: Int) {
        self.model = model
        self.port = port
    }

    /// The routes, for tests and for servers that have others, too.
    public func router() -> Router<BasicRequestContext> {
        let router = Router()
        OpenAIRoutes(model: model).register(on: router)
        return router
    }

    /// Runs until the process is asked to end, and then until the answers under way are done.
    ///
    /// - Parameters:
    ///   - handlesSignals: whether SIGINT and SIGTERM end it.
    ///   - onReady: called with the port once requests can come.
    /// - Throws: when the port is taken.
    public func run(handlesSignals: Bool = true, onReady: @escaping @Sendable (Int) -> Void) async throws {
        try await LoopbackListener.run(
            router(), port: port, level: .warning, handlesSignals: handlesSignals, onReady: onReady)
        await model.engine.shutDown()
    }
}
