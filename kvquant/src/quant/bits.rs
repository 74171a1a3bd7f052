//! The paper's widths of codes: 1, 2, 4 and 8 bits.

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
}

impl fmt::Display for BitWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bits())
    }
}
