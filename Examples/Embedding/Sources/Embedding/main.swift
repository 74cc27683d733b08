// A model inside a Swift program: swift run -c release Embedding MODEL.gguf
import Inference
import LanguageModels
import Tokenizers

let engine = InferenceEngine(model: try LanguageModel(contentsOf: CommandLine.arguments[1]))

// An answer as it comes.
for try await part in try engine.chat([ChatMessage(role: "user", content: "Name three colours.")]) {
    print(part.text, terminator: "")
}
print()

// Many at once run in batches; each holds to a schema.
let schema = try JSONParser.parse(
    #"{"type":"object","properties":{"sentiment":{"enum":["good","bad"]}},"required":["sentiment"],"additionalProperties":false}"#
        .utf8)
let options = TextOptions(maximumTokens: 32, constraint: try Constraint(jsonSchema: schema))
try await withThrowingTaskGroup(of: (String, String).self) { group in
    for review in ["I love it.", "It broke after a day.", "Would buy again!"] {
        group.addTask {
            let question = "Is this review good or bad? \(review)"
            var text = ""
            for try await part in try engine.chat([ChatMessage(role: "user", content: question)], options) {
                text += part.text
            }
            return (review, text)
        }
    }
    for try await (review, answer) in group { print("\(review) -> \(answer)") }
}

// A task that is cancelled gives its memory back at the next step.
let story = Task {
    var words = 0
    for try await _ in try engine.complete("Once upon a time", TextOptions(maximumTokens: 400)) { words += 1 }
    return words
}
story.cancel()
print("cancelled:", (try? await story.value) == nil)
await engine.shutDown()
