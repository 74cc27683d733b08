import Foundation
import Inference
import LanguageModels
import Tensors
import Testing
import Tokenizers

/// What must hold whatever runs beside a request, on small random models.
struct BatchEngineTests {
    private static let models = [
        try! TinyModels.model(), try! TinyModels.model(seed: 9, experts: true),
    ]

    private func engine(
        _ model: LanguageModel, sequences: Int = 8, tokens: Int = 64, cacheBytes: Int = 64 << 20,
        sharesPrefixes: Bool = true, speculation: Speculation = .off, format: CacheFormat = .float16,
        draft: LanguageModel? = nil
    ) -> BatchEngine {
        BatchEngine(
            model: model,
            configuration: .init(
                maximumSequences: sequences, maximumBatchTokens: tokens, cacheBytes: cacheBytes, cacheFormat: format,
                sharesPrefixes: sharesPrefixes, speculation: speculation), pool: TinyModels.pool, draft: draft)
    }

    private func drawn(_ count: Int, _ random: inout RandomNumbers) -> [Int32] {
        (0..<count).map { _ in Int32(3 + random.below(255)) }
    }

    /// Requests of all kinds, some with the same beginning.
    private func requests(_ count: Int, seed: UInt64) throws -> [GenerationRequest] {
        var random = RandomNumbers(seed: seed)
        let shared = drawn(40, &random)
        return try (0..<count).map { index in
            var prompt = index % 3 == 0 ? Array(shared.prefix(20 + random.below(20))) : []
            prompt += drawn(1 + random.below(60), &random)
            var request = GenerationRequest(
                prompt: prompt, maximumTokens: 1 + random.below(30), stopTokens: [2],
                sampling: SamplingOptions(temperature: index % 2 == 0 ? 0 : 0.9, seed: UInt64(index)), writesText: true)
            switch index % 7 {
            case 1: request.sampling.topK = 20
            case 2: request.sampling.repetitionPenalty = 1.2
            case 3: request.sampling.topP = 0.8
            case 4: request.constraint = try Constraint(regularExpression: "[a-f]{3,10}(xyz|uvw)[0-9]+")
            case 5: request.constraint = .json
            default: break
            }
            request.priority = index % 4 == 0 ? 1 : 0
            return request
        }
    }

    private func same(_ a: GenerationResult, _ b: GenerationResult) -> Bool {
        a.tokens == b.tokens && a.finish == b.finish && a.text == b.text && a.logProbability == b.logProbability
    }

    @Test(arguments: [0, 1]) func answersAreTheirOwn(_ number: Int) throws {
        let model = Self.models[number]
        let requests = try requests(42, seed: 3)
        let alone = try requests.map { try engine(model, sharesPrefixes: false).answer([$0])[0] }
        #expect(Set(alone.map(\.text)).count > 20)
        for (label, engine) in [
            ("together", engine(model)), ("small passes", engine(model, sequences: 5, tokens: 7)),
            ("no sharing", engine(model, sharesPrefixes: false)),
            // About a dozen pages: sequences stop for others and begin again.
            (
                "little memory",
                engine(model, cacheBytes: 13 * PagePool.bytes(model.configuration, format: .float16, tokens: 1))
            ),
            ("lookup", engine(model, speculation: Speculation(.promptLookup, maximumDraft: 5))),
            ("draft", engine(model, speculation: Speculation(.draftModel), draft: Self.models[0])),
            (
                "other draft",
                engine(model, speculation: Speculation(.draftModel), draft: try TinyModels.model(seed: 77, layers: 1))
            ),
        ] {
            let results = try engine.answer(requests)
            for (index, (a, b)) in zip(alone, results).enumerated() {
                #expect(same(a, b), "\(label), request \(index): \(a.text) / \(b.text)")
            }
            #expect(engine.statistics.pagesInUse == 0, "\(label) leaks pages")
            if label == "little memory" { #expect(engine.statistics.preemptions > 0) }
            if label == "together" { #expect(engine.statistics.cachedPromptTokens > 0) }
            if label == "draft" && number == 0 {
                #expect(engine.statistics.acceptedTokens > engine.statistics.draftedTokens / 2)
            }
        }
    }

    @Test func sharedBeginningsAreComputedOnce() throws {
        let model = Self.models[0]
        var random = RandomNumbers(seed: 4)
        let shared = drawn(100, &random)
        let engine = engine(model, tokens: 32)
        let requests = (0..<10).map { _ in GenerationRequest(prompt: shared + drawn(5, &random), maximumTokens: 4) }
        let results = try engine.answer(requests)
        // 6 pages of 16 tokens; the first request computes them, the others wait for it.
        #expect(results.filter { $0.cachedTokens == 96 }.count == 9)
        #expect(engine.statistics.promptTokens <= 105 + 9 * 9)
        #expect(try engine.answer([requests[3]])[0].cachedTokens == 96)
        // The same through a prefix that is held on to.
        let prefix = try engine.prefix(Array(shared.prefix(90)))
        let own = GenerationRequest(prompt: Array(requests[2].prompt[90...]), prefix: prefix, maximumTokens: 4)
        #expect(try engine.answer([own])[0].tokens == results[2].tokens)
    }

    @Test func cancelledRequestsLeaveNothing() throws {
        let model = Self.models[0]
        let engine = engine(model, sequences: 4, cacheBytes: 1 << 20)
        var random = RandomNumbers(seed: 8)
        var live: Set<Int> = []
        for step in 0..<300 {
            while live.count < 10 {
                live.insert(
                    try engine.submit(
                        GenerationRequest(prompt: drawn(1 + random.below(80), &random), maximumTokens: 20)))
            }
            if step % 3 == 0, let victim = live.randomElement(using: &random) {
                engine.cancel(victim)
                live.remove(victim)
            }
            for case .finished(let number, _) in engine.step() { live.remove(number) }
        }
        for number in live { engine.cancel(number) }
        #expect(engine.isIdle)
        #expect(engine.step().isEmpty)
        #expect(engine.statistics.pagesInUse == 0)
    }

    @Test func promptScoresAreTheModels() throws {
        let model = Self.models[0]
        var random = RandomNumbers(seed: 12)
        let prompt = drawn(70, &random)
        let engine = engine(model)
        _ = try engine.answer([GenerationRequest(prompt: prompt, maximumTokens: 1)])
        let number = try engine.submit(
            GenerationRequest(prompt: prompt, maximumTokens: 3, alternatives: 2, scoresPrompt: true))
        var scores: [PromptScore] = []
        while !engine.isIdle {
            for case .progress(number, let progress) in engine.step() { scores += progress.promptScores }
        }
        #expect(scores.map(\.token) == prompt)
        #expect(scores[0].logProbability == nil)
        let pass = DecoderPass(model: model, pool: TinyModels.pool)
        let logits = pass.run([SequenceInput(cache: SequenceCache(model.configuration), tokens: prompt, rows: .all)])
        let width = model.configuration.vocabularySize
        for place in 1..<prompt.count {
            let row = logits[(place - 1) * width..<place * width].map(Double.init)
            let top = row.max()!
            let total = top + log(row.reduce(0) { $0 + exp($1 - top) })
            let expected = row[Int(prompt[place])] - total
            #expect(abs((scores[place].logProbability ?? 0) - expected) < 1e-4, "place \(place)")
            #expect(scores[place].alternatives?.tokens.count == 2)
        }
    }

    @Test func stopStringsCutAcrossTokens() throws {
        let model = Self.models[0]
        var free = GenerationRequest(prompt: [70, 80, 90], maximumTokens: 60, writesText: true)
        let engine = engine(model)
        let whole = try engine.answer([free])[0].text
        let characters = Array(whole)
        try #require(characters.count > 20)
        for start in [3, 9, 15] {
            let stop = String(characters[start..<start + 4])
            guard let range = whole.range(of: stop) else { continue }
            free.stopStrings = ["never there", stop]
            let result = try engine.answer([free])[0]
            #expect(result.text == String(whole[..<range.lowerBound]))
            #expect(result.finish == .stop)
            // What was shown on the way is the same text.
            let number = try engine.submit(free)
            var shown = ""
            while !engine.isIdle {
                for case .progress(number, let progress) in engine.step() { shown += progress.text }
            }
            #expect(shown == result.text)
        }
    }

    @Test func constraintsHoldAndForceTokens() throws {
        let model = Self.models[1]
        let schema = try Constraint(
            jsonSchema: JSONParser.parse(
                #"{"type":"object","properties":{"the name":{"type":"string","maxLength":5},"abc":{"enum":["ab",7]}},"required":["the name","abc"],"additionalProperties":false}"#
                    .utf8))
        let engine = engine(model)
        for temperature in [Float(0), 1] {
            let results = try engine.answer(
                (0..<12).map { seed in
                    GenerationRequest(
                        prompt: [Int32(seed + 40)], maximumTokens: 200, stopTokens: [2],
                        sampling: SamplingOptions(temperature: temperature, seed: UInt64(seed)), constraint: schema,
                        writesText: true)
                })
            for result in results {
                #expect(schema.matches(result.text.utf8), "\(result.text)")
                #expect(result.finish == .stop)
                #expect(result.forcedTokens > 5)
            }
            #expect(Set(results.map(\.text)).count > 3)
        }
        // Forced tokens count like any other, and an answer without a choice needs no more than they are.
        for limit in 1...12 {
            let cut = try engine.answer([
                GenerationRequest(prompt: [40], maximumTokens: limit, stopTokens: [2], constraint: schema)
            ])[0]
            #expect(cut.tokens.count == limit && cut.finish == .length)
        }
        let only = try engine.answer([
            GenerationRequest(
                prompt: [40], maximumTokens: 50, constraint: try Constraint(oneOf: ["nothing else"]), writesText: true)
        ])[0]
        #expect(only.text == "nothing else" && only.finish == .stop && only.tokens.count == only.forcedTokens)
    }

    @Test func samplingFollowsTheDistribution() throws {
        let model = try TinyModels.model(seed: 21, sharpness: 0.2)
        let engine = engine(model, sequences: 64, tokens: 512)
        let prompt: [Int32] = [50, 60]
        let base = try engine.answer([GenerationRequest(prompt: prompt, maximumTokens: 1, alternatives: 262)])[0]
        let p = Dictionary(uniqueKeysWithValues: zip(base.alternatives[0].tokens, base.alternatives[0].probabilities))
        func counts(_ options: (UInt64) -> SamplingOptions) throws -> [Int32: Int] {
            let results = try engine.answer(
                (0..<4000).map { GenerationRequest(prompt: prompt, maximumTokens: 1, sampling: options(UInt64($0))) })
            return results.reduce(into: [:]) { $0[$1.tokens[0], default: 0] += 1 }
        }
        let free = try counts { SamplingOptions(temperature: 1, seed: $0) }
        for (token, probability) in p where probability > 0.01 {
            let share = Double(free[token, default: 0]) / 4000
            let deviation = (Double(probability) * (1 - Double(probability)) / 4000).squareRoot()
            #expect(abs(share - Double(probability)) < 5 * deviation, "token \(token)")
        }
        let order = p.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.map(\.key)
        #expect(Set(try counts { SamplingOptions(temperature: 1, topK: 3, seed: $0) }.keys) == Set(order.prefix(3)))
        var mass: Float = 0
        let nucleus = order.prefix { token in
            defer { mass += p[token]! }
            return mass < 0.5
        }
        #expect(
            Set(try counts { SamplingOptions(temperature: 1, topP: 0.5, seed: $0) }.keys).isSubset(of: Set(nucleus)))
        let floor = p[order[0]]! * 0.5
        let likely = Set(order.filter { p[$0]! >= floor })
        #expect(Set(try counts { SamplingOptions(temperature: 1, minP: 0.5, seed: $0) }.keys).isSubset(of: likely))
        let typical = try counts { SamplingOptions(temperature: 1, typicalP: 0.3, seed: $0) }
        #expect(typical.count < free.count)
        let biased = try counts { SamplingOptions(temperature: 1, logitBias: [order[5]: 100], seed: $0) }
        #expect(biased == [order[5]: 4000])
        // Penalties: a token that came is less likely to come again.
        let again = try engine.answer([
            GenerationRequest(
                prompt: prompt, maximumTokens: 60, sampling: SamplingOptions(presencePenalty: 50, frequencyPenalty: 50))
        ])[0]
        #expect(Set(again.tokens).count == again.tokens.count)
    }

    /// What a constraint leaves is drawn as often as among it alone, with and without a mask to work out first.
    @Test(arguments: [0, 200]) func constrainedSamplingFollowsTheDistribution(topK: Int) throws {
        let model = try TinyModels.model(seed: 21, sharpness: 0.2)
        let engine = engine(model, sequences: 64, tokens: 512)
        let prompt: [Int32] = [50, 60]
        let base = try engine.answer([GenerationRequest(prompt: prompt, maximumTokens: 1, alternatives: 262)])[0]
        let lower = UInt8(ascii: "a")...UInt8(ascii: "p")
        let allowed = zip(base.alternatives[0].tokens, base.alternatives[0].probabilities).filter { token, _ in
            let bytes = model.tokenizer.bytes(of: token)
            return !bytes.isEmpty && bytes.allSatisfy(lower.contains)
        }
        let mass = allowed.reduce(0) { $0 + Double($1.1) }
        #expect(allowed.count > 5 && mass < 0.5)
        let constraint = try Constraint(regularExpression: "[a-p]+")
        let results = try engine.answer(
            (0..<4000).map {
                GenerationRequest(
                    prompt: prompt, maximumTokens: 1,
                    sampling: SamplingOptions(temperature: 1, topK: topK, seed: UInt64($0)), constraint: constraint)
            })
        let counts = results.reduce(into: [Int32: Int]()) { $0[$1.tokens[0], default: 0] += 1 }
        #expect(counts.values.reduce(0, +) == 4000 && Set(counts.keys).isSubset(of: Set(allowed.map(\.0))))
        for (token, probability) in allowed where Double(probability) / mass > 0.01 {
            let expected = Double(probability) / mass
            let share = Double(counts[token, default: 0]) / 4000
            let deviation = (expected * (1 - expected) / 4000).squareRoot()
            #expect(abs(share - expected) < 5 * deviation, "token \(token)")
        }
    }

    @Test func wrongRequestsAreRefused() throws {
        let engine = BatchEngine(
            model: Self.models[0], configuration: .init(maximumSequences: 1, maximumWaiting: 2, cacheBytes: 1),
            pool: TinyModels.pool)
        func code(_ request: GenerationRequest) -> InferenceError.Code? {
            do {
                _ = try engine.submit(request)
                return nil
            } catch { return (error as? InferenceError)?.code }
        }
        #expect(code(GenerationRequest(prompt: [])) == .emptyPrompt)
        #expect(code(GenerationRequest(prompt: [9999])) == .invalidToken)
        #expect(code(GenerationRequest(prompt: [Int32](repeating: 5, count: 600))) == .promptTooLong)
        #expect(code(GenerationRequest(prompt: [5], maximumTokens: 200)) == .tooLarge)
        for options in [
            SamplingOptions(temperature: -1), SamplingOptions(temperature: .nan), SamplingOptions(topK: -1),
            SamplingOptions(topP: 1.1), SamplingOptions(minP: -0.1), SamplingOptions(repetitionPenalty: 0),
            SamplingOptions(logitBias: [1: .infinity]),
        ] {
            #expect(code(GenerationRequest(prompt: [5], maximumTokens: 5, sampling: options)) == .invalidOption)
        }
        #expect(code(GenerationRequest(prompt: [5], maximumTokens: 5)) == nil)
        #expect(code(GenerationRequest(prompt: [5], maximumTokens: 5)) == nil)
        #expect(code(GenerationRequest(prompt: [5], maximumTokens: 5)) == .busy)
    }

    @Test func eightBitCachesAnswerToo() throws {
        let model = Self.models[0]
        let exact = engine(model, sharesPrefixes: false)
        let small = engine(model, format: .int8)
        var random = RandomNumbers(seed: 31)
        let requests = (0..<10).map { _ in GenerationRequest(prompt: drawn(50, &random), maximumTokens: 1) }
        let a = try exact.answer(requests)
        let b = try small.answer(requests)
        for (x, y) in zip(a, b) { #expect(abs(x.logProbability - y.logProbability) < 0.2) }
        #expect(
            PagePool.bytes(model.configuration, format: .int8, tokens: 160)
                < PagePool.bytes(model.configuration, format: .float16, tokens: 160) * 2 / 3)
    }
}
