import Distillation
import Foundation
import Testing
import Training

struct TrainingViewTests {
    private func state(experts: Int? = 4) throws -> TrainingState {
        var usage = ""
        if let experts {
            let shares = (0..<experts).map { $0 == 0 ? "0" : String(1 / Double(experts - 1)) }
            usage =
                #","experts":{"maximumShare":0.5,"dead":1,"routerEntropy":1.25,"unused":[[2,0]],"shares":["#
                + shares.joined(separator: ",") + "]}"
        }
        let points = (1...100).map { step in
            let loss = String(2 / Double(step))
            return #"{"step":\#(step),"loss":\#(loss),"answerLoss":\#(loss),"accuracy":0.5,"rate":4e-4,"#
                + #""gradientNorm":0.75,"tokensPerSecond":12345\#(usage)}"#
        }
        let json = """
            {"points": [\(points.joined(separator: ","))], "expertLoads": [], "steps": 100, "tokens": 500,
            "sequences": 100, "seconds": 2, "validations": [
            {"step": 50, "answerLoss": 0.5, "accuracy": 0.5, "exact": 0.5},
            {"step": 100, "answerLoss": 0.25, "accuracy": 0.5, "exact": 0.5}]}
            """
        let record = try JSONDecoder().decode(TrainingRecord.self, from: Data(json.utf8))
        return TrainingState(update: 100, updates: 200, secondsLeft: 65, record: record)
    }

    @Test func showsWhatATrainingDoes() throws {
        let lines = try TrainingView(state(), width: 79, hasColour: false).lines
        #expect(lines.count == 5)
        #expect(lines[0].contains("50 %  update 100 of 200  1:05 left"))
        #expect(lines[0].count { $0 == "█" } == lines[0].count { $0 == "░" })
        #expect(lines[1].contains("loss 0.0200 █") && lines[1].contains("validation 0.2500 █▁"))
        #expect(lines[2].contains("rate 4.00e-04") && lines[2].contains("norm 0.750") && lines[2].contains("12345"))
        #expect(lines[3].contains("▁ ▆ ▆ ▆  0 % to 33 % (even 25 %)") && lines[3].contains("1.25 of 1.39"))
        #expect(lines[4] == "no visits lately: expert 1 of layer 3")
    }

    @Test(arguments: [1, 12, 25, 40, 60, 79, 200])
    func noLineIsLongerThanTheScreen(width: Int) throws {
        for line in try TrainingView(state(experts: 64), width: width, hasColour: false).lines {
            #expect(line.count <= width)
            #expect(!line.contains("\u{1B}"))
        }
    }

    @Test func everyLineEndsItsColours() throws {
        for width in [10, 30, 79] {
            let coloured = try TrainingView(state(), width: width, hasColour: true).lines
            #expect(coloured.contains { $0.contains("\u{1B}[") })
            for line in coloured {
                let on = line.components(separatedBy: "\u{1B}[").count - 1
                #expect(on == 2 * (line.components(separatedBy: "\u{1B}[0m").count - 1))
            }
            let plain = coloured.map { line in
                ["0", "2", "33", "36"].reduce(line) { $0.replacingOccurrences(of: "\u{1B}[\($1)m", with: "") }
            }
            #expect(try plain == TrainingView(state(), width: width, hasColour: false).lines)
        }
    }

    @Test func denseModelsHaveNoExpertLines() throws {
        #expect(try TrainingView(state(experts: nil), width: 79, hasColour: false).lines.count == 3)
        let begun = TrainingState(update: 1, updates: 9, record: TrainingRecord())
        #expect(TrainingView(begun, width: 79, hasColour: false).lines.count == 1)
        #expect(begun.sentence == "update 1 of 9")
        #expect(try state().sentence == "update 100 of 200, loss 0.020, validation 0.250, 250 tokens/s")
    }
}
