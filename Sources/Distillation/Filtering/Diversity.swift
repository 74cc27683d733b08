/// How much of what texts say is said once: different runs of words over all runs (distinct-n; Li et al., NAACL 2016).
public struct Diversity: Sendable, Hashable, Codable {
    public var texts: Int
    /// 0 ... 1; 1: no word occurs twice.
    public var distinctWords: Double
    public var distinctPairs: Double
    public var distinctTriples: Double

    package init(_ texts: [String]) {
        self.texts = texts.count
        let normal = texts.map { NormalText($0) }
        func share(_ length: Int) -> Double {
            var seen: Set<UInt64> = []
            var all = 0
            for text in normal {
                let runs = text.wordRuns(length)
                all += runs.count
                seen.formUnion(runs)
            }
            return Double(seen.count) / Double(max(1, all))
        }
        distinctWords = share(1)
        distinctPairs = share(2)
        distinctTriples = share(3)
    }
}
