//! What a node is made of: the figures that throughput and transitions are computed from.
//!
//! A kind's figures are its makers' data sheets and the network that nodes of the kind usually
//! have. Bandwidths count one direction, and a cluster file can override any of them.

use crate::{Error, Result};

/// The figures of one GPU, its links, and the store that the cluster shares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hardware {
    /// Dense FLOP/s of a GPU in 16-bit floating point, without sparsity.
    pub peak_flops: f64,
    /// Memory of a GPU in bytes.
    pub memory_bytes: f64,
    /// Bandwidth of a GPU's memory in bytes/s.
    pub memory_bandwidth: f64,
    /// Bandwidth of a GPU to the others of its node in bytes/s, one direction.
    pub intra_node_bandwidth: f64,
    /// A GPU's share of its node's network in bytes/s, one direction.
    pub inter_node_bandwidth: f64,
    /// Bandwidth of the store of checkpoints in bytes/s, which all nodes share.
    pub storage_bandwidth: f64,
}

/// The names of [`Hardware::kind`] with, for each: TFLOP/s, memory (GB), and the bandwidths (GB/s)
/// of memory, inside a node, and between nodes.
///
/// A100 nodes have 8 x 200 Gb/s, A800 nodes as in the paper 4 x 200 Gb/s, H20 nodes 4 x 400 Gb/s,
/// the others 8 x 400 Gb/s. The 800s are the 100s with NVLink cut to 400 GB/s in both directions.
const KINDS: [(&str, [f64; 5]); 8] = [
    ("a100-40gb", [312.0, 40.0, 1555.0, 300.0, 25.0]),
    ("a100-80gb", [312.0, 80.0, 2039.0, 300.0, 25.0]),
    ("a800-80gb", [312.0, 80.0, 2039.0, 200.0, 12.5]),
    ("h100-80gb", [989.0, 80.0, 3350.0, 450.0, 50.0]),
    ("h800-80gb", [989.0, 80.0, 3350.0, 200.0, 50.0]),
    ("h20-96gb", [148.0, 96.0, 4000.0, 450.0, 25.0]),
    ("h200-141gb", [989.0, 141.0, 4800.0, 450.0, 50.0]),
    ("b200-180gb", [2250.0, 180.0, 7700.0, 900.0, 50.0]),
];

/// 20 Gb/s, as remembered of the paper's remote file system (the notes, 6.1).
const STORAGE_BANDWIDTH: f64 = 2.5e9;

impl Hardware {
    /// The kind of the paper's cluster.
    pub const DEFAULT_KIND: &str = "a800-80gb";

    /// The figures of a kind by its name, such as `a800-80gb`.
    ///
    /// # Errors
    /// If there is none of this name: the message lists the names.
    pub fn kind(name: &str) -> Result<Self> {
        let Some((_, figures)) = KINDS.iter().find(|kind| kind.0 == name) else {
            let known: Vec<&str> = Self::kind_names().collect();
            let problem = format!("`{name}` is no kind; there are {}", known.join(", "));
            return Err(Error::Setting { setting: "hardware".into(), problem });
        };
        let [teraflops, memory, memory_bandwidth, intra, inter] = *figures;
        Ok(Self {
            peak_flops: teraflops * 1e12,
            memory_bytes: memory * 1e9,
            memory_bandwidth: memory_bandwidth * 1e9,
            intra_node_bandwidth: intra * 1e9,
            inter_node_bandwidth: inter * 1e9,
            storage_bandwidth: STORAGE_BANDWIDTH,
        })
    }

    /// The names of [`Self::kind`].
    pub fn kind_names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|kind| kind.0)
    }

    /// The names of the figures, as cluster files write them.
    pub const FIGURES: [&str; 6] = [
        "peak_flops",
        "memory_bytes",
        "memory_bandwidth",
        "intra_node_bandwidth",
        "inter_node_bandwidth",
        "storage_bandwidth",
    ];

    /// The figure of a name of [`Self::FIGURES`].
    pub(super) fn figure_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "peak_flops" => Some(&mut self.peak_flops),
            "memory_bytes" => Some(&mut self.memory_bytes),
            "memory_bandwidth" => Some(&mut self.memory_bandwidth),
            "intra_node_bandwidth" => Some(&mut self.intra_node_bandwidth),
            "inter_node_bandwidth" => Some(&mut self.inter_node_bandwidth),
            "storage_bandwidth" => Some(&mut self.storage_bandwidth),
            _ => None,
        }
    }

    /// Checks that every figure is a positive number.
    ///
    /// # Errors
    /// Names the first that isn't.
    pub fn check(&self) -> Result<()> {
        let mut figures = *self;
        for name in Self::FIGURES {
            let figure = figures.figure_mut(name).copied().unwrap_or_default();
            check_figure(figure)
                .map_err(|problem| Error::Setting { setting: name.into(), problem })?;
        }
        Ok(())
    }
}

/// What is wrong with a figure of a cluster or a task, such as a bandwidth or a weight. Nobody has any beyond
/// these bounds, and within them products of a few stay finite, as solvers need.
pub(crate) fn check_figure(figure: f64) -> Result<(), String> {
    if !(figure.is_finite() && figure > 0.0) {
        return Err(format!("{figure} is not a number above 0"));
    }
    if !(1e-30..=1e30).contains(&figure) {
        return Err(format!("{figure:e} is beyond all that is planned with; write 1e-30 to 1e30"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_sound_and_the_default_is_one() {
        for name in Hardware::kind_names() {
            Hardware::kind(name).unwrap().check().unwrap();
        }
        let hardware = Hardware::kind(Hardware::DEFAULT_KIND).unwrap();
        assert_eq!(hardware.peak_flops, 312e12);
        assert_eq!(hardware.inter_node_bandwidth * 8.0, 4.0 * 200e9 / 8.0);
    }

    #[test]
    fn bad_figures_and_kinds_are_named() {
        let mut hardware = Hardware::kind("h100-80gb").unwrap();
        hardware.memory_bandwidth = f64::NAN;
        let error = hardware.check().unwrap_err().to_string();
        assert_eq!(error, "memory_bandwidth: NaN is not a number above 0");
        let error = Hardware::kind("v100").unwrap_err().to_string();
        assert!(error.contains("`v100`") && error.contains("h100-80gb"), "{error}");
    }
}
