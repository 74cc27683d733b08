/// What rank 0 asks of the other processes of a group: the first byte of a message.
package enum GroupMessage: UInt8, Sendable {
    /// There is nothing more to do.
    case end
    /// A training begins: a model's description as JSON; then all weights.
    case model
    /// An update: micro-batch and sequences; then the weights that train, then the shares' gradients and numbers.
    case gradients
    /// A teacher is opened: its description as JSON; then its files.
    case teacher
    /// The teacher's answers to inputs: those as JSON; then the shares' answers.
    case inputs
}

/// Does at a process other than rank 0 its share of one kind of work.
package protocol GroupHelper: AnyObject {
    /// Takes part in what rank 0 announced. Messages for other helpers are ignored.
    func help(_ message: GroupMessage, _ body: ArraySlice<UInt8>, in group: any ProcessGroup)
}

/// What a process other than rank 0 does.
package enum GroupWorker {
    /// Works until rank 0 says that there is nothing more.
    package static func run(_ group: any ProcessGroup, helpers: [any GroupHelper]) {
        while true {
            let bytes = group.announce([])
            guard let message = bytes.first.flatMap(GroupMessage.init), message != .end else { return }
            for helper in helpers { helper.help(message, bytes.dropFirst(), in: group) }
        }
    }

    /// Lets the other processes go. Use at rank 0.
    package static func end(_ group: any ProcessGroup) {
        _ = group.announce([GroupMessage.end.rawValue])
    }
}
