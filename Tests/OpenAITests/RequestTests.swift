import Foundation
import Inference
import OpenAI
import Testing
import Tokenizers

/// What clients send: read as meant, or refused with the field's name.
struct RequestTests {
    @Test func readsAChat() throws {
        let chat = try ChatCompletionRequest(
            body: #"""
                {"model":"m","messages":[{"role":"system","content":"be brief"},
                {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
                {"role":"assistant","content":null}],
                "temperature":0.5,"top_p":0.9,"n":2,"stop":"x","seed":-3,"max_completion_tokens":7,"max_tokens":9,
                "logprobs":true,"top_logprobs":4,"stream":true,"stream_options":{"include_usage":true},
                "logit_bias":{"17":-100},"user":null,"unknown":{"a":[1]},
                "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","properties":{"b":{},"a":{}}}}}}
                """#.utf8)
        #expect(chat.messages.map(\.content) == ["be brief", "ab", ""])
        #expect(chat.fields.temperature == 0.5 && chat.fields.topP == 0.9 && chat.fields.count == 2)
        #expect(chat.fields.stop == ["x"] && chat.fields.maximumTokens == 7 && chat.topLogProbabilities == 4)
        #expect(chat.fields.seed == UInt64(bitPattern: -3) && chat.fields.streams && chat.fields.includesUsage)
        #expect(chat.fields.logitBias == [17: -100] && chat.fields.user == nil)
        guard case .jsonSchema(let schema) = chat.fields.format else {
            Issue.record("no schema")
            return
        }
        // Keys keep their order: answers are written in it.
        #expect(schema.text == #"{"type":"object","properties":{"b":{},"a":{}}}"#)
    }

    @Test func readsCompletions() throws {
        func prompts(_ text: String) throws -> [CompletionRequest.Prompt] {
            try CompletionRequest(body: #"{"prompt":\#(text)}"#.utf8).prompts
        }
        #expect(try prompts(#""a""#) == [.text("a")])
        #expect(try prompts(#"["a","b"]"#) == [.text("a"), .text("b")])
        #expect(try prompts("[1,2]") == [.tokens([1, 2])])
        #expect(try prompts("[[1],[2,3]]") == [.tokens([1]), .tokens([2, 3])])
        #expect(try CompletionRequest(body: #"{"prompt":"a"}"#.utf8).fields.maximumTokens == 16)
    }

    @Test func mistakesNameTheirField() {
        let chat = #""messages":[{"role":"user","content":"a"}]"#
        let cases: [(String, String)] = [
            ("", "JSON"), ("[]", "object"), ("{}", "messages"), (#"{"messages":[]}"#, "messages"),
            (#"{"messages":[{"content":"a"}]}"#, "role"), (#"{"messages":[{"role":"user","content":3}]}"#, "content"),
            ("{\(chat),\"temperature\":\"hot\"}", "temperature"), ("{\(chat),\"temperature\":1e999}", "temperature"),
            ("{\(chat),\"max_tokens\":0}", "max_tokens"), ("{\(chat),\"max_tokens\":1.5}", "max_tokens"),
            ("{\(chat),\"n\":0}", "n"), ("{\(chat),\"stop\":[1]}", "stop"), ("{\(chat),\"stream\":1}", "stream"),
            ("{\(chat),\"logit_bias\":{\"a\":1}}", "logit_bias"), ("{\(chat),\"top_logprobs\":2}", "top_logprobs"),
            ("{\(chat),\"response_format\":{\"type\":\"xml\"}}", "response_format"),
            ("{\(chat),\"response_format\":{\"type\":\"json_schema\"}}", "response_format"),
            ("{\(chat),\"tools\":{}}", "tools"), ("{\(chat),\"functions\":[{}]}", "functions"),
            ("{\(chat),\"messages\":[]}", "twice"),
        ]
        for (body, word) in cases {
            do {
                _ = try ChatCompletionRequest(body: body.utf8)
                Issue.record("accepted: \(body)")
            } catch let error as APIError {
                #expect(error.status == 400 && error.message.contains(word), "\(body): \(error.message)")
            } catch { Issue.record("\(error)") }
        }
    }

    /// Mutated bodies, schemas and expressions: an error or a value, in time.
    @Test func mutatedRequestsNeverCrash() throws {
        let seeds = [
            #"{"model":"m","messages":[{"role":"user","content":"hi é"}],"temperature":0.5,"n":2,"stop":["a","b"],"logit_bias":{"5":1}}"#,
            #"{"prompt":[[1,2],[3]],"echo":true,"logprobs":3,"response_format":{"type":"regex","regex":"(a|b)+[^c-e]{2,5}\\d\\u00e9"}}"#,
            ##"{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"object","properties":{"a":{"type":["string","null"],"maxLength":9},"b":{"type":"array","items":{"$ref":"#/$defs/t"},"minItems":1,"maxItems":3},"c":{"enum":[1,"x"]},"d":{"type":"number","minimum":-1.5,"exclusiveMaximum":10},"e":{"type":"string","pattern":"^a+$"},"f":{"type":"string","format":"date"}},"required":["a"],"additionalProperties":false,"$defs":{"t":{"anyOf":[{"type":"integer","multipleOf":3},{"$ref":"#"}]}}}}}}"##,
        ].map { Array($0.utf8) }
        let count = max(12_000, Int(ProcessInfo.processInfo.environment["UNDERSTUDY_FUZZ"] ?? "") ?? 0)
        var random = SystemRandomNumberGenerator()
        let alphabet = Array(#"{}[]()",:\*+?|^$.-0123456789eabtruefalsnul#/"#.utf8)
        let clock = ContinuousClock()
        var accepted = 0
        var slowest = Duration.zero
        for _ in 0..<count {
            var body = seeds.randomElement(using: &random)!
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let place = Int.random(in: 0..<body.count, using: &random)
                switch Int.random(in: 0..<5, using: &random) {
                case 0: body[place] = alphabet.randomElement(using: &random)!
                case 1: body.insert(alphabet.randomElement(using: &random)!, at: place)
                case 2: body.remove(at: place)
                case 3: body[place] = UInt8.random(in: 0...255, using: &random)
                default:
                    let end = min(body.count, place + Int.random(in: 1...30, using: &random))
                    body.insert(contentsOf: body[place..<end], at: Int.random(in: 0...body.count, using: &random))
                }
                if body.isEmpty { body = [0] }
            }
            let time = clock.measure {
                let fields =
                    (try? ChatCompletionRequest(body: body))?.fields ?? (try? CompletionRequest(body: body))?.fields
                guard let fields else { return }
                accepted += 1
                let constraint: Constraint? =
                    switch fields.format {
                    case .jsonSchema(let schema): try? Constraint(jsonSchema: schema)
                    case .regularExpression(let source): try? Constraint(regularExpression: source)
                    default: nil
                    }
                _ = constraint?.matches(#"{"a":"aab","b":[3,{"a":null}],"c":1}"#.utf8)
                _ = constraint?.matches("abababfg1é".utf8)
            }
            slowest = max(slowest, time)
        }
        #expect(accepted > count / 50)
        #expect(slowest < .seconds(5))
        if count > 12_000 { print("\(count) bodies, \(accepted) read, the slowest in \(slowest)") }
    }
}
