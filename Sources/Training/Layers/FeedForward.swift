internal import CKernels
package import Tensors

/// The gated feed-forward layer: down(silu(gate(x)) · up(x)).
package struct FeedForwardLayer {
    /// Rows gate, up in one matrix: [2F, W].
    package var gateUp: LinearView
    /// [W, F].
    package var down: LinearView

    var width: Int { down.input }

    package struct Saved {
        /// [T, 2F]: each row gate, then up.
        var gateUp: Floats
        /// [T, F].
        var hidden: Floats
    }

    /// residual[T, W] += feedForward(x[T, W]); nil: only what is saved is computed.
    package func forward(
        x: Floats, residual: Floats?, tokens: Int, saved: Saved, compute: Compute, scratch: ScratchBuffer
    ) {
        compute.linearForward(gateUp, x: x, y: saved.gateUp, rows: tokens, scratch: scratch)
        GatedUnit.forward(saved.gateUp, width: width, rows: tokens, hidden: saved.hidden, compute: compute)
        guard let residual else { return }
        compute.linearForward(down, x: saved.hidden, y: residual, rows: tokens, accumulate: true, scratch: scratch)
    }

    /// dx[T, W] (written) from dResidual[T, W]; `work` has room for T · 3F.
    package func backward(
        x: Floats, dResidual: Floats, dx: Floats?, tokens: Int, saved: Saved, work: Floats, compute: Compute,
        scratch: ScratchBuffer
    ) {
        let dHidden = work
        let dGateUp = work + tokens * width
        compute.linearBackward(
            down, x: saved.hidden, dy: dResidual, dx: dHidden, rows: tokens, accumulate: false, scratch: scratch)
        GatedUnit.backward(
            saved.gateUp, dHidden: dHidden, width: width, rows: tokens, dGateUp: dGateUp, compute: compute)
        compute.linearBackward(gateUp, x: x, dy: dGateUp, dx: dx, rows: tokens, accumulate: false, scratch: scratch)
    }
}

/// silu(gate) · up, row by row, over rows that hold gate and up side by side.
enum GatedUnit {
    static func forward(_ gateUp: Floats, width: Int, rows: Int, hidden: Floats, compute: Compute) {
        compute.rows(rows, grain: 32) { range in
            for row in range {
                let gate = gateUp + row * 2 * width
                uk_swiglu_forward(gate, gate + width, width, hidden + row * width)
            }
        }
    }

    static func backward(
        _ gateUp: Floats, dHidden: Floats, width: Int, rows: Int, dGateUp: Floats, compute: Compute
    ) {
        compute.rows(rows, grain: 32) { range in
            for row in range {
                let gate = gateUp + row * 2 * width
                let dGate = dGateUp + row * 2 * width
                uk_swiglu_backward(gate, gate + width, dHidden + row * width, width, dGate, dGate + width)
            }
        }
    }
}
