//! How fast Oobleck, Varuna and Bamboo train while nothing fails, relative to Megatron-LM.
//!
//! Nobody has published the three beside Megatron-LM but the Unicron paper, and its ratios are what a
//! simulation sets out to reproduce: to take the factors from them would be a circle ([`circular`] keeps
//! them for display only). So the samples/s of Oobleck's artifact stand beside what *our* model of
//! Megatron-LM foretells for the same models, batches and GPUs.
//!
//! **What the range means.** The artifact keeps parameters and gradients in 32 bits
//! (`oobleck/execution/layer.py`) and sets no flag for TF32, which PyTorch leaves off for matrix products.
//! Megatron-LM trains in 16 bits on tensor cores with four times the peak. Most of the factor is this, not
//! the elasticity. So the centre is what the software does as it is, and the high end what it would do
//! beside Megatron-LM in 32 bits. Three things are not in the artifact's text: that the GPUs are A40, their
//! network, and sequences of 2,048 tokens (all three as remembered); with 1,024 the factors are half.
//! And A40, in either arithmetic, is beyond what our model of Megatron-LM was fitted on.

use super::Steady;
use super::artifact::{NODES, ROWS, Row};
use crate::cluster::Hardware;
use crate::model::{LanguageModel, Sizes};
use crate::throughput::{Constants, Throughput};

/// Throughput relative to Megatron-LM's on the same GPUs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The worst of both large models and all numbers of nodes.
    pub low: f64,
    /// The mean over the numbers of nodes for the 6.7B model.
    pub central: f64,
    /// The same beside 32-bit arithmetic, at most 1.
    pub high: f64,
}

/// NVIDIA A40: 149.7 TFLOP/s in 16 bits, dense; 48 GB at 696 GB/s; PCIe 4.0 x16 (data sheet). Four in a
/// machine that has 200 Gb/s [K]. The artifact counts each GPU as a node.
const A40: Hardware = Hardware {
    peak_flops: 149.7e12,
    memory_bytes: 48e9,
    memory_bandwidth: 696e9,
    intra_node_bandwidth: 31.5e9,
    inter_node_bandwidth: 6.25e9,
    storage_bandwidth: 2.5e9,
};

/// The same in 32 bits without tensor cores: 37.4 TFLOP/s (data sheet), and every byte twice. State takes
/// as much memory (16 bytes a parameter instead of 18), activations take more, which we leave out.
const A40_IN_32_BITS: Hardware = Hardware {
    peak_flops: 37.4e12,
    memory_bandwidth: A40.memory_bandwidth / 2.0,
    intra_node_bandwidth: A40.intra_node_bandwidth / 2.0,
    inter_node_bandwidth: A40.inter_node_bandwidth / 2.0,
    ..A40
};

/// The large models' sizes as in the GPT-3 paper (Brown et al. 2020, table 2.1): row, layers, hidden,
/// heads.
const LARGE: [(usize, usize, usize, usize); 2] = [(3, 32, 2560, 32), (4, 32, 4096, 32)];

impl Range {
    /// Of a choice; 1 at Megatron-LM's pace.
    #[must_use]
    pub fn of(&self, steady: Steady) -> f64 {
        match steady {
            Steady::PublishedLow => self.low,
            Steady::Published => self.central,
            Steady::PublishedHigh => self.high,
            Steady::Megatron => 1.0,
        }
    }

    /// Oobleck's, by its own artifact.
    #[must_use]
    pub fn oobleck() -> Self {
        Self::from_samples(|row| row.oobleck)
    }

    /// Varuna's, by Oobleck's artifact.
    #[must_use]
    pub fn varuna() -> Self {
        Self::from_samples(|row| row.varuna)
    }

    /// Bamboo's, by Oobleck's artifact: Oobleck's range, times what Bamboo achieves of Oobleck on the two
    /// small models that it has memory for.
    #[must_use]
    pub fn bamboo() -> Self {
        let oobleck = Self::oobleck();
        let shares: Vec<f64> = ROWS
            .iter()
            .filter_map(|row| Some(row.bamboo?.into_iter().zip(row.oobleck)))
            .flat_map(|pairs| pairs.map(|(bamboo, oobleck)| bamboo / oobleck))
            .collect();
        Self {
            low: oobleck.low * smallest(&shares),
            central: oobleck.central * mean(&shares),
            high: oobleck.high * shares.iter().copied().fold(0.0, f64::max),
        }
    }

    fn from_samples(samples: impl Fn(&Row) -> [f64; 4]) -> Self {
        let factors = |large: usize, hardware| {
            let (row_idx, layers, hidden, heads) = LARGE[large];
            relative(&ROWS[row_idx], samples(&ROWS[row_idx]), [layers, hidden, heads], hardware)
        };
        let (small, large) = (factors(0, &A40), factors(1, &A40));
        Self {
            low: smallest(&small).min(smallest(&large)).min(1.0),
            central: mean(&large).min(1.0),
            high: mean(&factors(1, &A40_IN_32_BITS)).min(1.0),
        }
    }
}

/// For each number of nodes, the FLOP/s behind so many samples/s over what our model foretells.
fn relative(row: &Row, samples: [f64; 4], sizes: [usize; 3], hardware: &Hardware) -> Vec<f64> {
    let [layers, hidden, heads] = sizes;
    let sizes =
        Sizes { layers, hidden, heads, sequence: 2048, vocabulary: 51_200, batch: row.batch };
    let model = LanguageModel::new(row.model, sizes).expect("the artifact's models are sound");
    let flops_of_sample = model.iteration_flops() / row.batch as f64;
    let throughput = Throughput::megatron(&model, hardware, 1, NODES[0], &Constants::default());
    NODES
        .into_iter()
        .zip(samples)
        .map(|(nodes, samples)| samples * flops_of_sample / throughput.at(nodes))
        .filter(|factor| factor.is_finite())
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// What the Unicron paper's own headline ratios imply, from and to (field notes 1.1). **For display only**:
/// a simulation that used it would find what it had put in.
#[must_use]
pub fn circular(rival: &str) -> Option<(f64, f64)> {
    match rival {
        "oobleck" => Some((0.26, 0.33)),
        "varuna" => Some((0.17, 0.25)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_a40_achieves_15_tflops_of_the_artifacts_largest_model() {
        let model = LanguageModel::preset("gpt3-7b").unwrap();
        let flops_of_sample = model.iteration_flops() / model.sizes().batch as f64;
        let teraflops = ROWS[4].oobleck[0] * flops_of_sample / 30.0 / 1e12;
        // The notes' 15.1 count 6 FLOPs a parameter and token, without attention.
        assert!((teraflops - 15.1).abs() < 1.5, "{teraflops}");
    }

    #[test]
    fn ranges_are_ordered_and_below_megatron() {
        for range in [Range::oobleck(), Range::varuna(), Range::bamboo()] {
            assert!(0.0 < range.low && range.low < range.central, "{range:?}");
            assert!(range.central < range.high && range.high <= 1.0, "{range:?}");
            assert_eq!(range.of(Steady::Megatron), 1.0);
        }
        let (oobleck, bamboo) = (Range::oobleck(), Range::bamboo());
        // Field notes 1.1: 0.18 to 0.32 of Oobleck.
        assert!((bamboo.low / oobleck.low - 0.18).abs() < 0.005);
        assert!((bamboo.high / oobleck.high - 0.32).abs() < 0.005);
    }

    /// Field notes 1.1: about 0.22 to 0.29 by this anchor, against 46 % of the peak.
    #[test]
    fn the_centre_is_near_what_the_notes_derive() {
        let range = Range::oobleck();
        assert!((0.15..0.35).contains(&range.central), "{range:?}");
        assert!((0.1..0.25).contains(&range.low), "{range:?}");
    }

    #[test]
    fn most_of_the_factor_is_the_arithmetic() {
        let range = Range::oobleck();
        assert!(range.high > 2.5 * range.central, "{range:?}");
    }
}
