//! How fast memory can be read.

use crate::model::product::Storage;
use common::statistics::median;
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Bytes read for one figure: far beyond any cache.
const BYTES: usize = 512 << 20;
const REPEATS: usize = 5;
/// Bytes that a thread takes at a time.
const SHARE: usize = 4 << 20;

/// The bandwidth of reading memory with all threads of the pool, in bytes per second: the median of several passes
/// over half a gibibyte in huge pages.
pub fn read_bandwidth() -> f64 {
    let mut storage = Storage::zeroed(BYTES);
    // Pages are there when they have been written.
    storage.get_mut().expect("new memory isn't shared").fill(1);
    let seconds = (0..REPEATS).map(|_| {
        let clock = Instant::now();
        let sums = storage.par_chunks(SHARE).map(sum);
        black_box(sums.reduce(|| 0, u64::wrapping_add));
        clock.elapsed().as_secs_f64()
    });
    BYTES as f64 / median(&seconds.collect::<Vec<f64>>()).unwrap_or(f64::NAN)
}

/// A sum of the bytes as numbers of eight of them, in as many sums as keep vectors busy.
fn sum(bytes: &[u8]) -> u64 {
    const LANES: usize = 32;
    let mut sums = [0u64; LANES];
    for chunk in bytes.as_chunks::<{ 8 * LANES }>().0 {
        for (sum, number) in sums.iter_mut().zip(chunk.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*number));
        }
    }
    sums.iter().fold(0, |all, sum| all.wrapping_add(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        let mut bytes = vec![0; 4096];
        for at in [0, 8, 255, 256, 4095] {
            bytes[at] = 1;
        }
        let expected = bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
        assert_eq!(sum(&bytes), expected.fold(0, u64::wrapping_add));
    }
}
