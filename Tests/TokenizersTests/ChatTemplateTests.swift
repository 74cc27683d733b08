import Foundation
import Testing
import Tokenizers

struct ChatTemplateTests {
    private let talk = [
        ChatMessage(role: "user", content: "Hi"), ChatMessage(role: "assistant", content: "Hello!"),
        ChatMessage(role: "user", content: " Bye "),
    ]

    @Test func smolLM() throws {
        let template = try ChatTemplate(
            #"{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"#
        )
        #expect(
            try template.render([talk[0]])
                == "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        )
        #expect(
            try template.render([ChatMessage(role: "system", content: "S"), talk[0]], addGenerationPrompt: false)
                == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n")
    }

    @Test func instructionsInBrackets() throws {
        let template = try ChatTemplate(
            """
            {{ bos_token }}{% for message in messages %}
            {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
            {{ raise_exception('roles must alternate') }}
            {% endif %}
            {% if message.role == 'user' %}
            {{ '[INST] ' + message['content'] | trim + ' [/INST]' }}{% else %}
            {{ ' ' + message.content + eos_token }}{% endif %}
            {%- endfor %}
            """)
        #expect(
            try template.render(talk, beginToken: "<s>", endToken: "</s>")
                == "<s>[INST] Hi [/INST] Hello!</s>[INST] Bye [/INST]")
        #expect(throws: TokenizerError.self) { try template.render([talk[1]]) }
    }

    @Test func namespacesSurviveLoopsAndNamesDoNot() throws {
        let template = try ChatTemplate(
            "{% set ns = namespace(n=0) %}{% set x = 'a' %}{% for m in messages if m.role == 'user' %}{% set ns.n = ns.n + 1 %}{% set x = 'b' %}{% endfor %}{{ ns.n }}{{ x }}"
        )
        #expect(try template.render(talk) == "2a")
    }

    @Test func slicesTestsAndFilters() throws {
        let template = try ChatTemplate(
            "{% for m in messages[1:] %}{{ m.content|upper }}{{ ',' if not loop.last }}{% endfor %}|{{ tools is defined }}|{{ messages[-1]['content'].strip() }}|{{ messages|length }}|{{ ['a','b']|join('-') }}|{{ {'k': [1, true, none]}|tojson }}"
        )
        #expect(try template.render(talk) == #"HELLO!, BYE |False|Bye|3|a-b|{"k": [1, true, null]}"#)
    }

    @Test func mistakesNameTheirLine() throws {
        for (source, line) in [
            ("a\n{% if x %}", 2), ("{{ 'open }}", 1), ("\n\n{% macro f() %}{% endmacro %}", 3), ("{{ 1 + }}", 1),
        ] {
            do {
                _ = try ChatTemplate(source)
                Issue.record("accepted: \(source)")
            } catch let error as TokenizerError {
                #expect(error.line == line, "\(source)")
            }
        }
    }

    @Test func endlessTemplatesStop() throws {
        let loops = try ChatTemplate(
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}")
        #expect(throws: TokenizerError.self) { try loops.render(talk) }
        let deep = String(repeating: "(", count: 100_000) + "1" + String(repeating: ")", count: 100_000)
        #expect(throws: TokenizerError.self) { try ChatTemplate("{{ \(deep) }}") }
        #expect(throws: TokenizerError.self) {
            try ChatTemplate(String(repeating: "{% if 1 %}", count: 100_000))
        }
        let doubling = try ChatTemplate(
            "{% set ns = namespace(s='x') %}{% for a in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}")
        #expect(throws: TokenizerError.self) { try doubling.render(talk) }
    }

    @Test func brokenTemplatesNeverCrash() throws {
        let seeds = [
            "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ 'x\\n' + m.content|trim }}{% elif m is defined %}{{ m.content[1:-1] }}{% else %}{{ raise_exception('no') }}{% endif %}{% endfor %}",
            "{% set ns = namespace(a=1) %}{{- ns.a // 2 ~ [1,2][0] ~ {'k': 'v'}.items() -}}{# c #}{{ range(3)|list }}",
        ].map { Array($0.utf8) }
        let alphabet = Array("{}%#-|.[]()'\"+*/~ \nabifforset0129,:=<>".utf8)
        var random = SystemRandomNumberGenerator()
        for round in 0..<max(10_000, Int(ProcessInfo.processInfo.environment["UNDERSTUDY_FUZZ"] ?? "") ?? 0) {
            var bytes = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = alphabet.randomElement(using: &random)!
                case 1: bytes.remove(at: place)
                default: bytes.insert(alphabet.randomElement(using: &random)!, at: place)
                }
            }
            if let template = try? ChatTemplate(String(decoding: bytes, as: UTF8.self)) {
                _ = try? template.render(talk)
            }
        }
    }
}
