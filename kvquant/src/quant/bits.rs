//! Codes of 1, 2, 4 and 8 bits, packed.
//!
//! The first code lies in the lowest bits of the first byte. Read as little-endian words this is
//! KIVI's order, which packs codes into 32-bit words from the low end.

use std::fmt;

/// The width of a code in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BitWidth {
    /// Two levels.
    One,
    /// Four levels.
    Two,
    /// Sixteen levels.
    Four,
    /// 256 levels.
    Eight,
}

impl BitWidth {
    /// Every width, narrowest first.
    pub const ALL: [BitWidth; 4] = [BitWidth::One, BitWidth::Two, BitWidth::Four, BitWidth::Eight];

    /// The width with this number of bits, if there is one.
    pub fn from_bits(bits: u32) -> Option<BitWidth> {
        BitWidth::ALL.into_iter().find(|width| width.bits() == bits)
    }

    /// Bits in a code.
    pub const fn bits(self) -> u32 {
        match self {
            BitWidth::One => 1,
            BitWidth::Two => 2,
            BitWidth::Four => 4,
            BitWidth::Eight => 8,
        }
    }

    /// The largest code, 2^bits - 1.
    pub const fn max_code(self) -> u8 {
        (u8::MAX) >> (8 - self.bits())
    }

    /// Codes in a byte.
    pub const fn codes_per_byte(self) -> usize {
        8 / self.bits() as usize
    }

    /// Bytes that `n_codes` packed codes take; the last one may be filled in part.
    pub const fn packed_bytes(self, n_codes: usize) -> usize {
        n_codes.div_ceil(self.codes_per_byte())
    }
}

impl fmt::Display for BitWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bits())
    }
}

/// Packs `codes` into `packed`; the unused high bits of the last byte are zero.
///
/// Bits of a code above the width are dropped.
///
/// # Panics
/// If `packed` is not exactly `width.packed_bytes(codes.len())` long.
pub fn pack(codes: &[u8], width: BitWidth, packed: &mut [u8]) {
    assert_eq!(packed.len(), width.packed_bytes(codes.len()), "length of the packed codes");
    let bits = width.bits();
    for (byte, codes) in packed.iter_mut().zip(codes.chunks(width.codes_per_byte())) {
        *byte = codes
            .iter()
            .rev()
            .fold(0, |byte, &code| shift_left(byte, bits) | (code & width.max_code()));
    }
}

/// Unpacks `codes.len()` codes from `packed`.
///
/// # Panics
/// If `packed` is not exactly `width.packed_bytes(codes.len())` long.
pub fn unpack(packed: &[u8], width: BitWidth, codes: &mut [u8]) {
    assert_eq!(packed.len(), width.packed_bytes(codes.len()), "length of the packed codes");
    let bits = width.bits();
    for (&byte, codes) in packed.iter().zip(codes.chunks_mut(width.codes_per_byte())) {
        let mut rest = byte;
        for code in codes {
            *code = rest & width.max_code();
            rest = rest.checked_shr(bits).unwrap_or(0);
        }
    }
}

/// `byte << bits`, zero where all bits leave the byte.
fn shift_left(byte: u8, bits: u32) -> u8 {
    byte.checked_shl(bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_code_is_in_the_low_bits() {
        let mut packed = [0; 2];
        pack(&[1, 0, 0, 0, 0, 0, 0, 1, 1], BitWidth::One, &mut packed);
        assert_eq!(packed, [0b1000_0001, 0b0000_0001]);
        pack(&[3, 0, 1, 2, 3], BitWidth::Two, &mut packed);
        assert_eq!(packed, [0b10_01_00_11, 0b11]);
        pack(&[0xa, 0x5, 0xf], BitWidth::Four, &mut packed);
        assert_eq!(packed, [0x5a, 0x0f]);
        pack(&[200, 7], BitWidth::Eight, &mut packed);
        assert_eq!(packed, [200, 7]);
    }

    proptest! {
        /// Any codes of any width and any tail length come back bit for bit, in exactly the bytes
        /// that the width promises.
        #[test]
        fn round_trip(raw in proptest::collection::vec(any::<u8>(), 0..200), which in 0usize..4) {
            let width = BitWidth::ALL[which];
            let codes: Vec<u8> = raw.iter().map(|code| code & width.max_code()).collect();
            let mut packed = vec![0xff; width.packed_bytes(codes.len())];
            pack(&codes, width, &mut packed);
            let mut unpacked = vec![0xff; codes.len()];
            unpack(&packed, width, &mut unpacked);
            prop_assert_eq!(&unpacked, &codes);
            let used_bits = codes.len() * width.bits() as usize;
            if !used_bits.is_multiple_of(8) {
                prop_assert_eq!(packed[packed.len() - 1] >> (used_bits % 8), 0);
            }
        }
    }
}
