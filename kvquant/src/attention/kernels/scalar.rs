//! Plain loops, which all other forms are tested against.

use super::{
    Arithmetic, CHUNK, Element, Kernels, KeyRows, Product, Sums, Tokens, ValueRows, Vector,
};
use crate::quant::tiles::{LANES, VECTOR};
use half::f16;
use std::array::from_fn;

/// Plain loops.
#[derive(Debug, Clone, Copy)]
pub(in crate::attention) struct Scalar;

impl Kernels for Scalar {
    unsafe fn products(self, product: &Product<'_>, sums: &mut [Sums]) {
        product.check(sums.len());
        for (row, sums) in sums.iter_mut().enumerate() {
            *sums = [0; LANES];
            let weights = &product.weights[row * product.stride..];
            product.for_each_tile(|begins, tile, shift, mask, at| {
                if begins {
                    sums.iter_mut().for_each(|sum| *sum *= 4);
                }
                for (lane, sum) in sums.iter_mut().enumerate() {
                    let slot = lane / VECTOR;
                    let codes = &tile[4 * (lane % VECTOR)..][..4];
                    let weights = &weights[at + product.slots[slot]..][..4];
                    for (&code, &weight) in codes.iter().zip(weights) {
                        let code = code >> (2 * slot as u32 + shift) & mask;
                        *sum += i32::from(code) * i32::from(weight);
                    }
                }
            });
        }
    }

    unsafe fn gather(self, table: &[i8], indices: &[u8], out: &mut [i8]) {
        for (out, &index) in out.iter_mut().zip(indices) {
            *out = table[usize::from(index)];
        }
    }

    unsafe fn multiply_keys<T: Element>(self, rows: &KeyRows<'_, T>, logits: &mut [Tokens]) {
        rows.check(logits.len());
        let queries = rows.queries.chunks_exact(rows.stride);
        for (logits, query) in logits.iter_mut().zip(queries) {
            let blocks = rows.keys.chunks_exact(VECTOR * rows.head_dim).take(rows.n_blocks);
            for (logits, block) in logits.as_chunks_mut::<VECTOR>().0.iter_mut().zip(blocks) {
                *logits = [0.0; VECTOR];
                for (&query, keys) in query.iter().zip(block.as_chunks::<VECTOR>().0) {
                    for (logit, key) in logits.iter_mut().zip(keys) {
                        *logit += query * key.to_f32();
                    }
                }
            }
        }
    }

    unsafe fn add_values<T: Element>(self, rows: &ValueRows<'_, T>, outputs: &mut [f32]) {
        let n_rows = outputs.len() / rows.stride;
        rows.check(n_rows, outputs.len());
        let weights = rows.weights.chunks(CHUNK);
        for (outputs, weights) in outputs.chunks_exact_mut(rows.stride).zip(weights) {
            let values = rows.values.chunks_exact(rows.head_dim);
            for (&weight, values) in weights[..rows.n_tokens].iter().zip(values) {
                for (output, value) in outputs.iter_mut().zip(values) {
                    *output += weight * value.to_f32();
                }
            }
        }
    }

    unsafe fn widen(self, halves: &[u8], out: &mut [f32]) {
        for (out, &bytes) in out.iter_mut().zip(halves.as_chunks::<2>().0) {
            *out = f16::from_le_bytes(bytes).to_f32();
        }
    }
}

impl Arithmetic for Scalar {
    type Lanes = Vector;

    unsafe fn all(self, number: f32) -> Vector {
        [number; VECTOR]
    }

    unsafe fn load(self, from: &Vector) -> Vector {
        *from
    }

    unsafe fn store(self, lanes: Vector, to: &mut Vector) {
        *to = lanes;
    }

    unsafe fn of_integers(self, from: &[i32; VECTOR]) -> Vector {
        from.map(|number| number as f32)
    }

    unsafe fn of_bytes(self, from: &[u8; VECTOR]) -> Vector {
        from.map(f32::from)
    }

    unsafe fn of_signed_bytes(self, from: &[i8; VECTOR]) -> Vector {
        from.map(f32::from)
    }

    unsafe fn add(self, a: Vector, b: Vector) -> Vector {
        from_fn(|lane| a[lane] + b[lane])
    }

    unsafe fn sub(self, a: Vector, b: Vector) -> Vector {
        from_fn(|lane| a[lane] - b[lane])
    }

    unsafe fn mul(self, a: Vector, b: Vector) -> Vector {
        from_fn(|lane| a[lane] * b[lane])
    }

    unsafe fn mul_add(self, a: Vector, b: Vector, c: Vector) -> Vector {
        from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    unsafe fn max(self, a: Vector, b: Vector) -> Vector {
        from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    unsafe fn abs(self, a: Vector) -> Vector {
        a.map(f32::abs)
    }

    unsafe fn where_at_least(self, x: Vector, limit: Vector, a: Vector) -> Vector {
        from_fn(|lane| if x[lane] >= limit[lane] { a[lane] } else { 0.0 })
    }

    unsafe fn power_of_two(self, rounded: Vector) -> Vector {
        rounded.map(|rounded| f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23)))
    }

    unsafe fn low_bytes(self, a: Vector, to: &mut [i8; VECTOR]) {
        *to = a.map(|number| (number.to_bits() as u8).cast_signed());
    }
}
