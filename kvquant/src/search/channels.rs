//! How many bits each channel of a layer's keys gets.
//!
//! A query meets the error of a channel of a key times its own size there, so a layer's bits are spread
//! where the mean square of the queries times the mean squared error of the keys falls most. Both channels of
//! a pair that rotary embedding turns get the same: what lies in one now lies in the other later in a
//! longer text.

use super::calibration::LayerStatistics;
use crate::model::config::RopeLayout;
use crate::policy::KeyChannels;
use crate::quant::levels::{Affine, Levels};

/// The most bits of a channel here.
const MOST: usize = 5;

/// What an error at few bits counts more than its square says: its attention is not that of the text that
/// was measured.
const CAUTION: [f64; MOST + 1] = [4.0, 1.5, 1.0, 1.0, 1.0, 1.0];

/// Room for longer texts in the ranges of groups' means.
const HEADROOM: f32 = 1.1;

/// What a layer's channels cost at each number of bits.
#[derive(Debug)]
pub struct ChannelCosts {
    /// `[KV heads][pairs]`
    heads: Vec<Vec<Pair>>,
    head_dim: usize,
}

#[derive(Debug)]
struct Pair {
    channels: [usize; 2],
    /// By bits: squares of queries times squared errors of keys.
    errors: [f64; MOST + 1],
    /// The largest magnitude of a key's two channels together.
    range: f32,
}

impl ChannelCosts {
    /// Measures the keys of a layer in groups of `group` tokens after the first `n_sinks`.
    pub fn measure(
        statistics: &LayerStatistics,
        layout: RopeLayout,
        levels: Levels,
        group: usize,
        n_sinks: usize,
    ) -> ChannelCosts {
        let head_dim = statistics.query_squares.first().map_or(0, Vec::len);
        let heads = statistics.query_squares.iter().zip(&statistics.keys);
        let heads = heads
            .map(|(squares, keys)| {
                let keys = &keys[(n_sinks * head_dim).min(keys.len())..];
                let pairs = (0..head_dim / 2).map(|pair| match layout {
                    RopeLayout::Interleaved => [2 * pair, 2 * pair + 1],
                    RopeLayout::Halves => [pair, pair + head_dim / 2],
                });
                pairs
                    .map(|channels| Pair::measure(channels, squares, keys, levels, group))
                    .collect()
            })
            .collect();
        ChannelCosts { heads, head_dim }
    }

    /// The best channels with `mean_bits` for each channel of the layer on average.
    pub fn spread(&self, mean_bits: f64) -> Vec<KeyChannels> {
        let mut bits: Vec<Vec<usize>> =
            self.heads.iter().map(|pairs| vec![0; pairs.len()]).collect();
        let n_pairs: usize = self.heads.iter().map(Vec::len).sum();
        let gain = |head: usize, pair: usize, bits: usize| {
            let errors = &self.heads[head][pair].errors;
            if bits < MOST { errors[bits] - errors[bits + 1] } else { f64::NEG_INFINITY }
        };
        for _ in 0..(mean_bits * n_pairs as f64).round() as usize {
            let places = bits.iter().enumerate().flat_map(|(head, bits)| {
                bits.iter().enumerate().map(move |(pair, &bits)| (head, pair, bits))
            });
            let best = places.max_by(|&left, &right| {
                gain(left.0, left.1, left.2).total_cmp(&gain(right.0, right.1, right.2))
            });
            match best {
                Some((head, pair, had)) if had < MOST => bits[head][pair] += 1,
                _ => break,
            }
        }
        let heads = self.heads.iter().zip(bits);
        heads.map(|(pairs, bits)| self.channels(pairs, &bits)).collect()
    }

    fn channels(&self, pairs: &[Pair], bits: &[usize]) -> KeyChannels {
        let (mut by_channel, mut ranges) = (vec![0; self.head_dim], vec![0; self.head_dim]);
        for (pair, &bits) in pairs.iter().zip(bits) {
            for channel in pair.channels {
                by_channel[channel] = bits as u8;
                ranges[channel] = KeyChannels::range_octave(pair.range * HEADROOM);
            }
        }
        KeyChannels::new(by_channel, ranges)
    }
}

impl Pair {
    fn measure(
        channels: [usize; 2],
        squares: &[f64],
        keys: &[f32],
        levels: Levels,
        group: usize,
    ) -> Pair {
        let head_dim = squares.len();
        let mut errors = [0.0; MOST + 1];
        for channel in channels {
            let elements: Vec<f32> = keys.iter().skip(channel).step_by(head_dim).copied().collect();
            for group in elements.chunks_exact(group) {
                for (bits, error) in errors.iter_mut().enumerate() {
                    let affine = Affine::fit(group, bits as u32, levels);
                    let off = |&key: &f32| {
                        f64::from(key - affine.decode(affine.encode(key, bits as u32)))
                    };
                    *error +=
                        squares[channel] * group.iter().map(|key| off(key).powi(2)).sum::<f64>();
                }
            }
        }
        for (error, caution) in errors.iter_mut().zip(CAUTION) {
            *error *= caution;
        }
        let [first, second] = channels;
        let range = keys.chunks_exact(head_dim).map(|key| key[first].hypot(key[second]));
        Pair { channels, errors, range: range.fold(0.0, f32::max) }
    }
}
