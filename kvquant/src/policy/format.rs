//! The format of one side, keys or values, of one layer's cache.

use crate::quant::bits::BitWidth;
use std::fmt;
use std::str::FromStr;

/// How one side of a layer's cache is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SideFormat {
    /// Half precision, every token.
    F16,
    /// The paper's round-to-nearest groups behind a half-precision window: keys in groups along the
    /// tokens of a channel, values in groups along the channels of a token.
    Rtn(BitWidth),
    /// llama.cpp's `q8_0`: blocks of 32 channels of a token, 8-bit codes, one scale; no window.
    Q8_0,
    /// llama.cpp's `q4_0`: as `q8_0` with 4-bit codes.
    Q4_0,
}

impl SideFormat {
    /// Every format, widest first.
    pub const ALL: [SideFormat; 7] = [
        SideFormat::F16,
        SideFormat::Q8_0,
        SideFormat::Q4_0,
        SideFormat::Rtn(BitWidth::Eight),
        SideFormat::Rtn(BitWidth::Four),
        SideFormat::Rtn(BitWidth::Two),
        SideFormat::Rtn(BitWidth::One),
    ];

    /// The names that [`SideFormat::from_str`] takes, for messages.
    pub const NAMES: &'static str = "f16, q8_0, q4_0, rtn8, rtn4, rtn2, rtn1";
}

impl fmt::Display for SideFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SideFormat::F16 => f.write_str("f16"),
            SideFormat::Rtn(width) => write!(f, "rtn{width}"),
            SideFormat::Q8_0 => f.write_str("q8_0"),
            SideFormat::Q4_0 => f.write_str("q4_0"),
        }
    }
}

/// The text is no format's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no cache format; there are {names}", names = SideFormat::NAMES)]
pub struct UnknownFormat(pub String);

impl FromStr for SideFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<SideFormat, UnknownFormat> {
        SideFormat::ALL
            .into_iter()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}
