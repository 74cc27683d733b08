extension Trainer {
    /// Rows that depend on the weights, made anew every so many updates.
    package struct Rounds {
        /// Updates of a round.
        package var updates: Int
        /// Makes the rows of a round, before its first update: which sequences it will ask its `Variant` for. With the
        /// same weights it must make the same rows.
        package var prepare: (_ round: Int, _ places: [Place]) throws -> Void

        package init(updates: Int, prepare: @escaping (_ round: Int, _ places: [Place]) throws -> Void) {
            precondition(updates > 0, "Trainer.Rounds: \(updates) updates")
            self.updates = updates
            self.prepare = prepare
        }
    }

    /// Which sequence in which pass.
    package struct Place: Hashable, Sendable {
        package var index: Int
        package var epoch: Int

        package init(index: Int, epoch: Int) {
            self.index = index
            self.epoch = epoch
        }
    }

    /// Prepares the round of the next update, where that has not been done.
    func prepareRound() throws {
        guard let rounds else { return }
        let round = record.steps / rounds.updates
        guard preparedRound != round else { return }
        let first = round * rounds.updates
        try rounds.prepare(round, (first..<min(first + rounds.updates, steps)).flatMap(places))
        preparedRound = round
    }
}
