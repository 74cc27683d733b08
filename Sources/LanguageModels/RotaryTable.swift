internal import Foundation
package import Tensors

/// Cosines and sines of rotary position embeddings (Su et al. 2021), [positions, headDimension / 2], computed in Double.
package final class RotaryTable: Sendable {
    package let cosines: FloatBuffer
    package let sines: FloatBuffer
    package let half: Int
    package let positions: Int

    package init(
        headDimension: Int, base: Float, positions: Int, scaling: ModelConfiguration.RotaryScaling? = nil
    ) {
        half = headDimension / 2
        self.positions = positions
        cosines = FloatBuffer(count: positions * half)
        sines = FloatBuffer(count: positions * half)
        for i in 0..<half {
            let plain = pow(Double(base), -Double(2 * i) / Double(headDimension))
            let frequency = scaling.map { $0.scaled(plain, place: i) } ?? plain
            for position in 0..<positions {
                let angle = Double(position) * frequency
                cosines.base[position * half + i] = Float(cos(angle))
                sines.base[position * half + i] = Float(sin(angle))
            }
        }
    }
}

extension ModelConfiguration.RotaryScaling {
    /// The frequency (radians a position) after scaling.
    func scaled(_ frequency: Double, place: Int) -> Double {
        switch self {
        case .factors(let factors): return frequency / Double(factors[place])
        case .linear(let factor): return frequency / Double(factor)
        case .llama3(let factor, let low, let high, let context):
            let wavelength = 2 * Double.pi / frequency
            if wavelength < Double(context) / Double(high) { return frequency }
            if wavelength > Double(context) / Double(low) { return frequency / Double(factor) }
            let blend = (Double(context) / wavelength - Double(low)) / Double(high - low)
            return (1 - blend) * frequency / Double(factor) + blend * frequency
        }
    }
}
