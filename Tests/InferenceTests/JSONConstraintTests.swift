import Foundation
import Inference
import Testing

struct JSONConstraintTests {
    private func isWhole(_ text: String) -> Bool {
        var constraint = JSONConstraint()
        return constraint.accept(text.utf8) && constraint.isComplete
    }

    @Test func acceptsValues() {
        for text in [
            "{}", "[]", #"{"a":"b","c":[1,-2.5e+3,true,false,null,{"d":{}}]}"#, #""é\u00e9\n\"""#, "0", "-0.5", "12",
            "[[],[[]]]",
        ] {
            #expect(isWhole(text), "\(text)")
        }
    }

    @Test func refusesWhatIsNone() {
        for text in [
            "", "{", "}", "[1,]", "{,}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, "01", "1.", "-", "1e", "tru", "truee",
            #""\x""#, #""\u12g4""#, "\"a\nb\"", "{}{}", "[1 ,2]", #"{"a":"b""c":1}"#, #"{"a":"b":"c"}"#, "[}",
        ] {
            #expect(!isWhole(text), "\(text)")
        }
        #expect(!isWhole(String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000)))
    }

    /// Whatever it calls whole, another parser reads.
    @Test func agreesWithAnotherParser() {
        var random = SystemRandomNumberGenerator()
        let alphabet = Array(#"{}[]:,"a\u01-.e+tn"#.utf8)
        var whole = 0
        for _ in 0..<200_000 {
            let bytes = (0..<Int.random(in: 1...8, using: &random)).map { _ in alphabet.randomElement(using: &random)! }
            var constraint = JSONConstraint()
            guard constraint.accept(bytes), constraint.isComplete else { continue }
            whole += 1
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(
                (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil, "\(text)")
        }
        #expect(whole > 100)
    }
}
