//! Every form of the inner loops against the plain one: integers and lanes to the bit.

use super::scalar::Scalar;
use super::*;
use crate::isa::Isa;
use crate::quant::tiles::{ColumnTiles, PanelTiles};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a macro gives for the kernels of a form.
macro_rules! in_form {
    ($isa:expr, $with:ident) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => $with!(avx2::Avx2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => $with!(avx512::Avx512),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => $with!(neon::Neon::<false>),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot => $with!(neon::Neon::<true>),
            _ => $with!(Scalar),
        }
    };
}

/// Sums of every form that this processor has.
fn sums(product: &Product<'_>, n_rows: usize) -> Vec<(Isa, Vec<Sums>)> {
    let run = |isa: Isa| {
        let mut sums = vec![[7; LANES]; n_rows];
        macro_rules! with {
            ($k:expr) => {
                $k.products(product, &mut sums)
            };
        }
        // SAFETY: the processor has this form.
        unsafe { in_form!(isa, with) };
        (isa, sums)
    };
    Isa::available().map(run).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Channels of any widths, tokens in one to four groups.
    #[test]
    fn sums_over_channels_are_sums_of_products(
        bits in proptest::collection::vec(0u32..9, 1..140), n_rows in 1usize..10, n_groups in 0u32..3, seed in any::<u64>(),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let tiles = ColumnTiles::new(bits.iter().copied());
        let codes: Vec<Vec<u8>> = (0..LANES)
            .map(|_| bits.iter().map(|&bits| rng.random_range(0..1u32 << bits) as u8).collect())
            .collect();
        let mut block = vec![0; tiles.bytes()];
        for (lane, codes) in codes.iter().enumerate() {
            tiles.set(&mut block, lane, |channel| codes[channel]);
        }
        let n_groups = 1 << n_groups;
        let stride = n_groups * tiles.n_weights();
        let of_channels: Vec<Vec<i8>> = (0..n_rows * n_groups)
            .map(|_| bits.iter().map(|_| rng.random_range(-127..=127)).collect())
            .collect();
        let mut weights = vec![0; n_rows * stride];
        for (weights, of_channels) in weights.chunks_exact_mut(tiles.n_weights()).zip(&of_channels) {
            match tiles.columns() {
                None => weights[..bits.len()].copy_from_slice(of_channels),
                Some(columns) => {
                    for (weight, &column) in weights.iter_mut().zip(columns) {
                        *weight = of_channels[usize::from(column)];
                    }
                }
            }
        }
        let slots = std::array::from_fn(|slot| slot * n_groups / SLOTS * tiles.n_weights());
        let product = Product {
            tiles: &block,
            n_blocks: 1,
            block_stride: 0,
            ahead: 0,
            levels: tiles.levels(),
            weights: &weights,
            stride,
            step: 4,
            slots,
        };
        for (isa, sums) in sums(&product, n_rows) {
            for (row, sums) in sums.iter().enumerate() {
                for (lane, &sum) in sums.iter().enumerate() {
                    let weights = &of_channels[row * n_groups + lane * n_groups / LANES];
                    let products = codes[lane].iter().zip(weights);
                    let expected: i32 = products.map(|(&c, &w)| i32::from(c) * i32::from(w)).sum();
                    prop_assert_eq!(sum, expected, "{} row {} lane {}", isa, row, lane);
                }
            }
        }
    }

    /// Panels of all widths over one to four blocks of tokens.
    #[test]
    fn sums_over_tokens_are_sums_of_products(
        bits in 1u32..9, width in 0usize..3, n_blocks in 1usize..5, n_rows in 1usize..10, seed in any::<u64>(),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let width = 1 << width;
        let tiles = PanelTiles::new(bits, width);
        // Something lies between the blocks.
        let block_stride = tiles.bytes() + 48;
        let mut blocks = vec![0xff; n_blocks * block_stride];
        let codes: Vec<Vec<u8>> = (0..n_blocks * LANES)
            .map(|_| (0..width * VECTOR).map(|_| rng.random_range(0..1u32 << bits) as u8).collect())
            .collect();
        for (token, codes) in codes.iter().enumerate() {
            let block = &mut blocks[token / LANES * block_stride..][..tiles.bytes()];
            tiles.set(block, token % LANES, codes);
        }
        let weights: Vec<i8> = (0..n_rows * CHUNK).map(|_| rng.random_range(-127..=127)).collect();
        let product = Product {
            tiles: &blocks,
            n_blocks,
            block_stride,
            ahead: 0,
            levels: tiles.levels(),
            weights: &weights,
            stride: CHUNK,
            step: 4 * SLOTS / width,
            slots: std::array::from_fn(|slot| 4 * (slot / width)),
        };
        for (isa, sums) in sums(&product, n_rows) {
            for (row, sums) in sums.iter().enumerate() {
                for channel in 0..width * VECTOR {
                    let sum: i32 = sums.iter().skip(channel).step_by(width * VECTOR).sum();
                    let tokens = codes.iter().zip(&weights[row * CHUNK..]);
                    let product = |(codes, &weight): (&Vec<u8>, &i8)| i32::from(codes[channel]) * i32::from(weight);
                    prop_assert_eq!(sum, tokens.map(product).sum::<i32>(), "{} row {}", isa, row);
                }
            }
        }
    }
}

/// What is done with numbers by one form.
///
/// # Safety
/// The processor has it.
unsafe fn lanes<K: Kernels>(k: K, a: &Vector, b: &Vector) -> Vec<f32> {
    let mut all = Vec::new();
    let mut out = [0.0; VECTOR];
    // SAFETY: as the caller says.
    unsafe {
        let (x, y) = (k.load(a), k.load(b));
        let rounded = k.add(y, k.all(12_582_912.0));
        for lanes in [
            k.add(x, y),
            k.sub(x, y),
            k.mul(x, y),
            k.mul_add(x, y, k.all(0.1)),
            k.max(x, y),
            k.abs(x),
            k.where_at_least(x, y, x),
            k.power_of_two(rounded),
            k.of_integers(&a.map(|a| (a * 1e6) as i32)),
            k.of_bytes(&a.map(|a| a.abs() as u8)),
            k.of_signed_bytes(&a.map(|a| a as i8)),
        ] {
            k.store(lanes, &mut out);
            all.extend(out);
        }
        all.extend([sum_of(k, x), greatest_of(k, x)]);
        let mut bytes = [0; VECTOR];
        k.low_bytes(rounded, &mut bytes);
        all.extend(bytes.map(f32::from));
        let halves: Vec<u8> =
            a.iter().flat_map(|&a| f16::from_f32(a).to_le_bytes()).take(2 * 13).collect();
        let mut wide = [0.0; 13];
        k.widen(&halves, &mut wide);
        all.extend(wide);
        let table: Vec<i8> = (0..192).map(|at| (at * 5 % 127) as i8).collect();
        let indices: Vec<u8> = (0..128).map(|at| (at * 11 % 251) as u8).collect();
        for (n_table, n) in [(192, 120), (128, 128), (128, 64), (100, 30)] {
            let mut out = vec![0; n];
            let indices: Vec<u8> = indices[..n].iter().map(|index| index % n_table).collect();
            k.gather(&table[..usize::from(n_table)], &indices, &mut out);
            all.extend(out.into_iter().map(f32::from));
        }
    }
    all
}

/// Rounding of sums of up to 130 terms in any order, as a part of the sum of their sizes.
const MAX_ROUNDING: f32 = 1e-5;

/// Logits and outputs of rows by one form.
///
/// # Safety
/// The processor has it.
unsafe fn of_rows<K: Kernels, T: Element>(
    k: K,
    keys: &KeyRows<'_, T>,
    values: &ValueRows<'_, T>,
    n_rows: usize,
) -> Vec<f32> {
    let (mut logits, mut outputs) = (vec![[7.0; CHUNK]; n_rows], vec![0.5; n_rows * values.stride]);
    // SAFETY: as the caller says.
    unsafe {
        k.multiply_keys(keys, &mut logits);
        k.add_values(values, &mut outputs);
    }
    logits.into_iter().flatten().chain(outputs).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Heads and rows of any lengths, tokens that fill no block.
    #[test]
    fn rows_are_the_same_in_every_form(
        head_dim in 1usize..131, n_rows in 1usize..10, n_tokens in 1usize..130, n_blocks in 0usize..9,
        seed in any::<u64>(),
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut numbers = |n: usize| -> Vec<f32> {
            (0..n).map(|_| f16::from_f32(rng.random_range(-2.0f32..2.0)).to_f32()).collect()
        };
        let stride = head_dim.next_multiple_of(VECTOR);
        let (keys, values) = (numbers(n_blocks * VECTOR * head_dim), numbers(n_tokens * head_dim));
        let (queries, weights) = (numbers(n_rows * stride), numbers(n_rows * CHUNK));
        let halves = |numbers: &[f32]| -> Vec<f16> { numbers.iter().copied().map(f16::from_f32).collect() };
        let (half_keys, half_values) = (halves(&keys), halves(&values));
        let keys = KeyRows { keys: &keys, n_blocks, queries: &queries, stride, head_dim };
        let values = ValueRows { values: &values, weights: &weights, n_tokens, head_dim, stride };
        let half_keys = KeyRows { keys: &half_keys, n_blocks, queries: &queries, stride, head_dim };
        let half_values =
            ValueRows { values: &half_values, weights: &weights, n_tokens, head_dim, stride };
        // SAFETY: plain loops.
        let expected = unsafe { of_rows(Scalar, &keys, &values, n_rows) };
        for isa in Isa::available() {
            macro_rules! with {
                ($k:expr) => {
                    [of_rows($k, &keys, &values, n_rows), of_rows($k, &half_keys, &half_values, n_rows)]
                };
            }
            // SAFETY: the processor has this form.
            let found = unsafe { in_form!(isa, with) };
            for found in found {
                for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                    // No number is greater than 2.
                    let size = 4.0 * head_dim.max(n_tokens) as f32;
                    prop_assert!((found - expected).abs() <= MAX_ROUNDING * size, "{} {}: {} not {}", isa, at, found, expected);
                }
            }
        }
    }
}

#[test]
fn lanes_are_the_same_in_every_form() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..200 {
        let mut numbers = || std::array::from_fn(|_| rng.random_range(-120.0f32..120.0));
        let (a, b) = (numbers(), numbers());
        // SAFETY: plain loops.
        let expected = unsafe { lanes(Scalar, &a, &b) };
        for isa in Isa::available() {
            macro_rules! with {
                ($k:expr) => {
                    lanes($k, &a, &b)
                };
            }
            // SAFETY: the processor has this form.
            let found = unsafe { in_form!(isa, with) };
            assert_eq!(found, expected, "{isa}");
        }
    }
}
