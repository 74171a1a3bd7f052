//! A user's own graph: a folder with a list of edges and a table of nodes.
//!
//! ```text
//! mygraph/edges.csv           mygraph/nodes.csv
//! # who cites whom            id,label,split,length,year
//! a,b                         a,spam,train,0.5,2020
//! b,c                         b,ham,test,1.5,2021
//! ```
//!
//! - Both are called `.csv`, `.tsv` or `.txt`; fields are separated by commas, else by tabs, else by
//!   blanks, as the first line has it. `#` begins a comment line; there is no quoting.
//! - `edges` has the two ends of an undirected edge a line; a first line such as `source,target` is a
//!   header. Repeated edges count once, self loops are kept.
//! - `nodes` begins with a header. Its column `label` is the class, any text. `id` is what edges call
//!   the node; without that column nodes are 0, 1, 2, … in the order of their lines. `split`, where
//!   there is one, says `train`, `validation` or `test`, or nothing for a node in none of them. Every
//!   other column is a feature, a finite number.
//!
//! Errors name the file and the line.

mod edges;
mod nodes;
mod table;
#[cfg(test)]
mod tests;

use super::{fault, in_file, name_of, read_bytes};
use crate::graph::{Adjacency, Graph};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use table::Table;

/// The extensions that either file may have.
const EXTENSIONS: [&str; 3] = ["csv", "tsv", "txt"];

/// Reads the graph of a folder.
///
/// # Errors
/// If a file is missing, or a line of it makes no sense; the error names it.
pub fn read(folder: &Path) -> Result<Graph> {
    let (edges_path, nodes_path) = (find(folder, "edges")?, find(folder, "nodes")?);
    let (edges, nodes) = (read_bytes(&edges_path)?, read_bytes(&nodes_path)?);
    let edges = Source { path: &edges_path, bytes: &edges };
    let nodes = Source { path: &nodes_path, bytes: &nodes };
    parse(&name_of(folder), edges, nodes)
}

/// A file's path, for messages, and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// What it says.
    pub bytes: &'a [u8],
}

/// The graph called `name` that a list of edges and a table of nodes make.
///
/// # Errors
/// If a line makes no sense; the error names it.
pub fn parse(name: &str, edges: Source<'_>, nodes: Source<'_>) -> Result<Graph> {
    let table = nodes::parse(&Table::parse(nodes)?)?;
    let pairs = edges::parse(&Table::parse(edges)?, &table.ids)?;
    let adjacency = Adjacency::from_edges(table.labels.n_nodes(), &pairs);
    let graph = Graph::new(name, adjacency.map_err(in_file(edges.path))?, table.labels);
    let mut graph = graph.map_err(in_file(nodes.path))?;
    if let Some(features) = table.features {
        graph = graph.with_features(features).map_err(in_file(nodes.path))?;
    }
    match table.split {
        None => Ok(graph),
        Some(split) => {
            let checked = split.check_classes(graph.labels());
            let graph = checked.and_then(|()| graph.with_fixed_splits(vec![split]));
            graph.map_err(in_file(nodes.path))
        }
    }
}

/// The file `stem.csv`, `.tsv` or `.txt` of a folder.
fn find(folder: &Path, stem: &str) -> Result<PathBuf> {
    let candidates = EXTENSIONS.map(|extension| folder.join(stem).with_extension(extension));
    let found: Vec<PathBuf> = candidates.into_iter().filter(|path| path.is_file()).collect();
    match found.as_slice() {
        [path] => Ok(path.clone()),
        [] => {
            let problem = format!("there is no {stem}.csv, {stem}.tsv or {stem}.txt in the folder");
            Err(fault(folder, stem, problem))
        }
        [first, second, ..] => {
            let problem = format!("both {} and {} are there", first.display(), second.display());
            Err(fault(folder, stem, problem))
        }
    }
}
