import Testing
import Training

struct RateFinderTests {
    private let configuration = TinyDecoder.experts()

    @Test func theSteepestFallFarFromDivergenceIsChosen() {
        let schedule = RangeSchedule(lowest: 1e-5, highest: 3e-2, warmup: RateFinder.updates)
        #expect(schedule.rate(0) == 1e-5 && abs(schedule.rate(RateFinder.updates - 1) / 3e-2 - 1) < 1e-5)
        // Flat, a fall around update 20, flat, and up from 40 on.
        let points = (0..<RateFinder.updates).map { step -> (rate: Float, loss: Double) in
            let loss =
                step < 16 ? 3.0 : step < 26 ? 3 - 0.2 * Double(step - 15) : step < 40 ? 1.0 : 1 + Double(step - 39)
            return (schedule.rate(step), loss)
        }
        let rate = RateFinder.choose(points)
        #expect(rate >= schedule.rate(17) && rate <= schedule.rate(28))
        #expect(rate <= 0.25 * schedule.rate(43))
        // One that falls until the end is as high as the limit allows.
        let falling = points.indices.map { (rate: schedule.rate($0), loss: 3 - 0.0012 * Double($0 * $0)) }
        #expect(RateFinder.choose(falling) == 0.25 * schedule.rate(RateFinder.updates - 1))
    }

    @Test func theSameWeightsGiveTheSameRate() throws {
        func find() throws -> RateFinder {
            var options = TrainingOptions()
            options.batch = 8
            options.epochs = (Double(RateFinder.updates * 8) - 0.5) / 32
            return RateFinder(
                try Trainer(
                    model: TinyDecoder.decoder(configuration, TinyDecoder.parameters(configuration)),
                    data: TinyDecoder.copies(32), options: options))
        }
        let first = try find()
        #expect(first.points.count == RateFinder.updates)
        #expect(first.rate > RateFinder.range.lowest && first.rate <= 0.25 * RateFinder.range.highest)
        #expect(try find().rate == first.rate)
    }
}
