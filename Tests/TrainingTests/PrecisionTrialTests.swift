import Testing
import Training

struct PrecisionTrialTests {
    @Test func whatIsNativeIsTimed() {
        let seconds = PrecisionTrial.run().seconds
        #expect(Set(seconds.keys) == Set(Precision.allCases.filter(\.isNative)))
        #expect(seconds.values.allSatisfy { $0 > 0 && $0.isFinite })
    }

    @Test(arguments: [(0.5, true), (0.89, true), (0.95, false), (2, false)])
    func othersHaveToBeClearlyFaster(seconds: Double, isFaster: Bool) {
        for other in [Precision.bfloat16, .int16] {
            let times = PrecisionTrial.Times([.float32: 1, other: seconds])
            #expect(times.fastest == (isFaster ? other : .float32))
        }
        #expect(PrecisionTrial.Times([.float32: 1, .bfloat16: seconds, .int16: 0.4]).fastest == .int16)
        #expect(PrecisionTrial.Times([.float32: 1, .bfloat16: 0.4, .int16: seconds]).fastest == .bfloat16)
    }

    @Test func theFastestIsNative() { #expect(Precision.fastest.isNative) }
}
