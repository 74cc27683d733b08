package import Tokenizers

extension JSONValue {
    /// What a reference within a JSON Schema means: `#`, or a JSON pointer (RFC 6901) after `#`; nil where there is
    /// nothing.
    package func part(at reference: String) -> JSONValue? {
        var target = self
        for part in reference.split(separator: "/").dropFirst() {
            let key = String(part).replacing("~1", with: "/").replacing("~0", with: "~")
            let inner: JSONValue?
            switch target {
            case .array(let values): inner = Int(key).flatMap { values.indices.contains($0) ? values[$0] : nil }
            default: inner = target[key]
            }
            guard let inner else { return nil }
            target = inner
        }
        return target
    }
}
