/// Lets calls through as ``AdmissionControl`` decides.
actor EndpointGate {
    private var control: AdmissionControl
    private var waiting: [(number: Int, continuation: CheckedContinuation<Void, any Error>)] = []
    private var numbers = 0
    private let began = ContinuousClock.now
    /// Seconds without an answer after which waiting for the endpoint is given up.
    private let patience: Double

    init(_ control: AdmissionControl, patience: Double) {
        self.control = control
        self.patience = patience
    }

    var limit: Double { control.limit.value }

    private var now: Double { (ContinuousClock.now - began).inSeconds }

    /// Waits until a call may go.
    /// - Returns: its number, for ``leave(_:_:)``.
    /// - Throws: `CancellationError`; ``EndpointError`` `.noAnswer` when the endpoint has failed for too long.
    func enter() async throws -> Int {
        while true {
            try Task.checkCancellation()
            if let since = control.breaker.failingSince, now - since > patience {
                throw EndpointError(
                    .noAnswer, "the endpoint has not answered anything for \(Int(patience)) s")
            }
            switch control.admit(now: now) {
            case .go(let call): return call
            case .wait(let until): try await Task.sleep(for: .seconds(max(0.001, until - now)))
            case .full: try await waitForPlace()
            }
        }
    }

    func leave(_ call: Int, _ outcome: CallOutcome) {
        control.finished(call: call, outcome, now: now)
        // One more than is free does no harm: who is woken looks again.
        var places = max(1, control.free)
        while places > 0, !waiting.isEmpty {
            waiting.removeFirst().continuation.resume()
            places -= 1
        }
    }

    private func waitForPlace() async throws {
        numbers += 1
        let number = numbers
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled {
                    continuation.resume(throwing: CancellationError())
                } else {
                    waiting.append((number, continuation))
                }
            }
        } onCancel: {
            Task { await self.cancel(number) }
        }
    }

    private func cancel(_ number: Int) {
        guard let place = waiting.firstIndex(where: { $0.number == number }) else { return }
        waiting.remove(at: place).continuation.resume(throwing: CancellationError())
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
