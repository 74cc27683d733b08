import Foundation
import OpenAI
import Testing
import Tokenizers

/// What the client decides, without sockets and clocks.
@Suite struct ClientDecisionTests {
    @Test func waitsAreDrawnFromIntervalsThatDouble() {
        var state = RetryState(RetryPolicy(), now: 0)
        var waits: [Double] = []
        for _ in 0..<11 {
            guard case .retry(let wait) = state.next(after: .broken("x"), now: 0, draw: 0.999_999) else {
                Issue.record("gave up too early")
                return
            }
            waits.append(wait)
        }
        let expected = [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
        #expect(zip(waits, expected).allSatisfy { abs($0 - $1) < 0.001 })
        #expect(state.next(after: .broken("x"), now: 0, draw: 0) == .giveUp)
        var other = RetryState(RetryPolicy(), now: 0)
        #expect(other.next(after: .timedOut(3), now: 0, draw: 0) == .retry(after: 0))
    }

    @Test func retryAfterIsKept() {
        var state = RetryState(RetryPolicy(), now: 0)
        for draw in [0, 0.5, 0.99] {
            let decision = state.next(after: .rateLimited(retryAfter: 7, message: ""), now: 0, draw: draw)
            guard case .retry(let wait) = decision else {
                Issue.record("gave up")
                return
            }
            #expect(wait >= 7 && wait < 8)
        }
        #expect(state.next(after: .rateLimited(retryAfter: 3600, message: ""), now: 0, draw: 0) == .giveUp)
    }

    @Test func refusalsEndAtOnceAndPatienceEnds() {
        var state = RetryState(RetryPolicy(), now: 100)
        #expect(state.next(after: .refused(status: 400, message: ""), now: 100, draw: 0) == .giveUp)
        let limited = AttemptFailure.rateLimited(retryAfter: 10, message: "")
        // 429 is no failure of the request: it may come as often as patience lasts.
        for _ in 0..<50 { #expect(state.next(after: limited, now: 1000, draw: 0) != .giveUp) }
        #expect(state.next(after: limited, now: 1895, draw: 0) == .giveUp)
    }

    @Test func retryAfterHeaders() {
        let now = 1_795_551_415.0  // Tue, 24 Nov 2026 20:16:55 GMT
        #expect(RetryAfter.seconds("12", now: now) == 12)
        #expect(RetryAfter.seconds("1", milliseconds: "250", now: now) == 0.25)
        #expect(RetryAfter.seconds("Tue, 24 Nov 2026 20:17:25 GMT", now: now) == 30)
        #expect(RetryAfter.seconds("Sat, 24 Nov 2001 20:17:25 GMT", now: now) == 0)
        for text in ["", "soon", "-3", "nan", "Tue, 24 Nov 2026 20:61:25 GMT", "Tue, 99 Xyz 2026 20:17:25 GMT"] {
            #expect(RetryAfter.seconds(text, now: now) == nil, "\(text)")
        }
        #expect(RetryAfter.seconds(nil, now: now) == nil)
    }

    @Test func theLimitDoublesThenGrowsByOneARoundAndShrinksOncePerRound() {
        var limit = ConcurrencyLimit(initial: 4, maximum: 64)
        for _ in 0..<4 { limit.answered(inFlight: 4) }
        #expect(limit.value == 8)
        limit.refused(call: 10, admitted: 20)
        #expect(limit.value == 6)
        // Calls that were under way when it shrank.
        for call in 11..<20 { limit.refused(call: call, admitted: 25) }
        #expect(limit.value == 6)
        limit.refused(call: 20, admitted: 30)
        #expect(limit.value == 4.5)
        let before = limit.value
        for _ in 0..<4 { limit.answered(inFlight: 4) }
        #expect(limit.value > before + 0.8 && limit.value < before + 1)
        // A limit that nobody uses does not grow.
        let now = limit.value
        limit.answered(inFlight: 1)
        #expect(limit.value == now)
        for call in 0..<1000 { limit.refused(call: 100 + call * 10, admitted: 100 + call * 10) }
        #expect(limit.value == 1)
        for _ in 0..<100_000 { limit.answered(inFlight: 64) }
        #expect(limit.value == 64)
    }

    @Test func theBreakerOpensTriesAndCloses() {
        var breaker = CircuitBreaker(window: 4, threshold: 4, shortest: 1, longest: 3)
        for _ in 0..<3 { breaker.failed(now: 10) }
        #expect(breaker.admit(now: 10) == nil)
        breaker.failed(now: 10)
        #expect(breaker.admit(now: 10.5) == 11)
        #expect(breaker.admit(now: 11) == nil)
        // One tries, the others wait.
        #expect(breaker.admit(now: 11) != nil)
        breaker.failed(now: 12)
        #expect(breaker.admit(now: 13.9) == 14)
        #expect(breaker.admit(now: 14) == nil)
        breaker.failed(now: 14)
        #expect(breaker.failingSince == 10)
        // Never longer than the longest wait.
        #expect(breaker.admit(now: 16.9) == 17)
        #expect(breaker.admit(now: 17) == nil)
        breaker.answered()
        #expect(breaker.state == .closed && breaker.failingSince == nil)
        #expect(breaker.admit(now: 17) == nil && breaker.admit(now: 17) == nil)
    }

    @Test func admissionCountsPausesAndGivesPlacesBack() {
        var control = AdmissionControl(limit: ConcurrencyLimit(initial: 2, maximum: 8))
        #expect(control.admit(now: 0) == .go(call: 0))
        #expect(control.admit(now: 0) == .go(call: 1))
        #expect(control.admit(now: 0) == .full)
        control.finished(call: 0, .answered, now: 0)
        #expect(control.free == 2)
        control.finished(call: 1, .abandoned, now: 0)
        // Refusals in a row stop everybody for as long as the endpoint asks.
        for number in 0..<4 {
            guard case .go(let call) = control.admit(now: Double(number)) else {
                Issue.record("not admitted")
                return
            }
            control.finished(call: call, .rateLimited(retryAfter: 5), now: Double(number))
        }
        #expect(control.admit(now: 4) == .wait(until: 8))
        guard case .go = control.admit(now: 8) else {
            Issue.record("still waiting")
            return
        }
        #expect(control.limit.value >= 1 && control.inFlight == 1)
    }

    /// Random outcomes: what is in flight never exceeds what the limit was, and an endpoint that recovers is used again.
    @Test func admissionUnderRandomOutcomes() {
        var random = SystemRandomNumberGenerator()
        var control = AdmissionControl(limit: ConcurrencyLimit(maximum: 16))
        var flying: [Int] = []
        var now = 0.0
        var answered = 0
        for step in 0..<50_000 {
            now += 0.01
            let isDown = (10_000..<20_000).contains(step)
            switch control.admit(now: now) {
            case .go(let call):
                flying.append(call)
                #expect(flying.count == control.inFlight && flying.count <= 16)
            case .full: #expect(!flying.isEmpty)
            case .wait(let until): #expect(until > now)
            }
            guard !flying.isEmpty, Bool.random(using: &random) else { continue }
            let call = flying.remove(at: Int.random(in: flying.indices, using: &random))
            let draw = Int.random(in: 0..<100, using: &random)
            let outcome: CallOutcome =
                isDown
                ? .failed
                : draw < 10 ? .rateLimited(retryAfter: 0.1) : draw < 15 ? .overloaded(retryAfter: nil) : .answered
            control.finished(call: call, outcome, now: now)
            if outcome == .answered, step > 30_000 { answered += 1 }
        }
        #expect(answered > 1000)
    }

    @Test func eventsComeWhereverTheBytesAreCut() throws {
        let stream =
            ": hello\r\ndata: one\r\n\r\nevent: x\ndata:two\ndata: more\n\nid: 3\n\ndata\n\ndata: [DONE]\r\rdata: half"
        let expected = ["one", "two\nmore", "", "[DONE]"]
        let bytes = Array(stream.utf8)
        for size in 1...bytes.count {
            var events = ServerSentEvents()
            var found: [String] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                found += try events.add(bytes[start..<min(start + size, bytes.count)]).map {
                    String(decoding: $0, as: UTF8.self)
                }
            }
            #expect(found == expected, "\(size)")
        }
        var small = ServerSentEvents(maximumBytes: 10)
        #expect(throws: ServerSentEvents.TooLarge.self) { try small.add(Array("data: far too long".utf8)) }
    }

    @Test func aStreamedAnswerIsWholeOrBroken() throws {
        let parts = [
            #"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            #"{"choices":[{"index":1,"delta":{"content":"other"}},{"index":0,"delta":{"content":"Hel"},"logprobs":{"content":[{"token":"Hel","logprob":-0.5,"bytes":null,"top_logprobs":[{"token":"Hel","logprob":-0.5},{"token":"Bye","logprob":-2}]}]}}]}"#,
            #"{"choices":[{"index":0,"delta":{"content":"lo"}}]}"#,
            #"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"go","arguments":"{\"a\""}}]}}]}"#,
            #"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
            #"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            #"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#,
        ]
        var stream = StreamedAnswer()
        for part in parts { try stream.add(Array(part.utf8)) }
        try stream.add(Array("[DONE]".utf8))
        let answer = try stream.finished()
        #expect(answer.text == "Hello" && answer.finishReason == "stop")
        #expect(answer.promptTokens == 5 && answer.completionTokens == 2)
        #expect(answer.toolCalls == [.init(name: "go", arguments: #"{"a":1}"#)])
        #expect(answer.tokens.count == 1 && answer.tokens[0].alternatives.count == 2)

        var cut = StreamedAnswer()
        for part in parts.prefix(3) { try cut.add(Array(part.utf8)) }
        #expect(throws: AttemptFailure.self) { try cut.finished() }
        #expect(throws: AttemptFailure.self) { try StreamedAnswer().finished() }
        var bad = StreamedAnswer()
        #expect(throws: AttemptFailure.self) { try bad.add(Array(#"{"choices":["#.utf8)) }
        #expect(throws: AttemptFailure.self) { try bad.add(Array(#"{"error":{"message":"down"}}"#.utf8)) }
    }

    @Test func answersThatAreNone() throws {
        for text in [
            "{}", #"{"choices":[]}"#, #"{"choices":[{}]}"#, #"{"choices":[{"message":{"content":3}}]}"#,
            #"{"choices":[{"message":{"content":"x","tool_calls":[{"index":9,"function":{}}]}}]}"#,
        ] {
            #expect(throws: ChatAnswer.Malformed.self, "\(text)") { try ChatAnswer(try JSONParser.parse(text.utf8)) }
        }
    }

    @Test func aKeyIsWrittenNowhere() throws {
        #expect(APIKeySource("env:OPENAI_API_KEY") == .environment("OPENAI_API_KEY"))
        #expect(APIKeySource("file:/x/y") == .file("/x/y"))
        for text in ["sk-abc", "env:", "env:A B", "env:1", "file:", "ENV:X"] { #expect(APIKeySource(text) == nil) }
        let secret = "sk-verysecret-0123456789"
        let key = try #require(APIKey(" \(secret)\n"))
        var dumped = ""
        dump(key, to: &dumped)
        for text in ["\(key)", String(reflecting: key), dumped, String(describing: Optional(key))] {
            #expect(!text.contains("verysecret"), "\(text)")
        }
        #expect(key.redacting("bad key \(secret), or sk-verysXXXX. ok") == "bad key •••, or ••• ok")
        #expect(APIKey("a b") == nil && APIKey("") == nil && APIKey("a\r\nHost: x") == nil)
        let error = #expect(throws: EndpointError.self) {
            try APIKeySource.environment("UNDERSTUDY_NO_SUCH").read(environment: [
                "UNDERSTUDY_NO_SUCH": "two words \(secret)"
            ])
        }
        #expect(error?.code == .key && error?.message.contains(secret) == false)
        #expect(try APIKeySource.environment("A").read(environment: ["A": secret]).secret == secret)
    }

    @Test func addresses() throws {
        #expect(try EndpointClient.address("http://127.0.0.1:1/v1/") == "http://127.0.0.1:1/v1")
        #expect(try EndpointClient.address("https://a.b/v1/chat/completions") == "https://a.b/v1")
        for text in ["", "a.b/v1", "ftp://a/b", "https://user:pass@a.b/v1", "https://a.b/v1?key=x", "https:///v1"] {
            #expect(throws: EndpointError.self, "\(text)") { try EndpointClient.address(text) }
        }
    }
}
