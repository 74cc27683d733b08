import Tensors
import Testing

@Suite struct RandomNumbersTests {
    @Test func sameSeedSameNumbers() {
        var a = RandomNumbers(seed: 7)
        var b = RandomNumbers(seed: 7)
        var c = RandomNumbers(seed: 8)
        let first = (0..<100).map { _ in a.next() }
        #expect(first == (0..<100).map { _ in b.next() })
        #expect(first != (0..<100).map { _ in c.next() })
    }

    @Test func normalHasMeanZeroAndVarianceOne() {
        var random = RandomNumbers(seed: 1)
        let values = (0..<100_000).map { _ in Double(random.normal()) }
        let mean = values.reduce(0, +) / 100_000
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 100_000
        #expect(abs(mean) < 0.02)
        #expect(abs(variance - 1) < 0.03)
    }

    @Test func uniformStaysBelowOne() {
        var random = RandomNumbers(seed: 2)
        for _ in 0..<10_000 {
            let value = random.uniform()
            #expect(value >= 0 && value < 1)
        }
    }
}
