//! Plain loops, which all other forms are tested against.

use super::format::Codes;
use super::{BLOCK, LANES, Tile};

/// Multiplies a tile.
///
/// # Safety
/// What [`Tile`] says holds.
pub(super) unsafe fn multiply<C: Codes>(tile: &Tile<'_>) {
    for row in 0..tile.n_rows {
        let mut sums = [0.0_f32; LANES];
        let panel = tile.panel.chunks_exact(C::BLOCK_BYTES);
        for (weights, at) in panel.zip((row..).step_by(tile.stride)) {
            let activations = &tile.activations[at];
            for (lane, sum) in sums.iter_mut().enumerate() {
                let code = |input| C::FORMAT.code(weights, lane, input);
                let product = |input| code(input) * i32::from(activations.codes[input]);
                let dot: i32 = (0..BLOCK).map(product).sum();
                let (scale, minimum) = C::FORMAT.scales(weights, lane);
                *sum = (dot as f32).mul_add(scale * activations.scale, *sum);
                if C::HAS_MINIMA {
                    *sum = minimum.mul_add(activations.sum, *sum);
                }
            }
        }
        // SAFETY: as the caller says.
        unsafe { tile.output.write(tile.row + row, &tile.outputs, &sums) };
    }
}
