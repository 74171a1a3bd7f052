//! The `.npz` form that the known graphs are kept in: a zip of `.npy` arrays without any pickle.
//!
//! | array | type, shape | meaning |
//! |---|---|---|
//! | `edge_index` | int (2, E) | the edges, each once or in both directions; self loops are kept |
//! | `num_nodes` | int (1,) | N |
//! | `x_indptr`, `x_indices`, `x_data`, `x_shape` | int, int, float, int (2,) | features in compressed rows |
//! | `x` | float (N, F) | features when dense |
//! | `y` | int (N,) | the class of each node |
//! | `train_idx`, `val_idx`, `test_idx` | int | the public split |
//! | `train_masks`, `val_masks`, `test_masks` | uint8 (S, N) | S fixed splits |

mod archive;
mod npy;
#[cfg(test)]
mod tests;

pub(super) use archive::Archive;
pub(super) use npy::Array;

use super::{catalogue, fault, in_file, name_of, read_bytes};
use crate::Result;
use crate::graph::{Adjacency, DenseFeatures, Features, Graph, Labels, SparseFeatures, Split};
use std::path::Path;

/// Reads a graph from an `.npz` file.
///
/// # Errors
/// If the file can't be read, or an array is missing, malformed or inconsistent with the others;
/// the error names it.
pub fn read(path: &Path) -> Result<Graph> {
    parse(path, &read_bytes(path)?)
}

/// A graph from the bytes of an `.npz` file. `path` is for messages, and gives the graph its name.
///
/// # Errors
/// As [`read`].
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Graph> {
    let mut archive = Archive::open(path, bytes)?;
    let Some(labels) = archive.array("y")? else {
        return Err(fault(path, "y", "the array is missing: there are no classes to learn"));
    };
    let labels = to_labels(path, &labels)?;
    let n_nodes = labels.n_nodes();
    let adjacency = read_adjacency(&mut archive, n_nodes)?;
    let mut graph = named_graph(path, adjacency, labels)?;
    if let Some(features) = read_features(&mut archive, n_nodes)? {
        graph = graph.with_features(features).map_err(in_file(path))?;
    }
    if let Some(split) = read_public_split(&mut archive, n_nodes)? {
        graph = graph.with_public_split(split).map_err(in_file(path))?;
    }
    let splits = read_fixed_splits(&mut archive, n_nodes)?;
    graph.with_fixed_splits(splits).map_err(in_file(path))
}

/// A graph under the name of its file; what else is known by that name comes with it.
fn named_graph(path: &Path, adjacency: Adjacency, labels: Labels) -> Result<Graph> {
    let stem = name_of(path);
    let graph = match catalogue::find(&stem) {
        Some(known) => Graph::new(known.name, adjacency, labels)
            .and_then(|graph| graph.with_metric(known.metric)),
        None => Graph::new(stem, adjacency, labels),
    };
    graph.map_err(in_file(path))
}

/// The edges among `n_nodes` nodes, which another array vouches for: a claimed number of nodes
/// alone must not decide how much memory is taken.
pub(super) fn read_adjacency(archive: &mut Archive<'_>, n_nodes: usize) -> Result<Adjacency> {
    let path = archive.path();
    let claimed = archive.required("num_nodes")?;
    let claimed = claimed.integers().map_err(|problem| fault(path, "num_nodes", problem))?;
    if claimed.as_slice() != [n_nodes as u64] {
        let problem = format!("says {claimed:?}, but there are rows for {n_nodes} nodes");
        return Err(fault(path, "num_nodes", problem));
    }
    let array = archive.required("edge_index")?;
    let &[2, n_edges] = array.shape() else {
        let problem = format!("has shape {:?} instead of (2, E)", array.shape());
        return Err(fault(path, "edge_index", problem));
    };
    let ends = array.indices().map_err(|problem| fault(path, "edge_index", problem))?;
    let (from, to) = ends.split_at(n_edges);
    let edges: Vec<(u32, u32)> = from.iter().copied().zip(to.iter().copied()).collect();
    Adjacency::from_edges(n_nodes, &edges).map_err(in_file(path))
}

/// The matrix `x`, dense: of `n_nodes` rows if they are known.
pub(super) fn to_dense(path: &Path, array: &Array) -> Result<DenseFeatures> {
    let &[_, n_features] = array.shape() else {
        let problem = format!("has shape {:?} instead of (N, F)", array.shape());
        return Err(fault(path, "x", problem));
    };
    let values = array.floats().map_err(|problem| fault(path, "x", problem))?;
    DenseFeatures::new(n_features, values).map_err(in_file(path))
}

fn to_labels(path: &Path, array: &Array) -> Result<Labels> {
    let classes = array.integers().map_err(|problem| fault(path, "y", problem))?;
    let to_class = |(node, class): (usize, &u64)| {
        // More classes than nodes can't all occur, and each costs memory later on.
        u16::try_from(*class).ok().filter(|_| *class < classes.len() as u64).ok_or_else(|| {
            let problem =
                format!("class {class} of node {node} is no class of {} nodes", classes.len());
            fault(path, "y", problem)
        })
    };
    let classes = classes.iter().enumerate().map(to_class).collect::<Result<_>>()?;
    Labels::new(classes).map_err(in_file(path))
}

fn read_features(archive: &mut Archive<'_>, n_nodes: usize) -> Result<Option<Features>> {
    let path = archive.path();
    if let Some(array) = archive.array("x")? {
        return Ok(Some(Features::Dense(to_dense(path, &array)?)));
    }
    if archive.array("x_shape")?.is_none() {
        return Ok(None);
    }
    let mut read = |name, convert: fn(&Array) -> Result<Vec<u32>, String>| {
        let array = archive.required(name)?;
        convert(&array).map_err(|problem| fault(path, name, problem))
    };
    let shape = read("x_shape", Array::indices)?;
    let offsets = read("x_indptr", Array::indices)?;
    let columns = read("x_indices", Array::indices)?;
    let values = archive.required("x_data")?.floats();
    let values = values.map_err(|problem| fault(path, "x_data", problem))?;
    let &[claimed, n_features] = shape.as_slice() else {
        return Err(fault(path, "x_shape", format!("has {} numbers instead of 2", shape.len())));
    };
    if claimed as usize != n_nodes {
        return Err(fault(path, "x_shape", format!("{claimed} rows for {n_nodes} nodes")));
    }
    let features = SparseFeatures::new(n_features as usize, offsets, columns, values);
    Ok(Some(Features::Sparse(features.map_err(in_file(path))?)))
}

fn read_public_split(archive: &mut Archive<'_>, n_nodes: usize) -> Result<Option<Split>> {
    let path = archive.path();
    if archive.array("train_idx")?.is_none() {
        return Ok(None);
    }
    let mut part =
        |name| archive.required(name)?.indices().map_err(|problem| fault(path, name, problem));
    let (train, validation, test) = (part("train_idx")?, part("val_idx")?, part("test_idx")?);
    Split::new(n_nodes, train, validation, test).map(Some).map_err(in_file(path))
}

fn read_fixed_splits(archive: &mut Archive<'_>, n_nodes: usize) -> Result<Vec<Split>> {
    let path = archive.path();
    if archive.array("train_masks")?.is_none() {
        return Ok(Vec::new());
    }
    let mut masks = |name| -> Result<Vec<Vec<u32>>> {
        let array = archive.required(name)?;
        match array.shape() {
            &[_, columns] if columns == n_nodes => {}
            shape => {
                let problem = format!("has shape {shape:?} instead of (S, {n_nodes})");
                return Err(fault(path, name, problem));
            }
        }
        let flags = array.integers().map_err(|problem| fault(path, name, problem))?;
        Ok(flags.chunks_exact(n_nodes).map(nodes_of_mask).collect())
    };
    let (train, validation, test) =
        (masks("train_masks")?, masks("val_masks")?, masks("test_masks")?);
    if train.len() != validation.len() || train.len() != test.len() {
        let problem = format!("{}, {} and {} masks", train.len(), validation.len(), test.len());
        return Err(fault(path, "train_masks, val_masks, test_masks", problem));
    }
    let parts = train.into_iter().zip(validation).zip(test);
    let splits =
        parts.map(|((train, validation), test)| Split::new(n_nodes, train, validation, test));
    splits.collect::<Result<_>>().map_err(in_file(path))
}

fn nodes_of_mask(mask: &[u64]) -> Vec<u32> {
    let nodes = mask.iter().enumerate().filter(|&(_, &flag)| flag != 0);
    nodes.map(|(node, _)| node as u32).collect()
}
