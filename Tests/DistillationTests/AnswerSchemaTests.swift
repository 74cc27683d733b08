import Distillation
import Foundation
import Inference
import OpenAI
import TestSupport
import Testing
import Tokenizers

/// `output.schema`: how it is read, and what answers are held to.
@Suite struct AnswerSchemaTests {
    private func json(_ text: String) throws -> JSONValue { try JSONParser.parse(text.utf8) }

    private static let weather =
        #"{"type":"object","properties":{"city":{"type":"string","minLength":2},"days":{"type":"integer","minimum":1},"unit":{"enum":["C","F"]}},"required":["city"],"additionalProperties":false}"#
    private static let tools =
        #"[{"type":"function","function":{"name":"weather","description":"d","parameters":"# + weather
        + #"}},{"type":"function","function":{"name":"stop"}}]"#

    /// A task with a schema; rows have the lines given.
    private func folder(_ schema: String?, kind: String = "json", gold: [String], recorded: [String] = []) throws
        -> TemporaryFolder
    {
        let folder = try TemporaryFolder()
        func rows(_ outputs: [String], _ name: String) -> String {
            outputs.enumerated().map { "{\"input\":\"\(name) \($0.offset)\",\"output\":\($0.element)}" }
                .joined(separator: "\n")
        }
        if let schema { try folder.write(schema, "schema.json") }
        try folder.write(rows(gold, "gold"), "gold.jsonl")
        if !recorded.isEmpty { try folder.write(rows(recorded, "recorded"), "recorded.jsonl") }
        try folder.write(rows([gold[0]], "test"), "test.jsonl")
        try folder.write(
            """
            name: t
            output: {kind: \(kind), schema: schema.json}
            data: {gold: {train: gold.jsonl, test: test.jsonl}\(recorded.isEmpty ? "" : ", recorded: recorded.jsonl")}
            teacher: {endpoint: {url: 'http://a/v1', model: m}}
            """, "task.yaml")
        return folder
    }

    @Test(
        arguments: [
            (nil, "json", "task.yaml:2: 'output.schema' names 'schema.json', which is not a readable file"),
            ("{oops", "json", "schema.json: not JSON"),
            (#"{"type":"objekt"}"#, "json", "schema.json: JSON schema, #/type: 'objekt'"),
            (#"{"allOf":[{}]}"#, "json", "'allOf' is not supported"),
            ("[1]", "json", "schema.json: expected a JSON Schema"),
            ("[1]", "tool", "or a list of tools"), (#"{"tools":[{"function":{}}]}"#, "tool", "list of tools"),
            (#"{"tools":[{"function":{"name":"f","parameters":{"type":"x"}}}]}"#, "tool", "'x' is no type"),
            (#"{"type":"object"}"#, "text", "'output.schema' is for kind json or tool"),
        ] as [(String?, String, String)])
    func mistakesHaveTheirFile(schema: String?, kind: String, words: String) throws {
        let folder = try folder(schema, kind: kind, gold: ["1"])
        let error = #expect(throws: TaskError.self) { try TaskDefinition(folder: folder.url) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }

    @Test(arguments: [
        (#"{"city":"Oslo","extra":1}"#, "'output.extra' is not allowed, expected only: city, days, unit"),
        (#"{"days":1}"#, "'output.city' is missing"), (#"{"city":3}"#, "'output.city' is 3, expected a string"),
        (#"{"city":"O"}"#, "expected at least 2 characters"), (#"{"city":"Oslo","days":1.5}"#, "expected an integer"),
        (#"{"city":"Oslo","days":0}"#, "expected at least 1"),
        (#"{"city":"Oslo","unit":"K"}"#, #"'output.unit' is "K", expected one of: "C", "F""#),
        ("[]", "'output' is [], expected an object"),
    ])
    func goldThatDoesNotFitIsAnErrorWithItsLine(row: String, words: String) throws {
        let folder = try folder(Self.weather, gold: [#"{"city":"Oslo"}"#, row])
        let error = #expect(throws: TaskError.self) { try Dataset(TaskDefinition(folder: folder.url)) }
        #expect(error?.line == 2 && error?.file?.hasSuffix("gold.jsonl") == true)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    @Test func recordedAnswersThatDoNotFitAreDropped() throws {
        let folder = try folder(
            Self.weather, gold: [#"{"unit":"C","city":"Oslo"}"#], recorded: [#"{"city":"Rome"}"#, "{}", "3"])
        let data = try Dataset(TaskDefinition(folder: folder.url))
        // Keys stand in the schema's order.
        #expect(data.train.map(\.output) == [#"{"city":"Oslo","unit":"C"}"#, #"{"city":"Rome"}"#])
        #expect(data.notes.contains { $0.hasPrefix("2 recorded answers") && $0.contains(":2: ") }, "\(data.notes)")
    }

    @Test func aListOfToolsIsASchema() throws {
        let call = #"{"arguments":{"unit":"F","city":"Oslo"},"name":"weather"}"#
        for text in [Self.tools, "{\"tools\":\(Self.tools)}"] {
            let folder = try folder(text, kind: "tool", gold: [call, #"{"name":"stop","arguments":{"any":[1]}}"#])
            let task = try TaskDefinition(folder: folder.url)
            #expect(
                try Dataset(task).train.map(\.output) == [
                    #"{"name":"weather","arguments":{"city":"Oslo","unit":"F"}}"#,
                    #"{"name":"stop","arguments":{"any":[1]}}"#,
                ])
            let asked = EndpointPrompt(task, endpoint: task.endpoint!, labels: [], examples: []).call("x").format
            guard case .jsonSchema(let schema) = asked else {
                Issue.record("\(asked)")
                return
            }
            // OpenAI takes no `anyOf` at the root.
            #expect(schema["type"] == .string("object"))
            #expect(schema["properties"]?["name"]?["enum"] == .array([.string("weather"), .string("stop")]))
        }
        for (wrong, words) in [
            (#"{"name":"wether","arguments":{}}"#, #"expected "weather" or "stop""#),
            (#"{"name":"weather","arguments":{"city":7}}"#, "'output.arguments.city' is 7, expected a string"),
        ] {
            let folder = try folder(Self.tools, kind: "tool", gold: [call, wrong])
            let error = #expect(throws: TaskError.self) { try Dataset(TaskDefinition(folder: folder.url)) }
            #expect(error?.line == 2 && error?.message.contains(words) == true, "\(error?.message ?? "")")
        }
    }

    /// References in a tool's parameters are meant within them.
    @Test func referencesMoveWithTheirSchema() throws {
        func tool(_ name: String, _ type: String) -> String {
            ##"{"name":"\##(name)","parameters":{"type":"object","properties":{"x":{"$ref":"#/$defs/t"}},"$defs":{"t":{"type":"\##(type)"}}}}"##
        }
        let tools = try json("[\(tool("f", "string")),\(tool("g", "integer"))]")
        let schema = try #require(ToolCall.schema(tools: tools))
        for schema in [schema, ToolCall.flattened(schema)] {
            let constraint = try Constraint(jsonSchema: schema)
            #expect(constraint.matches(#"{"name":"f","arguments":{"x":"a"}}"#.utf8))
            #expect(constraint.matches(#"{"name":"g","arguments":{"x":1}}"#.utf8))
            #expect(!constraint.matches(#"{"name":"g","arguments":{"x":true}}"#.utf8))
        }
        #expect(throws: SchemaCheck.Mismatch.self) {
            try SchemaCheck(schema).fitted(json(#"{"name":"f","arguments":{"x":1}}"#))
        }
    }

    /// Whatever fits the schema can be written under it, as the student writes it, and nothing else fits.
    @Test(arguments: [
        weather, #"{"type":["string","null"],"maxLength":3}"#, #"{"type":"string","pattern":"^[a-z]+$"}"#,
        #"{"type":"array","items":{"type":"number","exclusiveMaximum":5},"maxItems":2}"#,
        #"{"anyOf":[{"const":{"b":"x","a":1}},{"type":"boolean"},{"type":"object","properties":{"k":{"type":"array","items":{"type":"string","format":"date"}}}}]}"#,
        ##"{"$ref":"#/$defs/t","$defs":{"t":{"type":"object","properties":{"v":{"type":"integer","multipleOf":3},"t":{"$ref":"#/$defs/t"}},"required":["v"],"additionalProperties":false}}}"##,
    ])
    func theCheckAgreesWithTheConstraint(source: String) throws {
        let schema = try json(source)
        let check = SchemaCheck(schema)
        let plain = try Constraint(jsonSchema: schema)
        let spaced = try Constraint(jsonSchema: schema, leadingSpace: true)
        let values = [
            "null", "true", "3", "4", "-9", "5", "1.5", "[]", "[1,2.5]", "[1,5]", "[1,2,3]", #""""#, #""ab""#,
            #""abcd""#, #""é🙂x""#, #""AB""#, #"{"a":1,"b":"x"}"#, #"{"k":["2026-01-01"]}"#, #"{"k":["2026-13-01"]}"#,
            #"{"k":[],"z":{"q":null}}"#, #"{"v":3}"#, #"{"t":{"v":6,"t":{"v":0}},"v":-3}"#, #"{"v":3,"t":{"v":4}}"#,
            #"{"v":3,"x":1}"#, #"{"unit":"C","days":2,"city":"Rome"}"#, #"{"city":"R"}"#, #"{"city":"Rome","unit":1}"#,
        ]
        var fitting = 0
        for text in values {
            guard let fitted = try? check.fitted(json(text)) else {
                #expect(!plain.matches(text.utf8), "\(source) takes \(text)")
                continue
            }
            fitting += 1
            #expect(try fitted == json(text))
            #expect(plain.matches(fitted.text.utf8), "\(source) refuses \(fitted.text)")
            let written = fitted.mappingStrings { $0.isEmpty ? $0 : " " + $0 }.text
            #expect(spaced.matches(written.utf8), "\(source) refuses \(written)")
        }
        #expect(fitting > 0 && fitting < values.count)
    }

    @Test func aSchemaWithoutAnEndIsAMismatch() throws {
        #expect(throws: SchemaCheck.Mismatch.self) { try SchemaCheck(json(##"{"$ref":"#"}"##)).fitted(.null) }
    }

    @Test func teachersAnswersAreHeldToIt() throws {
        let schema = try AnswerSchema(json(Self.weather))
        let reader = EndpointAnswerReader(kind: .json, labels: [], schema: schema)
        func read(_ text: String) -> String? { reader.output(written: text) }
        #expect(read(#"Here: {"days": 2, "city": "Oslo"}"#) == #"{"city":"Oslo","days":2}"#)
        #expect(read(#"{"town": "Oslo"}"#) == nil)
    }

    @Test func whatAnswersLookLikeIsGuessed() throws {
        let cities = ["Oslo", "Rome", "Bonn", "Kyiv", "Lima"]
        var rows = (0..<60).map { n in
            Example(
                input: "weather in \(cities[n % 5]) please",
                output:
                    "{\"city\":\"\(cities[n % 5])\",\"unit\":\"\(n % 2 == 0 ? "C" : "F")\",\"n\":\(n)\(n % 3 == 0 ? ",\"days\":[1,2.5]" : "")}"
            )
        }
        let schema = try #require(SchemaInference.schema(rows)).value
        let properties = try #require(schema["properties"])
        #expect(schema["required"] == .array(["city", "unit", "n"].map { .string($0) }))
        #expect(properties["city"] == .object([("type", .string("string"))]))
        #expect(properties["unit"]?["enum"] == .array([.string("C"), .string("F")]))
        #expect(properties["n"]?["type"] == .string("integer"))
        #expect(properties["days"]?["items"]?["type"] == .string("number"))
        #expect(schema["additionalProperties"] == .bool(false))
        let check = SchemaCheck(schema)
        for row in rows { #expect(throws: Never.self) { try check.fitted(json(row.output)) } }
        // A value and a key that were seen once make others likely.
        rows[0].output = #"{"city":null,"unit":"K","n":1,"odd":{}}"#
        let wider = try #require(SchemaInference.schema(rows)).value
        #expect(wider["properties"]?["unit"]?["type"] == .string("string"))
        #expect(wider["additionalProperties"] == .bool(true))
        #expect(wider["properties"]?["city"]?["anyOf"] != nil)
        #expect(SchemaInference.schema(Array(rows.prefix(SchemaInference.leastAnswers - 1))) == nil)
    }
}
