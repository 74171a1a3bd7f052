//! Rotary position embedding (Su et al. 2021, "RoFormer", section 3.2).

use super::config::{Config, RopeLayout};
use super::gguf::Gguf;
use crate::Result;

/// Frequencies of a model's rotary embedding.
#[derive(Debug)]
pub struct Rope {
    layout: RopeLayout,
    head_dim: usize,
    /// Radians a position, for each turned pair of channels.
    frequencies: Vec<f64>,
}

/// Cosines and sines at some positions.
#[derive(Debug)]
pub struct Turns {
    /// `[positions][pairs]` of (cosine, sine).
    turns: Vec<(f32, f32)>,
}

impl Turns {
    /// The turns back.
    pub fn reversed(mut self) -> Turns {
        self.turns.iter_mut().for_each(|(_, sin)| *sin = -*sin);
        self
    }
}

impl Rope {
    /// The embedding of the model in `gguf`. A tensor `rope_freqs.weight`, which Llama 3.1 and later
    /// use to stretch their context, divides the frequencies.
    ///
    /// # Errors
    /// If that tensor has not one factor a pair.
    pub fn new(gguf: &Gguf, config: &Config) -> Result<Rope> {
        const FACTORS: &str = "rope_freqs.weight";
        let n_pairs = config.rope_len / 2;
        let mut frequencies: Vec<f64> = (0..n_pairs)
            .map(|pair| {
                let exponent = -2.0 * pair as f64 / config.rope_len as f64;
                f64::from(config.rope_base).powf(exponent) / f64::from(config.rope_position_scale)
            })
            .collect();
        if gguf.has_tensor(FACTORS) {
            let factors = gguf.tensor(FACTORS)?.dequantize_row(0)?;
            if factors.len() != n_pairs {
                let problem = format!("has {} factors for {n_pairs} pairs", factors.len());
                return Err(gguf.fault(FACTORS, problem));
            }
            for (frequency, factor) in frequencies.iter_mut().zip(factors) {
                *frequency /= f64::from(factor);
            }
        }
        let layout = config.architecture.rope_layout();
        Ok(Rope { layout, head_dim: config.heads.head_dim, frequencies })
    }

    /// Which channels turn together.
    pub fn layout(&self) -> RopeLayout {
        self.layout
    }

    /// Radians a position, for each turned pair of channels.
    pub fn frequencies(&self) -> &[f64] {
        &self.frequencies
    }

    /// Cosines and sines for these positions.
    pub fn turns(&self, positions: impl Iterator<Item = usize>) -> Turns {
        let turn = |position: usize, frequency: &f64| {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            (cos as f32, sin as f32)
        };
        let turns = positions
            .flat_map(|position| self.frequencies.iter().map(move |f| turn(position, f)))
            .collect();
        Turns { turns }
    }

    /// Turns `rows`, `[positions][heads][head_dim]`, in place.
    pub fn apply(&self, turns: &Turns, rows: &mut [f32]) {
        let n_pairs = self.frequencies.len();
        if n_pairs == 0 || turns.turns.is_empty() {
            return;
        }
        let n_positions = turns.turns.len() / n_pairs;
        let row_len = rows.len() / n_positions;
        let by_position = rows.chunks_exact_mut(row_len).zip(turns.turns.chunks_exact(n_pairs));
        for (row, turns) in by_position {
            for head in row.chunks_exact_mut(self.head_dim) {
                for (pair, &(cos, sin)) in turns.iter().enumerate() {
                    let (i, j) = match self.layout {
                        RopeLayout::Interleaved => (2 * pair, 2 * pair + 1),
                        RopeLayout::Halves => (pair, pair + n_pairs),
                    };
                    let (x, y) = (head[i], head[j]);
                    head[i] = x * cos - y * sin;
                    head[j] = x * sin + y * cos;
                }
            }
        }
    }
}
