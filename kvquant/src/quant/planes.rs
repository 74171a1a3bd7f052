//! Codes as planes of bits.
//!
//! A run of codes of b bits is b planes, each with one bit of every code; the lowest bits come first. A
//! kernel reads runs of any width in one way, plane after plane, and a dot product with the codes is the
//! sum over planes of 2^j times the dot product with the plane.

/// Bytes of a plane of `n_codes` codes.
pub const fn plane_bytes(n_codes: usize) -> usize {
    n_codes.div_ceil(8)
}

/// Appends the `bits` planes of `codes` to `planes`; unused bits at the end of a plane are zero.
pub fn push_planes(codes: &[u8], bits: u32, planes: &mut Vec<u8>) {
    for plane in 0..bits {
        planes.extend(
            codes.chunks(8).map(|codes| {
                codes.iter().rev().fold(0, |byte, code| byte << 1 | (code >> plane & 1))
            }),
        );
    }
}

/// Reads as many codes as `codes` is long from their planes, which follow each other in `planes`.
pub fn read_planes(planes: &[u8], codes: &mut [u8]) {
    codes.fill(0);
    for (bit, plane) in planes.chunks_exact(plane_bytes(codes.len())).enumerate() {
        let (whole, rest) = codes.as_chunks_mut::<8>();
        for (codes, &byte) in whole.iter_mut().zip(plane) {
            let spread = SPREAD[usize::from(byte)] << bit;
            *codes = (u64::from_le_bytes(*codes) | spread).to_le_bytes();
        }
        if let Some(&byte) = plane.get(whole.len()) {
            for (at, code) in rest.iter_mut().enumerate() {
                *code |= (byte >> at & 1) << bit;
            }
        }
    }
}

/// For every byte, its bits as the lowest bits of eight bytes.
const SPREAD: [u64; 256] = {
    let mut spread = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            spread[byte] |= (byte as u64 >> bit & 1) << (8 * bit);
            bit += 1;
        }
        byte += 1;
    }
    spread
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lowest_plane_comes_first() {
        let mut planes = Vec::new();
        push_planes(&[1, 2, 3, 0, 0, 0, 0, 0, 2], 2, &mut planes);
        assert_eq!(planes, [0b101, 0, 0b110, 1]);
    }

    proptest! {
        #[test]
        fn round_trip(raw in proptest::collection::vec(any::<u8>(), 1..200), bits in 0u32..9) {
            let codes: Vec<u8> =
                raw.iter().map(|code| (u32::from(*code) & ((1 << bits) - 1)) as u8).collect();
            let mut planes = Vec::new();
            push_planes(&codes, bits, &mut planes);
            prop_assert_eq!(planes.len(), bits as usize * plane_bytes(codes.len()));
            let mut read = vec![0xff; codes.len()];
            read_planes(&planes, &mut read);
            prop_assert_eq!(read, codes);
        }
    }
}
