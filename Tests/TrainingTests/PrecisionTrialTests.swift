import Testing
import Training

struct PrecisionTrialTests {
    @Test func bothPrecisionsAreTimed() {
        let times = PrecisionTrial.run()
        #expect(times.float32 > 0 && times.float32.isFinite)
        #expect(times.bfloat16 > 0 && times.bfloat16.isFinite)
    }

    @Test(arguments: [(0.5, true), (0.89, true), (0.95, false), (2, false)])
    func bfloat16HasToBeClearlyFaster(seconds: Double, isFaster: Bool) {
        #expect(PrecisionTrial.Times(float32: 1, bfloat16: seconds).isBfloat16Faster == isFaster)
    }

    @Test func theFastestIsNative() { #expect(Precision.fastest.isNative) }
}
