import Foundation
import Inference
import Testing
import Tokenizers

/// Regular expressions and JSON Schemas against other implementations.
struct ConstraintTests {
    private func regex(_ source: String, matches text: String) throws -> Bool {
        try Constraint(regularExpression: source).matches(text.utf8)
    }

    private func schema(_ source: String) throws -> Constraint {
        try Constraint(jsonSchema: JSONParser.parse(source.utf8))
    }

    @Test func expressionsMatchWholeTexts() throws {
        let cases: [(String, [String], [String])] = [
            ("a*b", ["b", "aab"], ["", "a", "ba", "aabb"]),
            ("(ab|c)+", ["ab", "cab", "abab"], ["", "a", "abc "]),
            ("[^a-c]x?", ["d", "dx", "é", "é" + "x", "漢", "🙂"], ["a", "", "dxx"]),
            (#"\d{3}-\d{4}"#, ["555-0199"], ["5555-199", "555-01999"]),
            ("x{0}", [""], ["x"]), ("x{2,}", ["xx", "xxxx"], ["x"]), ("x{1,2}?", ["x", "xx"], ["", "xxx"]),
            ("", [""], ["x"]), ("^ab$", ["ab"], ["abc"]), ("a|", ["a", ""], ["b"]),
            (#"(?<year>\d\d)\.\w+\s"#, ["26.nov "], ["26nov "]), (#"[\]\-a]+"#, ["]-a"], ["b"]),
            ("[à-ü]+", ["éàü"], ["e"]), (".", ["x", "ß", "🙂"], ["\n", "xx", ""]),
            (#"\u00e9\x41"#, ["éA"], ["eA"]), ("(a*)*", ["", "aaa"], ["b"]), ("(a|a)*c", ["aac", "c"], ["aa"]),
        ]
        for (source, yes, no) in cases {
            for text in yes { #expect(try regex(source, matches: text), "\(source) \(text)") }
            for text in no { #expect(try !regex(source, matches: text), "\(source) \(text)") }
        }
    }

    @Test func wrongExpressionsAreRefused() {
        for source in [
            "(", ")", "[", "a**", "*", "+a", "a{2,1}", "a{", "(?=a)", "(?i)a", #"\1"#, #"\p{L}"#, "[z-a]", "a$b", "a^",
            #"\x4"#, #"\ud800"#, "(?<n", "[[:alpha:]]", "a{99999}", "(((a{1000}){1000}){1000})", "a++", "\\",
            String(repeating: "(", count: 5000) + String(repeating: ")", count: 5000),
            String(repeating: "a", count: 20_000),
        ] {
            #expect(throws: InferenceError.self, "\(source.prefix(40))") { try Constraint(regularExpression: source) }
        }
    }

    /// Random expressions against Foundation's engine.
    @Test func agreesWithAnotherEngine() throws {
        var random = SystemRandomNumberGenerator()
        func expression(_ depth: Int) -> String {
            switch Int.random(in: 0..<(depth > 3 ? 3 : 8), using: &random) {
            case 0: return ["a", "b", "c"].randomElement(using: &random)!
            case 1: return ["[ab]", "[^a]", ".", "[a-b]"].randomElement(using: &random)!
            case 2: return "b"
            case 3: return "(\(expression(depth + 1))|\(expression(depth + 1)))"
            case 4: return "(?:\(expression(depth + 1)))*"
            case 5: return "(\(expression(depth + 1))){1,3}"
            case 6: return "(\(expression(depth + 1)))?"
            default: return expression(depth + 1) + expression(depth + 1)
            }
        }
        var matched = 0
        for _ in 0..<400 {
            let source = expression(0)
            let constraint = try Constraint(regularExpression: source)
            let other = try NSRegularExpression(pattern: "^(?:\(source))$")
            for _ in 0..<30 {
                let text = String(
                    (0..<Int.random(in: 0...6, using: &random)).map { _ in "abc".randomElement(using: &random)! })
                let range = NSRange(text.startIndex..., in: text)
                let expected = other.firstMatch(in: text, range: range)?.range == range
                if expected { matched += 1 }
                #expect(constraint.matches(text.utf8) == expected, "\(source) on \(text)")
            }
        }
        #expect(matched > 500)
    }

    @Test func schemasAllowWhatTheySay() throws {
        let cases: [(String, [String], [String])] = [
            (
                #"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"required":["a","b"],"additionalProperties":false}"#,
                [#"{"a":"x\n\u00e9","b":-12}"#], [#"{"b":1,"a":"x"}"#, #"{"a":"x"}"#, #"{"a":"x","b":1.5}"#, "{}"]
            ),
            (
                #"{"type":"object","properties":{"a":{"const":1},"b":{"enum":["x",null,2.5]},"c":{"type":"boolean"}},"required":["b"],"additionalProperties":false}"#,
                [#"{"b":"x"}"#, #"{"a":1,"b":null}"#, #"{"b":2.5,"c":true}"#, #"{"a":1,"b":"x","c":false}"#],
                [#"{"a":1}"#, #"{"c":true,"b":"x"}"#, #"{,"b":"x"}"#, #"{"b":"x",}"#]
            ),
            (
                #"{"type":"object","properties":{"a":{"type":"null"}},"additionalProperties":{"type":"number"}}"#,
                ["{}", #"{"a":null}"#, #"{"z":1e5}"#, #"{"a":null,"y":0.5,"z":-1}"#, #"{"ab":1,"":2,"\"":3}"#],
                // A key of the schema is none of the others.
                [#"{"z":"1"}"#, #"{"a":1"#, #"{"a":1}"#, #"{"a":null,"a":1}"#, #"{"z":1,"a":null}"#]
            ),
            (
                #"{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}"#, ["[1,2]", "[1,2,3]"],
                ["[]", "[1]", "[1,2,3,4]", "[1,2,]"]
            ),
            (#"{"type":["string","null"],"maxLength":3}"#, ["null", #""abc""#, #""é漢🙂""#], [#""abcd""#, "1"]),
            (
                #"{"anyOf":[{"type":"string","pattern":"^[a-c]+$"},{"type":"string","format":"uuid"}]}"#,
                [#""abc""#, #""123e4567-e89b-12d3-a456-426614174000""#], [#""abd""#, #""""#]
            ),
            (#"{"type":"string","pattern":"b"}"#, [#""abc""#, #""b""#], [#""ac""#]),
            (#"{"type":"string","pattern":"^\"\\\\$"}"#, [#""\"\\""#], [#""x""#]),
            (#"{"type":"integer","multipleOf":7}"#, ["0", "7", "-14", "700"], ["1", "07", "-0"]),
            (
                ##"{"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"v":{"type":"integer"},"kids":{"type":"array","items":{"$ref":"#/$defs/tree"}}},"required":["v","kids"],"additionalProperties":false}}}"##,
                [#"{"v":1,"kids":[]}"#, #"{"v":1,"kids":[{"v":2,"kids":[{"v":3,"kids":[]}]},{"v":4,"kids":[]}]}"#],
                [#"{"v":1,"kids":[{"v":2}]}"#]
            ),
            (
                #"{"type":"string","format":"date-time"}"#,
                [#""2026-11-24T10:00:00Z""#, #""2026-11-24T10:00:00.5+01:00""#],
                [#""2026-13-24T10:00:00Z""#, #""2026-11-24""#]
            ),
            (#"{"type":"string","format":"ipv4"}"#, [#""192.168.0.1""#], [#""256.1.1.1""#, #""1.1.1""#]),
            (#"{"type":"string","format":"email"}"#, [#""a.b@example.org""#], [#""a@b""#, #""@x.org""#]),
            (#"{"type":"string","format":"duration"}"#, [#""P1DT2H""#, #""PT5M""#, #""P3W""#], [#""P""#, #""PT""#]),
            ("{}", ["1", #"{"a":[1,{"b":null}]}"#, "\"x\""], ["", "{", "[1 ]"]),
            ("true", ["null"], ["nul"]),
        ]
        for (source, yes, no) in cases {
            let constraint = try schema(source)
            for text in yes { #expect(constraint.matches(text.utf8), "\(source) refuses \(text)") }
            for text in no { #expect(!constraint.matches(text.utf8), "\(source) allows \(text)") }
        }
    }

    /// What a schema says of strings holds without the space they are written with.
    @Test func stringsMayBeWrittenWithASpaceBeforeThem() throws {
        let cases: [(String, [String], [String])] = [
            (#"{"type":"string"}"#, [#""""#, #"" a""#, #""  a""#], [#""a""#, "1"]),
            (
                #"{"type":"string","minLength":2,"maxLength":3}"#, [#"" ab""#, #"" abc""#],
                [#""""#, #"" a""#, #"" abcd""#]
            ),
            (#"{"type":"string","maxLength":2}"#, [#""""#, #"" ab""#], [#"" abc""#, #""ab""#]),
            (#"{"type":"string","pattern":"^[a-c]+$"}"#, [#"" abc""#], [#""abc""#, #""""#, #"" d""#]),
            (#"{"type":"string","pattern":"^[a-c]*$"}"#, [#"" abc""#, #""""#], [#""abc""#]),
            (#"{"type":"string","format":"date"}"#, [#"" 2026-01-31""#], [#""2026-01-31""#, #""""#]),
            (
                #"{"enum":["a","",3,{"k":["b"]}]}"#, [#"" a""#, #""""#, "3", #"{"k":[" b"]}"#],
                [#""a""#, #"{"k":["b"]}"#]
            ),
            (#"{"const":"a b"}"#, [#"" a b""#], [#""a b""#]),
            (
                #"{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}},"required":["a"]}"#,
                [#"{"a":" x"}"#, #"{"a":null,"b":" y"}"#, #"{"a":null,"b":"y"}"#], [#"{"a":"x"}"#, #"{" a":" x"}"#]
            ),
        ]
        for (source, yes, no) in cases {
            let value = try JSONParser.parse(source.utf8)
            let constraint = try Constraint(jsonSchema: value, leadingSpace: true)
            for text in yes { #expect(constraint.matches(text.utf8), "\(source) refuses \(text)") }
            for text in no { #expect(!constraint.matches(text.utf8), "\(source) allows \(text)") }
        }
    }

    /// Keys that a schema has are told from others, however many there are.
    @Test func otherKeysAreNoneOfTheSchemas() throws {
        let names = (0..<30).map { "a_rather_long_key_\($0)" } + ["é", "é\"b", "x/y", ""]
        let properties = names.map { "\(JSONValue.string($0).text):{\"type\":\"integer\"}" }
        let constraint = try schema(#"{"type":"object","properties":{\#(properties.joined(separator: ","))}}"#)
        for name in names {
            let key = JSONValue.string(name).text
            #expect(constraint.matches("{\(key):1}".utf8) && !constraint.matches("{\(key):\"s\"}".utf8), "\(name)")
            let other = JSONValue.string(name + "ü").text
            #expect(constraint.matches("{\(other):\"s\"}".utf8), "\(other)")
        }
        #expect(!constraint.matches(#"{"\u00e9":"s"}"#.utf8) && constraint.matches(#"{"a_rather":[]}"#.utf8))
    }

    @Test func numbersKeepWithinTheirBounds() throws {
        var random = SystemRandomNumberGenerator()
        func bound() -> Double {
            let digits = Int.random(in: 0...3, using: &random)
            let scale = [1.0, 10, 100, 1000][digits]
            return (Double.random(in: -300...300, using: &random) * scale).rounded() / scale
        }
        for _ in 0..<300 {
            let (a, b) = (bound(), bound())
            let (low, high) = (min(a, b), max(a, b))
            let isInteger = Bool.random(using: &random)
            let keys = [
                ["minimum", "exclusiveMinimum"].randomElement(using: &random)!,
                ["maximum", "exclusiveMaximum"].randomElement(using: &random)!,
            ]
            var members = [#""type":"\#(isInteger ? "integer" : "number")""#]
            let hasLow = Int.random(in: 0..<4, using: &random) > 0
            let hasHigh = !hasLow || Int.random(in: 0..<4, using: &random) > 0
            if hasLow { members.append("\"\(keys[0])\":\(low)") }
            if hasHigh { members.append("\"\(keys[1])\":\(high)") }
            let source = "{\(members.joined(separator: ","))}"
            guard let constraint = try? schema(source) else {
                // Only where there is no such number.
                #expect(low == high || (isInteger && high - low <= 2), "\(source)")
                continue
            }
            for _ in 0..<60 {
                let places = isInteger ? 0 : Int.random(in: 0...4, using: &random)
                var value = Double.random(in: -400...400, using: &random)
                if Int.random(in: 0..<3, using: &random) == 0 { value = Bool.random(using: &random) ? low : high }
                let text = String(format: "%.\(places)f", value)
                guard text != "-0", !text.hasPrefix("-0.0000"), Double(text) != 0 || !text.hasPrefix("-") else {
                    continue
                }
                let read = Double(text)!
                var expected = true
                if hasLow { expected = expected && (keys[0] == "minimum" ? read >= low : read > low) }
                if hasHigh { expected = expected && (keys[1] == "maximum" ? read <= high : read < high) }
                #expect(constraint.matches(text.utf8) == expected, "\(source) on \(text)")
            }
        }
    }

    @Test func wrongSchemasAreRefusedWithTheirPlace() throws {
        let cases: [(String, [String])] = [
            (##"{"type":"objekt"}"##, ["#/type", "objekt"]),
            (
                #"{"type":"object","properties":{"a":{"type":"string","minLength":"x"}}}"#,
                ["properties/a", "minLength"]
            ),
            (##"{"not":{}}"##, ["not"]), (##"{"allOf":[{}]}"##, ["allOf"]), (##"{"$ref":"#/nowhere"}"##, ["nowhere"]),
            (#"{"$ref":"https://example.org"}"#, ["$ref"]), (#"{"enum":[]}"#, ["enum"]),
            (#"{"type":"string","pattern":"("}"#, ["pattern", "character"]),
            (#"{"type":"string","format":"colour"}"#, ["colour", "uuid"]),
            (#"{"type":"object","required":["x"]}"#, ["required", "x"]), ("false", ["nothing"]), ("3", ["object"]),
            (#"{"type":"integer","minimum":5,"maximum":4}"#, ["bounds"]),
            (#"{"type":"string","minItems":1}"#, ["minItems"]),
            (#"{"type":"array","items":{"type":"string","maxLength":10000},"maxItems":10000}"#, []),
            (#"{"type":"object","patternProperties":{}}"#, ["patternProperties"]),
        ]
        for (source, words) in cases {
            do {
                _ = try schema(source)
                // Large counts of calls are allowed: they are small.
                #expect(words.isEmpty, "\(source)")
            } catch let error as InferenceError {
                for word in words { #expect(error.message.contains(word), "\(error.message)") }
            }
        }
        // A schema that is only itself has no value.
        #expect(try !schema(##"{"$ref":"#"}"##).matches("1".utf8))
    }

    @Test func anyJSONIsJSON() throws {
        for text in [
            "{}", "[]", #"{"a":"b","c":[1,-2.5e+3,true,false,null,{"d":{}}]}"#, #""é\u00e9\n\"""#, "0", "-0.5", "12",
            "[[],[[]]]", #""\ud83d\ude42""#,
        ] {
            #expect(Constraint.json.matches(text.utf8), "\(text)")
        }
        for text in [
            "", "{", "}", "[1,]", "{,}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, "01", "1.", "-", "1e", "tru", "truee",
            #""\x""#, #""\u12g4""#, "\"a\nb\"", "{}{}", "[1 ,2]", #"{"a":"b""c":1}"#, #"{"a":"b":"c"}"#, "[}",
            #""\ud83d""#, #""\ude42""#,
        ] {
            #expect(!Constraint.json.matches(text.utf8), "\(text)")
        }
        #expect(Constraint.jsonObject.matches(#"{"a":1}"#.utf8))
        #expect(!Constraint.jsonObject.matches("[]".utf8))
        // Depth is limited: an error or a refusal, never a crash.
        let deep = String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)
        #expect(!Constraint.json.matches(deep.utf8))
        var random = SystemRandomNumberGenerator()
        let alphabet = Array(#"{}[]:,"a\u01-.e+tn"#.utf8)
        var whole = 0
        for _ in 0..<50_000 {
            let bytes = (0..<Int.random(in: 1...7, using: &random)).map { _ in alphabet.randomElement(using: &random)! }
            guard Constraint.json.matches(bytes) else { continue }
            whole += 1
            #expect(
                (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil,
                "\(String(decoding: bytes, as: UTF8.self))")
        }
        #expect(whole > 20)
    }

    @Test func hostileConstraintsEndInTime() throws {
        let clock = ContinuousClock()
        let time = try clock.measure {
            // Exponential for engines that go back.
            #expect(try !regex("(a+)+b", matches: String(repeating: "a", count: 5_000)))
            #expect(try !regex("(a|aa|aaa)*(a|aa)*c", matches: String(repeating: "a", count: 3_000)))
            // All the places of the last twenty characters: the states of a determinised machine double with each.
            let long = String((0..<3_000).map { $0 * 7919 % 13 < 6 ? "a" : "b" })
            _ = try regex("(a|b)*a(a|b){20}", matches: long)
            #expect(throws: InferenceError.self) { try Constraint(regularExpression: "((a{1,100}){1,100}){1,100}") }
        }
        #expect(time < .seconds(20))
    }
}
