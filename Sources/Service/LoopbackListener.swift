internal import Hummingbird
internal import Logging
internal import ServiceLifecycle

/// Listens on this machine's loopback address, and nowhere else.
enum LoopbackListener {
    /// Runs until the process is asked to end, or the task is cancelled; answers under way are finished first.
    ///
    /// - Parameters:
    ///   - port: 0: any free one.
    ///   - level: what is logged at least.
    ///   - handlesSignals: whether SIGINT and SIGTERM end it.
    ///   - onReady: called with the port once requests can come.
    /// - Throws: when the port is taken.
    static func run(
        _ router: Router<BasicRequestContext>, port: Int, level: Logger.Level = .critical, handlesSignals: Bool = true,
        onReady: @escaping @Sendable (Int) -> Void
    ) async throws {
        var logger = Logger(label: "understudy")
        logger.logLevel = level
        let application = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: port), serverName: "understudy"),
            onServerRunning: { onReady($0.localAddress?.port ?? port) }, logger: logger)
        if handlesSignals {
            try await application.runService()
        } else {
            try await application.runService(gracefulShutdownSignals: [])
        }
    }
}
