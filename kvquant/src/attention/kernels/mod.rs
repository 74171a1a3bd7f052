//! The inner loops of attention, once for each form of vector instructions.
//!
//! Integer products give the same numbers in every form. The products with half-precision rows are sums of
//! single-precision numbers and differ in their order.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod scalar;
#[cfg(test)]
mod tests;

use crate::quant::tiles::{LANES, Level, SLOTS, TILE_BYTES, VECTOR};
use half::f16;

/// Tokens that are computed together: enough that what is done once for them is little.
pub(super) const CHUNK: usize = 4 * LANES;

/// A number for each of them.
pub(super) type Tokens = [f32; CHUNK];

/// Integer sums of one row of weights: one for each lane of a tile.
pub(super) type Sums = [i32; LANES];

/// Tiles, and the weights that their codes are multiplied by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product<'a> {
    /// Of one or more blocks of terms, each `block_stride` after the one before.
    pub(super) tiles: &'a [u8],
    pub(super) n_blocks: usize,
    pub(super) block_stride: usize,
    /// How much further the tiles are that will be asked for next.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "AVX-512's loops alone are known to gain by it")
    )]
    pub(super) ahead: usize,
    /// Of a block.
    pub(super) levels: &'a [Level],
    /// Rows of weights, each `stride` after the one before; of a row, those of a block 64 after those of the block
    /// before.
    pub(super) weights: &'a [i8],
    pub(super) stride: usize,
    /// How much further the weights of the next four terms are.
    pub(super) step: usize,
    /// How much further the weights are for each 16 lanes of a tile.
    pub(super) slots: [usize; SLOTS],
}

impl Product<'_> {
    /// Checks that `n_rows` rows of weights and the tiles are as long as the levels say: the loops below read without
    /// looking again.
    #[inline(always)]
    fn check(&self, n_rows: usize) {
        let (mut bytes, mut weights) = (0, 0);
        for level in self.levels {
            bytes += level.bytes();
            let last = level.weights + level.n_steps().saturating_sub(1) * self.step;
            weights = weights.max(last + 4);
        }
        let last_slot = self.slots[0].max(self.slots[1]).max(self.slots[2].max(self.slots[3]));
        let blocks_before = self.n_blocks.saturating_sub(1);
        assert!(
            self.tiles.len() >= blocks_before * self.block_stride + bytes,
            "tiles end before their levels"
        );
        let of_row = blocks_before * LANES + last_slot + weights;
        assert!(
            n_rows == 0 || self.weights.len() >= (n_rows - 1) * self.stride + of_row,
            "weights end before their terms"
        );
    }

    /// Visits the digits, level after level, as tiles of one or two bits from bit 0 on: whether a level begins, the tile,
    /// by how much to shift it, the mask of a digit, and where the weights of its terms are in a row.
    #[inline(always)]
    fn for_each_tile(&self, mut visit: impl FnMut(bool, &[u8; TILE_BYTES], u32, u8, usize)) {
        let mut offset = 0;
        for level in self.levels {
            let mut begins = true;
            for block in 0..self.n_blocks {
                let mut rest = &self.tiles[block * self.block_stride + offset..];
                let mut take = |n: usize| {
                    let (taken, after) = rest.split_at(n);
                    rest = after;
                    taken
                };
                let mut weights = block * LANES + level.weights;
                let mut tile = |bytes: &[u8; TILE_BYTES], shift, mask| {
                    visit(begins, bytes, shift, mask, weights);
                    begins = false;
                    weights += self.step;
                };
                for _ in 0..level.pair_tiles {
                    tile(whole(take(TILE_BYTES)), 0, 3);
                }
                if level.has_pair_rest {
                    tile(&spread(take(TILE_BYTES / 2)), 0, 3);
                }
                for _ in 0..level.single_tiles {
                    let bytes = whole(take(TILE_BYTES));
                    tile(bytes, 0, 1);
                    tile(bytes, 1, 1);
                }
                if level.has_single_half {
                    tile(&doubled(take(TILE_BYTES / 2)), 0, 1);
                }
                if level.has_single_quarter {
                    tile(&doubled(&spread(take(TILE_BYTES / 4))[..TILE_BYTES / 2]), 0, 1);
                }
            }
            offset += level.bytes();
        }
    }
}

fn whole(bytes: &[u8]) -> &[u8; TILE_BYTES] {
    bytes.try_into().expect("the bytes of a tile")
}

/// Two terms of each lane as the first two of four.
#[inline(always)]
fn spread(bytes: &[u8]) -> [u8; TILE_BYTES] {
    let mut tile = [0; TILE_BYTES];
    for (four, two) in tile.chunks_exact_mut(4).zip(bytes.chunks_exact(2)) {
        four[..2].copy_from_slice(two);
    }
    tile
}

/// Half a tile, whose higher bits are the other half's lower ones.
#[inline(always)]
fn doubled(bytes: &[u8]) -> [u8; TILE_BYTES] {
    let mut tile = [0; TILE_BYTES];
    tile[..TILE_BYTES / 2].copy_from_slice(bytes);
    for (high, byte) in tile[TILE_BYTES / 2..].iter_mut().zip(bytes) {
        *high = byte >> 1;
    }
    tile
}

/// Numbers that are computed with in single precision.
pub(super) trait Element: Copy {
    fn to_f32(self) -> f32;

    /// Whether these are half-precision numbers, as bits, and the others single-precision ones.
    const IS_HALF: bool;
}

impl Element for f16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }

    const IS_HALF: bool = true;
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    const IS_HALF: bool = false;
}

/// Keys of up to a chunk of tokens as blocks of `[channels][16 tokens]`, and the rows that they are multiplied by.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyRows<'a, T> {
    pub(super) keys: &'a [T],
    pub(super) n_blocks: usize,
    /// `[rows]` of `[head_dim]`, each `stride` after the one before.
    pub(super) queries: &'a [f32],
    pub(super) stride: usize,
    pub(super) head_dim: usize,
}

/// Values of some tokens, `[tokens][head_dim]`, and their weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueRows<'a, T> {
    pub(super) values: &'a [T],
    /// `[rows]` of weights `[n_tokens]`, each a chunk after the one before.
    pub(super) weights: &'a [f32],
    pub(super) n_tokens: usize,
    pub(super) head_dim: usize,
    /// From one row of outputs to the next.
    pub(super) stride: usize,
}

impl<T> KeyRows<'_, T> {
    fn check(&self, n_rows: usize) {
        assert!(self.n_blocks <= CHUNK / VECTOR, "at most a chunk of tokens");
        assert!(self.keys.len() >= self.n_blocks * VECTOR * self.head_dim, "keys of whole blocks");
        assert!(self.head_dim <= self.stride, "rows don't overlap");
        assert_eq!(self.queries.len(), n_rows * self.stride, "a query for each row");
    }
}

impl<T> ValueRows<'_, T> {
    fn check(&self, n_rows: usize, outputs: usize) {
        assert!(self.values.len() >= self.n_tokens * self.head_dim, "values of all tokens");
        let weights = n_rows.saturating_sub(1) * CHUNK + self.n_tokens;
        assert!(n_rows == 0 || self.weights.len() >= weights, "weights of all tokens");
        assert!(self.head_dim <= self.stride, "rows don't overlap");
        assert_eq!(outputs, n_rows * self.stride, "an output for each row");
    }
}

/// Single-precision numbers, as many as a vector of a tile has lanes.
pub(super) type Vector = [f32; VECTOR];

/// Arithmetic in lanes, with the same results in every form.
///
/// # Safety
/// All functions need a processor that has the form's instructions.
pub(super) trait Arithmetic: Copy {
    /// 16 numbers in registers.
    type Lanes: Copy;

    unsafe fn all(self, number: f32) -> Self::Lanes;
    unsafe fn load(self, from: &Vector) -> Self::Lanes;
    unsafe fn store(self, lanes: Self::Lanes, to: &mut Vector);
    unsafe fn of_integers(self, from: &[i32; VECTOR]) -> Self::Lanes;
    unsafe fn of_bytes(self, from: &[u8; VECTOR]) -> Self::Lanes;
    unsafe fn of_signed_bytes(self, from: &[i8; VECTOR]) -> Self::Lanes;
    unsafe fn add(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    unsafe fn sub(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    unsafe fn mul(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `a * b + c`, rounded once.
    unsafe fn mul_add(self, a: Self::Lanes, b: Self::Lanes, c: Self::Lanes) -> Self::Lanes;
    /// The greater of two numbers; the second if one is NaN.
    unsafe fn max(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    unsafe fn abs(self, a: Self::Lanes) -> Self::Lanes;
    /// `a` where `x` is at least `limit`, 0 elsewhere.
    unsafe fn where_at_least(
        self,
        x: Self::Lanes,
        limit: Self::Lanes,
        a: Self::Lanes,
    ) -> Self::Lanes;
    /// 2^n of numbers with n in the lowest bits of their mantissas.
    unsafe fn power_of_two(self, rounded: Self::Lanes) -> Self::Lanes;
    /// The lowest byte of each number's bits.
    unsafe fn low_bytes(self, a: Self::Lanes, to: &mut [i8; VECTOR]);
}

/// One form of the inner loops.
///
/// # Safety
/// All functions need a processor that has the form's instructions.
pub(super) trait Kernels: Arithmetic {
    /// For each row and lane, the sum over terms of code times weight.
    unsafe fn products(self, product: &Product<'_>, sums: &mut [Sums]);

    /// `out[i] = table[indices[i]]`. All indices are within the table.
    unsafe fn gather(self, table: &[i8], indices: &[u8], out: &mut [i8]);

    /// Logits of as many tokens as there are in the blocks; what is behind them stays.
    unsafe fn multiply_keys<T: Element>(self, rows: &KeyRows<'_, T>, logits: &mut [Tokens]);

    /// Adds the sums of values by their weights to `outputs`, `[rows]` of `[head_dim]`, `stride` apart.
    unsafe fn add_values<T: Element>(self, rows: &ValueRows<'_, T>, outputs: &mut [f32]);

    /// Single-precision numbers of bits of half-precision ones.
    unsafe fn widen(self, halves: &[u8], out: &mut [f32]);
}

/// The sum of all lanes.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
pub(super) unsafe fn sum_of<K: Arithmetic>(k: K, lanes: K::Lanes) -> f32 {
    // SAFETY: as the caller says.
    unsafe { halved(k, lanes, |left, right| left + right) }
}

/// The greatest of all lanes, which are numbers.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
pub(super) unsafe fn greatest_of<K: Arithmetic>(k: K, lanes: K::Lanes) -> f32 {
    // SAFETY: as the caller says.
    unsafe { halved(k, lanes, |left, right| if right > left { right } else { left }) }
}

/// Joins the right half of the lanes with the left one until one is left.
///
/// # Safety
/// `k` is a form that this processor has.
#[inline(always)]
unsafe fn halved<K: Arithmetic>(k: K, lanes: K::Lanes, join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut numbers = [0.0; VECTOR];
    // SAFETY: as the caller says.
    unsafe { k.store(lanes, &mut numbers) };
    let mut n = VECTOR;
    while n > 1 {
        n /= 2;
        for lane in 0..n {
            numbers[lane] = join(numbers[lane], numbers[lane + n]);
        }
    }
    numbers[0]
}
