internal import ArgumentParser

@main
struct Understudy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "understudy",
        abstract: "A large model teaches a small one its job; then the small one takes over.",
        version: "0.1.0",
        subcommands: [
            Demo.self, Run.self, Label.self, Predict.self, Chat.self, Serve.self, Models.self, Benchmark.self,
            Import.self, Synthesize.self, Review.self, TeacherSimulatorCommand.self,
        ])
}
