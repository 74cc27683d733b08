import LanguageModels
import Tensors
import Testing
import Training

/// Carved with all experts on = dense.
struct CarvingTests {
    @Test func allExpertsTogetherAreTheDenseLayer() {
        var dense = TinyDecoder.dense()
        dense.feedForwardWidth = 64
        let original = TinyDecoder.parameters(dense)
        var carved = dense
        carved.family = .qwen2MoE
        carved.attentionBias = true
        carved.experts = ExpertConfiguration(routedCount: 3, activeCount: 3, width: 16, sharedWidth: 16)
        let student = Parameters(TrainableDecoder.specifications(carved))
        for entry in original.entries where !entry.specification.name.contains(".mlp.") {
            student.set(entry.specification.name, original.array(entry.specification.name))
        }
        var random = RandomNumbers(seed: 4)
        for layer in 0..<dense.layerCount {
            let p = "model.layers.\(layer).mlp."
            let activations = (0..<20 * 64).map { _ in abs(random.normal()) }
            let partition = activations.withUnsafeBufferPointer {
                ExpertPartition(
                    activations: $0.baseAddress!, tokens: 20, neurons: 64, sharedWidth: 16, expertCount: 3, top: 10)
            }
            #expect((partition.shared + partition.routed.flatMap { $0 }).sorted() == Array(0..<64))
            let parts = CarvedFeedForward(
                gate: original.array(p + "gate_proj.weight"), up: original.array(p + "up_proj.weight"),
                down: original.array(p + "down_proj.weight"), input: 32, neurons: 64, partition: partition)
            for (index, expert) in parts.routed.enumerated() {
                student.set(p + "experts.\(index).gate_proj.weight", expert.gate)
                student.set(p + "experts.\(index).up_proj.weight", expert.up)
                student.set(p + "experts.\(index).down_proj.weight", expert.down)
            }
            student.set(p + "shared_expert.gate_proj.weight", parts.shared.gate)
            student.set(p + "shared_expert.up_proj.weight", parts.shared.up)
            student.set(p + "shared_expert.down_proj.weight", parts.shared.down)
            // A router of zeros gives every expert the same weight; the shared gate is one half.
        }
        let batch = TrainingBatch(TinyDecoder.copies(4))
        let a = TinyDecoder.decoder(dense, original).rowLogits(batch)
        let b = TinyDecoder.decoder(carved, student).rowLogits(batch)
        #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-4 })
        #expect(a.contains { abs($0) > 0.1 })
    }
}
