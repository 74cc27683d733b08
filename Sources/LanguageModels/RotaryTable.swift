internal import Foundation
package import Tensors

/// Cosines and sines of rotary position embeddings (Su et al. 2021), [positions, headDimension / 2], computed in Double.
package final class RotaryTable: Sendable {
    package let cosines: FloatBuffer
    package let sines: FloatBuffer
    package let half: Int
    package let positions: Int

    package init(headDimension: Int, base: Float, positions: Int) {
        half = headDimension / 2
        self.positions = positions
        cosines = FloatBuffer(count: positions * half)
        sines = FloatBuffer(count: positions * half)
        for i in 0..<half {
            let frequency = pow(Double(base), -Double(2 * i) / Double(headDimension))
            for position in 0..<positions {
                let angle = Double(position) * frequency
                cosines.base[position * half + i] = Float(cos(angle))
                sines.base[position * half + i] = Float(sin(angle))
            }
        }
    }
}
