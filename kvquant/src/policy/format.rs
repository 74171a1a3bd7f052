//! The format of one side, keys or values, of one layer's cache.

use crate::quant::bits::BitWidth;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How one side of a layer's cache is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SideFormat {
    /// Half precision, every token.
    F16,
    /// The paper's round-to-nearest groups behind a half-precision window: keys in groups along the
    /// tokens of a channel, values in groups along the channels of a token.
    Rtn(BitWidth),
    /// Integers of 1 to 8 bits for a fused kernel: keys as `Rtn`'s, with an offset; values about zero
    /// with one scale in a byte for a token of a head.
    Int(u8),
    /// Values as `Int`, with bits of its own for each KV head.
    IntHeads(Arc<[u8]>),
    /// Keys as `Int`, with bits of its own for each channel of each KV head, down to none.
    IntChannels(Arc<[KeyChannels]>),
    /// llama.cpp's `q8_0`: blocks of 32 channels of a token, 8-bit codes, one scale; no window.
    Q8_0,
    /// llama.cpp's `q4_0`: as `q8_0` with 4-bit codes.
    Q4_0,
}

/// How the channels of a KV head's keys are stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyChannels {
    /// One number for all channels, or one for each.
    pub(super) bits: Vec<u8>,
    /// In eighths of an octave, for all channels or each; none if scales and centres are in half precision.
    pub(super) range_octaves: Vec<i16>,
}

impl KeyChannels {
    /// The most bits of a channel.
    pub const MAX_BITS: u8 = 8;
    /// Steps of a range to an octave.
    const STEPS: f32 = 8.0;

    /// All channels alike, scales and centres in half precision.
    pub fn uniform(bits: u8) -> KeyChannels {
        KeyChannels { bits: vec![bits], range_octaves: Vec::new() }
    }

    /// Bits for each channel, and ranges in eighths of an octave: the largest magnitude `2^(n/8)` of the
    /// mean of a group of the channel's keys. With ranges, scales and centres take a byte each.
    pub fn new(bits: Vec<u8>, range_octaves: Vec<i16>) -> KeyChannels {
        KeyChannels { bits, range_octaves }
    }

    /// The same ranges with other bits for each channel.
    pub fn with_bits(&self, bits: Vec<u8>) -> KeyChannels {
        KeyChannels { bits, range_octaves: self.range_octaves.clone() }
    }

    /// Bits for each channel, or one number for all.
    pub fn all_bits(&self) -> &[u8] {
        &self.bits
    }

    /// The step of a range that holds `magnitude`.
    pub fn range_octave(magnitude: f32) -> i16 {
        // The cast saturates.
        (magnitude.max(f32::MIN_POSITIVE).log2() * KeyChannels::STEPS).ceil() as i16
    }

    /// Bits of a channel.
    ///
    /// # Panics
    /// If the head has no such channel.
    pub fn bits(&self, channel: usize) -> u32 {
        u32::from(if self.bits.len() == 1 { self.bits[0] } else { self.bits[channel] })
    }

    /// The largest magnitude of a group's centre, if scales and centres take a byte each.
    pub fn range(&self, channel: usize) -> Option<f32> {
        let octaves = self.range_octaves.get(channel)?;
        Some((f32::from(*octaves) / KeyChannels::STEPS).exp2())
    }

    /// Mean bits of a channel.
    pub fn mean_bits(&self) -> f64 {
        self.bits.iter().map(|&bits| f64::from(bits)).sum::<f64>() / self.bits.len() as f64
    }

    /// What is wrong with them for a head of `head_dim` channels, if anything.
    pub(crate) fn problem(&self, head_dim: usize) -> Option<String> {
        let (bits, ranges) = (self.bits.len(), self.range_octaves.len());
        if bits != 1 && bits != head_dim {
            return Some(format!("bits for {bits} channels, but a head has {head_dim}"));
        }
        if ranges != 0 && ranges != head_dim {
            return Some(format!("ranges for {ranges} channels, but a head has {head_dim}"));
        }
        let most = KeyChannels::MAX_BITS;
        let wide = self.bits.iter().find(|&&bits| bits > most);
        wide.map(|bits| format!("{bits} bits for a channel; the most are {most}"))
    }
}

impl SideFormat {
    /// The formats that have a name, widest first.
    pub fn named() -> impl Iterator<Item = SideFormat> {
        let wide = [SideFormat::F16, SideFormat::Q8_0, SideFormat::Q4_0];
        let paper = BitWidth::ALL.into_iter().rev().map(SideFormat::Rtn);
        wide.into_iter().chain(paper).chain((1..=8).rev().map(SideFormat::Int))
    }

    /// The names that [`SideFormat::from_str`] takes, for messages.
    pub const NAMES: &'static str = "f16, q8_0, q4_0, rtn8, rtn4, rtn2, rtn1, int8 to int1";
}

impl fmt::Display for SideFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SideFormat::F16 => f.write_str("f16"),
            SideFormat::Rtn(width) => write!(f, "rtn{width}"),
            SideFormat::Int(bits) => write!(f, "int{bits}"),
            SideFormat::IntHeads(heads) => {
                write!(f, "int")?;
                heads.iter().enumerate().try_for_each(|(at, bits)| {
                    write!(f, "{}{bits}", if at == 0 { "" } else { "," })
                })
            }
            SideFormat::IntChannels(heads) => {
                let bits: f64 = heads.iter().map(KeyChannels::mean_bits).sum();
                write!(f, "int~{:.2}", bits / heads.len().max(1) as f64)
            }
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
        SideFormat::named()
            .find(|format| format.to_string() == text)
            .ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}
