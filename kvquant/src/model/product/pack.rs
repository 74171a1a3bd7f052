//! Matrices from the blocks of files and from numbers, and back.

use super::format::{Format, nearest_bytes};
use super::{BLOCK, LANES, Panels, Storage};

impl Panels {
    /// Packs blocks of a GGUF file's tensor, `[outputs][inputs / 32]`, whose weights stay exactly as they are.
    ///
    /// # Errors
    /// If there are no outputs or inputs, the inputs are not whole blocks, or there are more or fewer bytes.
    pub fn from_blocks(
        format: Format,
        bytes: &[u8],
        outputs: usize,
        inputs: usize,
    ) -> Result<Panels, String> {
        check(outputs, inputs, format.block_bytes(), bytes.len())?;
        let mut panels = Panels::zeroed(format, outputs, inputs);
        panels.place(bytes.chunks_exact(format.block_bytes()));
        Ok(panels)
    }

    /// Rounds weights, `[outputs][inputs]`, to 8 bits as GGML does.
    ///
    /// # Errors
    /// If there are no outputs or inputs, the inputs are not whole blocks, or there are more or fewer weights.
    pub fn from_rows(weights: &[f32], outputs: usize, inputs: usize) -> Result<Panels, String> {
        check(outputs, inputs, BLOCK, weights.len())?;
        let mut panels = Panels::zeroed(Format::Q8_0, outputs, inputs);
        panels.place(weights.as_chunks::<BLOCK>().0.iter().map(nearest_bytes));
        Ok(panels)
    }

    /// Moves the codes of matrices side by side, in the order in which they will be read: into huge pages, even if each
    /// matrix is smaller than one.
    pub fn gather<'a>(matrices: impl IntoIterator<Item = &'a mut Panels>) {
        Storage::gather(matrices.into_iter().map(|panels| &mut panels.storage));
    }

    /// The weights, `[outputs][inputs]`.
    pub fn dequantize(&self) -> Vec<f32> {
        let (format, n_blocks) = (self.format, self.inputs / BLOCK);
        let mut weights = Vec::with_capacity(self.outputs * self.inputs);
        for at in 0..self.outputs * n_blocks {
            let (output, input) = (at / n_blocks, at % n_blocks);
            let block = (output / LANES * n_blocks + input) * LANES * format.block_bytes();
            let (block, lane) = (&self.storage[block..], output % LANES);
            let (scale, minimum) = format.scales(block, lane);
            let code = |input| format.code(block, lane, input) as f32;
            weights.extend((0..BLOCK).map(|input| scale * code(input) + minimum));
        }
        weights
    }

    /// Of a shape that was checked.
    fn zeroed(format: Format, outputs: usize, inputs: usize) -> Panels {
        let n_blocks = outputs.next_multiple_of(LANES) * (inputs / BLOCK);
        let storage = Storage::zeroed(n_blocks * format.block_bytes());
        Panels { format, outputs, inputs, storage }
    }

    /// Writes the blocks of a file.
    fn place(&mut self, blocks: impl Iterator<Item = impl AsRef<[u8]>>) {
        let (format, n_blocks) = (self.format, self.inputs / BLOCK);
        let block_bytes = LANES * format.block_bytes();
        let storage = self.storage.get_mut().expect("new memory isn't shared");
        for (at, block) in blocks.enumerate() {
            let (output, input) = (at / n_blocks, at % n_blocks);
            let panel = &mut storage[(output / LANES * n_blocks + input) * block_bytes..];
            format.place(block.as_ref(), &mut panel[..block_bytes], output % LANES);
        }
    }
}

/// Checks that there are `outputs * inputs / 32` blocks of so many elements each, before any memory is asked for.
fn check(outputs: usize, inputs: usize, of_block: usize, elements: usize) -> Result<(), String> {
    if outputs == 0 || inputs == 0 || !inputs.is_multiple_of(BLOCK) {
        return Err(format!("{outputs} x {inputs} weights, not blocks of {BLOCK} inputs"));
    }
    let n_blocks = outputs.checked_mul(inputs / BLOCK);
    if n_blocks.and_then(|n| n.checked_mul(of_block)) != Some(elements) {
        return Err(format!(
            "{elements} elements are not blocks of {of_block} for {outputs} x {inputs} weights"
        ));
    }
    Ok(())
}
