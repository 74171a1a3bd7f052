//! Codes in the order in which integer dot products read them.
//!
//! Both products of attention sum codes times weights over *terms*, in many *lanes* at once: logits sum over
//! the channels of 64 tokens, outputs over tokens for the channels of a head. A **tile** holds two bits of the
//! codes of 4 terms in 64 lanes, in 64 bytes: byte `4 (lane % 16) + term`, bits `2 (lane / 16)` and up. One AND
//! then gives 4 terms of 16 lanes as bytes, in the order of the instruction that multiplies them by 4 weights
//! and adds up; that they stand 0, 2, 4 or 6 bits too high is undone in the sum.
//!
//! Wider codes have several **levels** of digits of two bits, from the highest down; between them a sum is
//! multiplied by 4. The highest digit of an odd width has one bit: of such *singles*, a tile holds 8 terms, the
//! last four one bit higher. What is left of a level takes halves and quarters of a tile, so that bytes are
//! exact for an even number of terms.
//!
//! Where fewer than 64 lanes belong together (values in groups of 32 channels), a tile of width 2 or 1 (times
//! 16 lanes) holds 8 or 16 terms instead.

/// Lanes of a tile.
pub const LANES: usize = 64;
/// Lanes of a vector of 32-bit sums.
pub const VECTOR: usize = 16;
/// Such vectors in a tile.
pub const SLOTS: usize = LANES / VECTOR;
/// Bytes of a tile.
pub const TILE_BYTES: usize = 64;

/// Whether kernels read groups of so many elements: parts of a tile's lanes in whole vectors, or whole tiles.
pub const fn is_group(n: usize) -> bool {
    n == VECTOR || n == 2 * VECTOR || (n > 0 && n.is_multiple_of(LANES))
}

/// The digits of one level of a run of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level {
    /// Where the weights of its terms begin.
    pub weights: usize,
    /// Whole tiles of digits of two bits.
    pub pair_tiles: usize,
    /// Whether half a tile of two terms follows.
    pub has_pair_rest: bool,
    /// Whole tiles of digits of one bit.
    pub single_tiles: usize,
    /// Whether half a tile of four terms follows.
    pub has_single_half: bool,
    /// Whether a quarter of a tile of two terms follows.
    pub has_single_quarter: bool,
}

impl Level {
    /// A level in which so many terms have a digit of two bits, and so many after them one of one bit.
    fn of_terms(weights: usize, pairs: usize, singles: usize) -> Level {
        let (pairs, singles) = (pairs.next_multiple_of(2), singles.next_multiple_of(2));
        Level {
            weights,
            pair_tiles: pairs / 4,
            has_pair_rest: pairs % 4 > 0,
            single_tiles: singles / 8,
            has_single_half: singles % 8 >= 4,
            has_single_quarter: singles % 4 > 0,
        }
    }

    /// Bytes of its digits.
    pub fn bytes(self) -> usize {
        let quarters = |is: bool, n: usize| if is { n * TILE_BYTES / 4 } else { 0 };
        (self.pair_tiles + self.single_tiles) * TILE_BYTES
            + quarters(self.has_pair_rest, 2)
            + quarters(self.has_single_half, 2)
            + quarters(self.has_single_quarter, 1)
    }

    /// Fours of terms, those of no digit that fill up a tile included.
    pub fn n_steps(self) -> usize {
        self.pair_tiles
            + usize::from(self.has_pair_rest)
            + 2 * self.single_tiles
            + usize::from(self.has_single_half)
            + usize::from(self.has_single_quarter)
    }
}

/// The order of the codes of one block of keys: 64 tokens as lanes, channels of any widths as terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnTiles {
    levels: Vec<Level>,
    /// The channel whose weight each term of each level takes.
    columns: Vec<u8>,
    /// Channel and where its digits are, for all levels.
    digits: Vec<Digit>,
    bytes: usize,
    n_weights: usize,
    is_uniform: bool,
}

/// A digit of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digit {
    channel: u8,
    /// Of the code.
    shift: u8,
    is_pair: bool,
    /// Of the level's first digit of its kind.
    offset: usize,
    /// Among those of its kind.
    index: usize,
    /// Terms of its kind in whole tiles, and, of singles, in half a tile.
    whole: usize,
    half: usize,
}

/// Terms that fill up a tile take any weight: they have no digits.
const NO_CHANNEL: u8 = 0;

impl ColumnTiles {
    /// The most channels of a head.
    pub const MAX_CHANNELS: usize = 256;

    /// The order for channels of these bits.
    ///
    /// # Panics
    /// If there are more than [`ColumnTiles::MAX_CHANNELS`].
    pub fn new(bits: impl Iterator<Item = u32>) -> ColumnTiles {
        let bits: Vec<u32> = bits.collect();
        let n_channels = bits.len();
        assert!(n_channels <= ColumnTiles::MAX_CHANNELS, "a head of {n_channels} channels");
        let n_levels = bits.iter().map(|bits| bits.div_ceil(2)).max().unwrap_or(0);
        let is_uniform = n_channels.is_multiple_of(8) && bits.iter().all(|of| *of == bits[0]);
        let (mut levels, mut columns, mut digits) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for level in (0..n_levels).rev() {
            let with = |n_bits: u32| {
                let has = |&channel: &usize| bits_of_level(bits[channel], level) == n_bits;
                (0..n_channels).filter(has).collect::<Vec<usize>>()
            };
            let (pairs, singles) = (with(2), with(1));
            let weights = if is_uniform { 0 } else { columns.len() };
            let of = Level::of_terms(weights, pairs.len(), singles.len());
            let single_offset =
                bytes + of.pair_tiles * TILE_BYTES + usize::from(of.has_pair_rest) * TILE_BYTES / 2;
            let kinds = [
                (&pairs, true, bytes, 4 * of.pair_tiles, 0),
                (
                    &singles,
                    false,
                    single_offset,
                    8 * of.single_tiles,
                    4 * usize::from(of.has_single_half),
                ),
            ];
            let first = columns.len();
            for (channels, is_pair, offset, whole, half) in kinds {
                for (index, &channel) in channels.iter().enumerate() {
                    let (channel, shift) = (channel as u8, 2 * level as u8);
                    digits.push(Digit { channel, shift, is_pair, offset, index, whole, half });
                    columns.push(channel);
                }
                // A half has two terms where four weights are.
                columns.resize(columns.len().next_multiple_of(4), NO_CHANNEL);
            }
            columns.resize(first + 4 * of.n_steps(), NO_CHANNEL);
            bytes += of.bytes();
            levels.push(of);
        }
        let n_weights = if is_uniform { n_channels } else { columns.len() };
        let n_weights = n_weights.max(1).next_multiple_of(LANES);
        columns.resize(n_weights, NO_CHANNEL);
        ColumnTiles { levels, columns, digits, bytes, n_weights, is_uniform }
    }

    /// From the highest down.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The channel of each weight, all levels one after the other. None if the weights are those of the channels,
    /// in all levels.
    pub fn columns(&self) -> Option<&[u8]> {
        (!self.is_uniform).then_some(&self.columns)
    }

    /// Weights of a row, filled up to a multiple of 64.
    pub fn n_weights(&self) -> usize {
        self.n_weights
    }

    /// Bytes of the tiles of a block.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Stores the code of one channel in a lane of the block.
    pub fn set(&self, block: &mut [u8], lane: usize, code: impl Fn(usize) -> u8) {
        for digit in &self.digits {
            let (byte, shift) = digit.position(lane);
            let mask = if digit.is_pair { 3 } else { 1 };
            let bits = code(usize::from(digit.channel)) >> digit.shift & mask;
            block[byte] = block[byte] & !(mask << shift) | bits << shift;
        }
    }

    /// Reads the codes of all channels in a lane of the block.
    pub fn get(&self, block: &[u8], lane: usize, codes: &mut [u8]) {
        codes.fill(0);
        for digit in &self.digits {
            let (byte, shift) = digit.position(lane);
            let mask = if digit.is_pair { 3 } else { 1 };
            codes[usize::from(digit.channel)] |= (block[byte] >> shift & mask) << digit.shift;
        }
    }
}

impl Digit {
    /// The byte and the bit of this digit in a lane.
    fn position(self, lane: usize) -> (usize, usize) {
        let (slot, lane) = (2 * (lane / VECTOR), lane % VECTOR);
        if self.index < self.whole {
            let (byte, shift) = position(4, self.is_pair, self.index, lane + VECTOR * (slot / 2));
            return (self.offset + byte, shift);
        }
        let (offset, rest) =
            (self.offset + self.whole * self.bytes_of_eight() / 8, self.index - self.whole);
        if self.is_pair {
            return (offset + 2 * lane + rest, slot);
        }
        if rest < self.half {
            let at = 4 * lane + rest;
            return (offset + at % 32, slot + at / 32);
        }
        let offset = offset + if self.half > 0 { TILE_BYTES / 2 } else { 0 };
        (offset + 2 * (lane % 8) + rest - self.half, slot + lane / 8)
    }

    /// Bytes that eight terms take.
    fn bytes_of_eight(self) -> usize {
        if self.is_pair { 2 * TILE_BYTES } else { TILE_BYTES }
    }
}

/// Bits of a code of `bits` bits in its digit of a level, counted from the lowest.
fn bits_of_level(bits: u32, level: u32) -> u32 {
    bits.saturating_sub(2 * level).min(2)
}

/// The byte and the bit of a term's digit in a lane, in whole tiles of so many times 16 lanes.
fn position(width: usize, is_pair: bool, term: usize, lane: usize) -> (usize, usize) {
    let quads = 4 / width;
    let (quad, slot) = (term / 4 / quads, term / 4 % quads * width + lane / VECTOR);
    let (tile, odd) = if is_pair { (quad, 0) } else { (quad / 2, quad % 2) };
    (tile * TILE_BYTES + 4 * (lane % VECTOR) + term % 4, 2 * slot + odd)
}

/// The order of the codes of one block of values: 64 tokens as terms, and as lanes the channels of a panel, up
/// to 64 that share their weights, all of the same width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanelTiles {
    bits: u32,
    width: usize,
    levels: Vec<Level>,
}

impl PanelTiles {
    /// The order for codes of `bits` bits in `width` x 16 lanes; 1, 2 and 4 are possible.
    pub fn new(bits: u32, width: usize) -> PanelTiles {
        let level = |level| {
            let is_pair = bits_of_level(bits, level) == 2;
            let terms = LANES * width / 4;
            let (pairs, singles) = if is_pair { (terms, 0) } else { (0, terms) };
            Level::of_terms(0, pairs, singles)
        };
        let levels = (0..bits.div_ceil(2)).rev().map(level).collect();
        PanelTiles { bits, width, levels }
    }

    /// From the highest down.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Lanes over 16.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes of the tiles of a block.
    pub fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.bytes()).sum()
    }

    /// Stores the codes of a token, one for each lane.
    pub fn set(&self, block: &mut [u8], token: usize, codes: &[u8]) {
        for (shift, is_pair, level) in self.in_block() {
            let mask = if is_pair { 3 } else { 1 };
            for (lane, &code) in codes.iter().enumerate() {
                let (byte, at) = position(self.width, is_pair, token, lane);
                let byte = &mut block[level + byte];
                *byte = *byte & !(mask << at) | (code >> shift & mask) << at;
            }
        }
    }

    /// Reads the codes of a token.
    pub fn get(&self, block: &[u8], token: usize, codes: &mut [u8]) {
        codes.fill(0);
        for (shift, is_pair, level) in self.in_block() {
            let mask = if is_pair { 3 } else { 1 };
            for (lane, code) in codes.iter_mut().enumerate() {
                let (byte, at) = position(self.width, is_pair, token, lane);
                *code |= (block[level + byte] >> at & mask) << shift;
            }
        }
    }

    /// For each level the shift of its digits, their kind, and where they begin.
    fn in_block(&self) -> impl Iterator<Item = (u32, bool, usize)> + '_ {
        let mut offset = 0;
        self.levels.iter().zip((0..self.bits.div_ceil(2)).rev()).map(move |(of, level)| {
            let at = offset;
            offset += of.bytes();
            (2 * level, bits_of_level(self.bits, level) == 2, at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_exact_for_even_numbers_of_terms() {
        for n in (2..70).step_by(2) {
            for bits in 0..=8 {
                let tiles = ColumnTiles::new(std::iter::repeat_n(bits, n));
                assert_eq!(
                    tiles.bytes(),
                    n * bits as usize * LANES / 8,
                    "{n} channels, {bits} bits"
                );
            }
        }
        for (bits, width) in (1..=8).flat_map(|bits| [1, 2, 4].map(|width| (bits, width))) {
            let tiles = PanelTiles::new(bits, width);
            assert_eq!(tiles.bytes(), width * VECTOR * bits as usize * LANES / 8);
        }
    }

    proptest! {
        /// Codes of channels of any widths come back from any lane, whatever was there before.
        #[test]
        fn columns_round_trip(
            bits in proptest::collection::vec(0u32..9, 1..80), raw in proptest::collection::vec(any::<u8>(), 64 * 80),
        ) {
            let tiles = ColumnTiles::new(bits.iter().copied());
            let mut block = vec![0xa5; tiles.bytes()];
            let code = |lane: usize, channel: usize| {
                (u32::from(raw[lane * bits.len() + channel]) & ((1 << bits[channel]) - 1)) as u8
            };
            for lane in (0..LANES).rev() {
                tiles.set(&mut block, lane, |channel| code(lane, channel));
            }
            let mut codes = vec![0xff; bits.len()];
            for lane in 0..LANES {
                tiles.get(&block, lane, &mut codes);
                for (channel, &read) in codes.iter().enumerate() {
                    prop_assert_eq!(read, code(lane, channel), "lane {}, channel {}", lane, channel);
                }
            }
        }

        #[test]
        fn panels_round_trip(
            bits in 1u32..9, width in 0usize..3, raw in proptest::collection::vec(any::<u8>(), 64 * 64),
        ) {
            let tiles = PanelTiles::new(bits, 1 << width);
            let lanes = VECTOR << width;
            let codes: Vec<u8> = raw.iter().map(|raw| (u32::from(*raw) & ((1 << bits) - 1)) as u8).collect();
            let mut block = vec![0xa5; tiles.bytes()];
            for (token, codes) in codes.chunks_exact(lanes).take(LANES).enumerate() {
                tiles.set(&mut block, token, codes);
            }
            let mut read = vec![0xff; lanes];
            for (token, codes) in codes.chunks_exact(lanes).take(LANES).enumerate() {
                tiles.get(&block, token, &mut read);
                prop_assert_eq!(&read[..], codes);
            }
        }
    }
}
