import Distillation
import Foundation
import LanguageModels
import TestSupport
import Testing

/// A small model that continues lists, where it was fetched.
@Suite(
    .enabled(
        if: ModelStore.catalogue.first.map { ModelStore().isInstalled($0) } ?? false, "the teacher is not here"),
    .serialized)
struct LocalSynthesisTests {
    private final class Quiet: RunObserver {
        func stageBegan(_ stage: String, number: Int, of count: Int) {}
        func stageAdvanced(_ fraction: Double, detail: String) {}
        func stageEnded(_ summary: String, reused: Bool) {}
        func note(_ text: String) {}
    }

    @Test func itGoesOnWithListsOfOneLabel() async throws {
        let folder = try TemporaryFolder()
        let weather = [
            "will it rain in oslo tomorrow", "how cold is it outside", "do i need an umbrella today",
            "is it sunny in rome now", "what is the weather like in bern", "will there be snow on friday",
            "how windy is it at the coast", "is it going to be hot this weekend", "what is the temperature in lyon",
            "will the storm reach us tonight",
        ]
        let music = [
            "play some jazz", "turn up the volume", "skip this song", "play my favourite album",
            "who sings this song", "play something by nina simone", "pause the music", "shuffle my playlist",
            "play the next track", "put on some piano music",
        ]
        func lines(_ texts: some Sequence<String>, _ label: String) -> String {
            texts.map { "{\"input\":\"\($0)\",\"output\":\"\(label)\"}\n" }.joined()
        }
        try folder.write(lines(weather.prefix(8), "weather") + lines(music.prefix(8), "music"), "gold.jsonl")
        try folder.write(lines(weather.suffix(2), "weather") + lines(music.suffix(2), "music"), "test.jsonl")
        try folder.write(
            """
            name: t
            instruction: Name the topic.
            output: {kind: label, labels: [weather, music]}
            data: {gold: {train: gold.jsonl, test: test.jsonl}}
            teacher: {model: smollm2-135m-instruct}
            synthesis: {rows: 6, methods: [backward]}
            """, "task.yaml")
        let first = try await TaskRun(folder: folder.url, observer: Quiet()).synthesize()
        #expect(first.rows >= 4 && first.kept["backward"] == first.rows, "\(first)")
        #expect(first.notes.contains { $0.contains("linear model") })
        let file = SyntheticFile(folder: folder.url)
        let rows = try file.read(AnswerForm(kind: .label, labels: ["weather", "music"]))
        #expect(Set(rows.map(\.output)) == ["weather", "music"])
        #expect(Set(rows.map(\.input)).isDisjoint(with: weather + music))
        // The same again, from what is stored.
        _ = try await TaskRun(folder: folder.url, observer: Quiet()).synthesize()
        #expect(
            try file.read(AnswerForm(kind: .label, labels: ["weather", "music"])).map(\.input) == rows.map(\.input))
    }
}
