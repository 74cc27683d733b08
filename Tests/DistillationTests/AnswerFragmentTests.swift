import Distillation
import Testing

/// Pieces of answers that become tokens.
@Suite struct AnswerFragmentTests {
    private static let fragments = Set(
        AnswerFragments.json([
            ("build a house", #"{"Build":{"schematic":{"name":" house"},"place":" HERE"}}"#),
            ("build a red wall there", #"{"Build":{"schematic":{"name":" wall","colour":" red"},"place":" THERE"}}"#),
            ("build a tower", #"{"Build":{"schematic":{"name":" tower"},"place":" HERE"}}"#),
            ("build a house again", #"{"Build":{"schematic":{"name":" house"},"place":" HERE"},"count":2}"#),
            ("wait", #"{"Noop":{}}"#), ("not JSON", "{"),
        ]))

    @Test func keysOfAllDepthsAreTokens() {
        for text in [
            #"{"Build":"#, #"{"schematic":"#, #"{"name":"#, #"{"name":""#, #","colour":""#, #","place":""#,
            #"{"Noop":"#,
            #","count":"#,
        ] {
            #expect(Self.fragments.contains(text), "\(text)")
        }
        // Nothing was written so.
        for text in [#","Build":"#, #"{"Build":""#, #"{"colour":"#, #","count":""#] {
            #expect(!Self.fragments.contains(text), "\(text)")
        }
    }

    @Test func chosenValuesAreTokensAndCopiedOnesAreNot() {
        #expect(Self.fragments.contains(#","place":" HERE""#))
        // Seen once.
        #expect(!Self.fragments.contains(#","place":" THERE""#))
        #expect(!Self.fragments.contains(#"{"name":" house""#))
    }

    @Test func bracketsCloseAsDeepAsTheAnswersGo() {
        #expect(Self.fragments.isSuperset(of: ["}", "}}", "}}}", #""}}}"#, "{}}"]))
        #expect(!Self.fragments.contains("}}}}"))
    }

    @Test func theMeaningOfAPieceIsItsWord() {
        #expect(AnswerFragments.meaning(#"{"has_name":""#) == " has name")
        #expect(AnswerFragments.meaning(#","place":" FAR_AWAY""#) == " FAR AWAY")
        #expect(AnswerFragments.meaning("}}") == "}}")
    }
}
