//! The images that filters are fitted to: 50 grey pictures on the grid of their pixels (He et al.,
//! "BernNet", 2021; LON-GNN's filter-fitting experiment).

use super::npz::{self, Archive};
use super::{fault, read_bytes};
use crate::Result;
use crate::graph::{Adjacency, DenseFeatures};
use std::path::Path;

/// Signals on a graph without classes.
#[derive(Debug, Clone, PartialEq)]
pub struct GridImages {
    /// The grid: every pixel and its up to four neighbours.
    pub adjacency: Adjacency,
    /// One pixel a row, one image a column.
    pub signals: DenseFeatures,
    /// Whether a pixel counts in the loss: those near the border don't.
    pub mask: Vec<bool>,
}

/// Reads images from an `.npz` file with `edge_index`, `num_nodes`, `x` and `mask`.
///
/// # Errors
/// If the file can't be read, or an array is missing, malformed or inconsistent with the others.
pub fn read(path: &Path) -> Result<GridImages> {
    parse(path, &read_bytes(path)?)
}

/// Images from the bytes of an `.npz` file. `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<GridImages> {
    let mut archive = Archive::open(path, bytes)?;
    let signals = npz::to_dense(path, &archive.required("x")?)?;
    let adjacency = npz::read_adjacency(&mut archive, signals.n_nodes())?;
    let mask = archive.required("mask")?.integers();
    let mask = mask.map_err(|problem| fault(path, "mask", problem))?;
    if mask.len() != signals.n_nodes() {
        let problem = format!("{} flags for {} pixels", mask.len(), signals.n_nodes());
        return Err(fault(path, "mask", problem));
    }
    Ok(GridImages { adjacency, signals, mask: mask.into_iter().map(|flag| flag != 0).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::testing::shared_data;

    #[test]
    fn the_images_of_the_papers() {
        let Some(path) = shared_data("graphs/grid2d_images.npz") else { return };
        let images = read(&path).unwrap();
        assert_eq!((images.adjacency.n_nodes(), images.adjacency.n_edges()), (10_000, 19_800));
        assert_eq!((images.signals.n_nodes(), images.signals.n_features()), (10_000, 50));
        // A border of two pixels is left out.
        assert_eq!(images.mask.iter().filter(|&&counts| counts).count(), 96 * 96);
        assert!(images.signals.values().iter().all(|value| (0.0..=1.0).contains(value)));
        let error = npz::read(&path).unwrap_err().to_string();
        assert!(error.contains("grid2d_images.npz: y: the array is missing"), "{error}");
        let error = read(&shared_data("graphs/cora.npz").unwrap()).unwrap_err().to_string();
        assert!(error.contains("cora.npz: x: the array is missing"), "{error}");
    }
}
