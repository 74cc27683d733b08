internal import CKernels
package import Tensors

/// New tokens of one sequence, and which of them the caller wants logits for.
package struct SequenceInput {
    package enum Rows: Sendable, Hashable {
        case none
        case last
        case all
        /// The last so many.
        case tail(Int)

        func count(of tokens: Int) -> Int {
            switch self {
            case .none: 0
            case .last: min(1, tokens)
            case .all: tokens
            case .tail(let wanted): min(wanted, tokens)
            }
        }
    }

    package var cache: SequenceCache
    package var tokens: [Int32]
    package var rows: Rows

    package init(cache: SequenceCache, tokens: [Int32], rows: Rows = .last) {
        self.cache = cache
        self.tokens = tokens
        self.rows = rows
    }
}

/// The decoder's forward pass over any mixture of prompts and single tokens, with the scratch memory it needs.
///
/// Runs on a worker pool; one owner at a time. A sequence's logits do not depend, bit for bit, on what else is in
/// the pass, nor on how its tokens were cut into passes.
package final class DecoderPass {
    package let model: LanguageModel
    package let pool: WorkerPool

    /// Where set, it sees what enters each matrix.
    package var collector: ImportanceCollector?

    private var stream = FloatBuffer(count: 0)
    private var projections = FloatBuffer(count: 0)
    private var branch = FloatBuffer(count: 0)
    private var logits = FloatBuffer(count: 0)
    private let normed: ActivationRows
    private let attended: ActivationRows
    private let hidden: FeedForwardScratch
    private var attentionScratch: [FloatBuffer]
    /// Embeddings read since their memory was given back.
    private var embedded = 0
    /// Embeddings that may lie in memory: a table touched here and there ends up there as a whole.
    private static let embeddingsKept = 256

    package init(model: LanguageModel, pool: WorkerPool) {
        self.model = model
        self.pool = pool
        let c = model.configuration
        normed = ActivationRows(width: c.width)
        attended = ActivationRows(width: c.headCount * c.headDimension)
        hidden = FeedForwardScratch(c)
        attentionScratch = (0..<pool.threadCount).map { _ in FloatBuffer(count: 0) }
    }

    /// Feeds the tokens and returns logits [wanted rows, vocabulary], sequences in order; valid until the next call.
    ///
    /// Every token must be in the vocabulary and fit the context: the caller checks.
    package func run(_ inputs: [SequenceInput]) -> UnsafeMutableBufferPointer<Float> {
        let c = model.configuration
        var places: [TokenPlace] = []
        var wanted: [Int] = []
        for (sequence, input) in inputs.enumerated() {
            let start = input.cache.count
            let hasRoom = input.cache.reserve(start + input.tokens.count)
            precondition(hasRoom, "DecoderPass: no pages for \(start + input.tokens.count) tokens")
            let firstWanted = input.tokens.count - input.rows.count(of: input.tokens.count)
            for (index, token) in input.tokens.enumerated() {
                precondition(
                    token >= 0 && Int(token) < c.vocabularySize, "token \(token) of \(c.vocabularySize)")
                if index >= firstWanted { wanted.append(places.count) }
                places.append(TokenPlace(token: token, sequence: sequence, position: start + index))
            }
        }
        let tokens = places.count
        guard tokens > 0 else { return UnsafeMutableBufferPointer(start: nil, count: 0) }
        reserve(tokens: tokens)
        let x = stream.base
        forRows(tokens) { self.model.embed(places[$0].token, into: x + $0 * c.width) }
        embedded += tokens
        if embedded >= Self.embeddingsKept {
            model.releaseEmbeddings()
            embedded = 0
        }

        var live = tokens
        for layer in model.blocks.indices {
            attend(layer, inputs: inputs, places: places)
            if layer == model.blocks.count - 1, wanted.count < tokens {
                // Nothing after the last layer's keys and values is needed but for the rows with logits.
                keep(wanted)
                live = wanted.count
            }
            if live == 0 { break }
            project(layer, rows: live)
            feedForward(layer, rows: live)
        }
        for input in inputs { input.cache.advance(input.tokens.count) }
        if live == 0 { return UnsafeMutableBufferPointer(start: nil, count: 0) }
        if model.blocks.isEmpty, wanted.count < tokens {
            for (index, row) in wanted.enumerated() {
                (x + index * c.width).update(from: x + row * c.width, count: c.width)
            }
            live = wanted.count
        }
        normalize(live, model.finalNorm)
        collector?.add(
            [c.tiedEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight"], normed.row(0), count: live,
            width: c.width
        )
        if logits.count < live * c.vocabularySize { logits = FloatBuffer(count: live * c.vocabularySize) }
        PackedProduct.run(
            [
                PackedProduct(
                    matrix: model.head, rows: normed, count: live, output: logits.base, stride: c.vocabularySize)
            ],
            on: pool)
        if c.logitScale != 1 { uk_scale(logits.base, live * c.vocabularySize, c.logitScale) }
        return UnsafeMutableBufferPointer(start: logits.base, count: live * c.vocabularySize)
    }

    private struct TokenPlace {
        var token: Int32
        var sequence: Int
        var position: Int
    }

    private func reserve(tokens: Int) {
        let c = model.configuration
        normed.reserve(tokens)
        attended.reserve(tokens)
        if stream.count < tokens * c.width { stream = FloatBuffer(count: tokens * c.width) }
        let width = (c.headCount + 2 * c.keyValueHeadCount) * c.headDimension
        if projections.count < tokens * width { projections = FloatBuffer(count: tokens * width) }
    }

    /// Calls `body` for every row, on the pool where there are enough of them.
    private func forRows(_ count: Int, _ body: (Int) -> Void) {
        let block = 8
        if count <= block {
            for row in 0..<count { body(row) }
            return
        }
        pool.run((count + block - 1) / block) { task, _ in
            for row in task * block..<min((task + 1) * block, count) { body(row) }
        }
    }

    /// normed = RMSNorm(stream) · weight (Zhang & Sennrich 2019), in both forms.
    private func normalize(_ rows: Int, _ weight: FloatBuffer) {
        let c = model.configuration
        let x = stream.base
        forRows(rows) {
            uk_rms_norm(x + $0 * c.width, weight.base, c.width, c.normEpsilon, self.normed.row($0))
            self.normed.quantize($0)
        }
    }

    /// attended = attention(norm(stream)), with the new keys and values stored.
    private func attend(_ layer: Int, inputs: [SequenceInput], places: [TokenPlace]) {
        let c = model.configuration
        let block = model.blocks[layer]
        let rows = places.count
        normalize(rows, block.attentionNorm)
        let name = "model.layers.\(layer).self_attn."
        collector?.add(
            ["q", "k", "v"].map { name + $0 + "_proj.weight" }, normed.row(0), count: rows, width: c.width)
        let q = c.headCount * c.headDimension
        let k = c.keyValueHeadCount * c.headDimension
        let stride = q + 2 * k
        let p = projections.base
        PackedProduct.run(
            [
                .init(matrix: block.query.matrix, rows: normed, count: rows, output: p, stride: stride),
                .init(matrix: block.key.matrix, rows: normed, count: rows, output: p + q, stride: stride),
                .init(matrix: block.value.matrix, rows: normed, count: rows, output: p + q + k, stride: stride),
            ], on: pool)
        let half = c.headDimension / 2
        let rotary = model.rotary(layer)
        forRows(rows) { row in
            let place = places[row]
            let own = p + row * stride
            if let bias = block.query.bias { uk_add(own, bias.base, q) }
            if let bias = block.key.bias { uk_add(own + q, bias.base, k) }
            if let bias = block.value.bias { uk_add(own + q + k, bias.base, k) }
            if let weights = block.queryNorm { self.normalizeHeads(own, c.headCount, weights) }
            if let weights = block.keyNorm { self.normalizeHeads(own + q, c.keyValueHeadCount, weights) }
            let cosines = rotary.cosines.base + place.position * half
            let sines = rotary.sines.base + place.position * half
            uk_rope(own, c.headCount + c.keyValueHeadCount, c.headDimension, cosines, sines)
            inputs[place.sequence].cache.store(
                layer: layer, position: place.position, keys: own + q, values: own + q + k)
        }
        attention(layer, inputs: inputs, queries: p, stride: stride)
        collector?.add([name + "o_proj.weight"], attended.row(0), count: rows, width: attended.width)
        forRows(rows) { self.attended.quantize($0) }
    }

    private func attention(_ layer: Int, inputs: [SequenceInput], queries: UnsafeMutablePointer<Float>, stride: Int) {
        let c = model.configuration
        let tokenBlock = 32
        var tasks: [(arguments: uk_attention, head: Int, begin: Int, end: Int)] = []
        var row = 0
        for input in inputs where !input.tokens.isEmpty {
            let cache = input.cache
            let arguments = uk_attention(
                heads: c.headCount, kv_heads: c.keyValueHeadCount, head_dimension: c.headDimension,
                tokens: input.tokens.count, start: cache.count, q: queries + row * stride, q_stride: stride,
                format: cache.pool.format.kernel, pages: cache.addresses, key_offset: cache.keyOffset(layer),
                value_offset: cache.valueOffset(layer), head_stride: cache.pool.headBytes,
                window: model.window(layer) ?? 0, scale: model.attentionScale, out: attended.row(row),
                out_stride: attended.width)
            // The last tokens see the most: they come first, so that threads end together.
            let begins = Swift.stride(from: 0, to: input.tokens.count, by: tokenBlock)
            for begin in begins.reversed() {
                for head in 0..<c.keyValueHeadCount {
                    tasks.append((arguments, head, begin, min(begin + tokenBlock, input.tokens.count)))
                }
            }
            row += input.tokens.count
        }
        var scratch = 0
        for index in tasks.indices { scratch = max(scratch, uk_attention_scratch(&tasks[index].arguments)) }
        if attentionScratch[0].count < scratch {
            attentionScratch = attentionScratch.map { _ in FloatBuffer(count: scratch) }
        }
        pool.run(tasks.count) { task, thread in
            var (arguments, head, begin, end) = tasks[task]
            uk_attention_forward(&arguments, head, begin, end, self.attentionScratch[thread].base)
        }
    }

    /// Moves the given rows of the stream and the attention's output to the front.
    private func keep(_ rows: [Int]) {
        let c = model.configuration
        for (index, row) in rows.enumerated() where index != row {
            (stream.base + index * c.width).update(from: stream.base + row * c.width, count: c.width)
            attended.moveRow(to: index, from: row)
        }
    }

    private func normalizeHeads(_ x: UnsafeMutablePointer<Float>, _ heads: Int, _ weights: FloatBuffer) {
        let c = model.configuration
        for head in 0..<heads {
            let row = x + head * c.headDimension
            uk_rms_norm(row, weights.base, c.headDimension, c.normEpsilon, row)
        }
    }

    /// stream += residual scale · norm(attended · Wₒᵀ), where there are such a scale and such a norm.
    private func project(_ layer: Int, rows: Int) {
        let block = model.blocks[layer]
        join(rows, norm: block.attentionPostNorm) { output, accumulates in
            PackedProduct.run(
                [
                    PackedProduct(
                        matrix: block.output, rows: attended, count: rows, output: output,
                        stride: model.configuration.width, accumulate: accumulates)
                ], on: pool)
        }
    }

    /// stream += residual scale · norm(feed-forward(norm(stream))).
    private func feedForward(_ layer: Int, rows: Int) {
        let block = model.blocks[layer]
        normalize(rows, block.feedForwardNorm)
        let name = "model.layers.\(layer).mlp."
        join(rows, norm: block.feedForwardPostNorm) { output, _ in
            switch block.feedForward {
            case .dense(let network):
                hidden.runDense(network, input: normed, rows: rows, stream: output, pool: pool)
                if let collector { hidden.collectDense(into: collector, name: name, input: normed, rows: rows) }
            case .experts(let experts):
                hidden.runExperts(
                    experts, configuration: model.configuration.experts!, input: normed, rows: rows, stream: output,
                    pool: pool)
                if let collector {
                    hidden.collectExperts(experts, into: collector, name: name, input: normed, rows: rows)
                }
            }
        }
    }

    /// Lets `add` add to the stream; by way of a row of its own where the sum is normalised or scaled first.
    private func join(
        _ rows: Int, norm: FloatBuffer?, _ add: (_ output: UnsafeMutablePointer<Float>, _ accumulates: Bool) -> Void
    ) {
        let c = model.configuration
        if norm == nil, c.residualScale == 1 { return add(stream.base, true) }
        if branch.count < rows * c.width { branch = FloatBuffer(count: rows * c.width) }
        let own = branch.base
        own.update(repeating: 0, count: rows * c.width)
        add(own, false)
        let x = stream.base
        forRows(rows) { row in
            let output = own + row * c.width
            if let norm { uk_rms_norm(output, norm.base, c.width, c.normEpsilon, output) }
            uk_axpy(c.residualScale, output, c.width, x + row * c.width)
        }
    }
}
