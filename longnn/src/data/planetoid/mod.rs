//! The public Planetoid files (Yang et al. 2016): Cora, CiteSeer and PubMed as everybody reads them.
//!
//! | file | contents |
//! |---|---|
//! | `ind.NAME.allx`, `.ally` | features (CSR) and one-hot classes of the first nodes |
//! | `ind.NAME.tx`, `.ty` | the same of the test nodes, in the order of `test.index` |
//! | `ind.NAME.y` | one-hot classes of the training nodes, which are the first |
//! | `ind.NAME.graph` | the neighbours of every node |
//! | `ind.NAME.test.index` | the test nodes, one a line |
//!
//! All but the last are Python pickles, programs by nature: the reader runs none of them and
//! knows only the few classes that occur here. As in the usual loaders, self loops are dropped, the 500
//! nodes after the training nodes are for validation, and a node between the test nodes that has no
//! record (15 of CiteSeer) gets no features and class 0.

mod numpy;
mod pickle;
#[cfg(test)]
mod tests;

use super::{fault, in_file, read_bytes};
use crate::graph::{Adjacency, Features, Graph, Labels, SparseFeatures, Split};
use crate::{Error, Result};
use numpy::{Row, csr_rows, one_hot_classes};
use pickle::Pickle;
use std::path::{Path, PathBuf};

/// The parts that are read. The eighth, `x`, repeats the first rows of `allx`.
const PARTS: [&str; 7] = ["y", "tx", "ty", "allx", "ally", "graph", "test.index"];

/// Nodes after the training nodes that are for validation.
const N_VALIDATION: usize = 500;

/// Where the files of one data set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    folder: PathBuf,
    name: String,
}

impl Files {
    /// The files that `path` means: a folder that has one set of them, one of the files, or their
    /// common beginning `folder/ind.NAME`. `None` if it means no such files.
    ///
    /// # Errors
    /// If the folder can't be read, or has several data sets.
    pub fn at(path: &Path) -> Result<Option<Self>> {
        if path.is_dir() {
            return Self::in_folder(path);
        }
        let file_name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = file_name.and_then(|name| name.strip_prefix("ind.")) else {
            return Ok(None);
        };
        let suffix = PARTS.into_iter().chain(["x"]).map(|part| format!(".{part}"));
        let name = suffix.into_iter().find_map(|suffix| name.strip_suffix(&suffix)).unwrap_or(name);
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Some(Self { folder, name: name.to_owned() }))
    }

    /// Reads the graph.
    ///
    /// # Errors
    /// If a file is missing, holds anything but what it should, or contradicts another.
    pub fn read(&self) -> Result<Graph> {
        let prefix = self.folder.join(format!("ind.{}", self.name));
        let [y, tx, ty, allx, ally, graph, test_index] =
            PARTS.map(|part| read_bytes(&prefix.with_added_extension(part)));
        let contents = Contents {
            y: y?,
            tx: tx?,
            ty: ty?,
            allx: allx?,
            ally: ally?,
            graph: graph?,
            test_index: test_index?,
        };
        contents.parse(&prefix)
    }

    fn in_folder(folder: &Path) -> Result<Option<Self>> {
        let mut names = Vec::new();
        for entry in folder.read_dir().map_err(Error::io(folder))? {
            let file_name = entry.map_err(Error::io(folder))?.file_name();
            let name = file_name.to_str().and_then(|name| name.strip_prefix("ind."));
            names.extend(name.and_then(|name| name.strip_suffix(".graph")).map(str::to_owned));
        }
        names.sort();
        match names.len() {
            0 => Ok(None),
            1 => Ok(names.pop().map(|name| Self { folder: folder.to_owned(), name })),
            _ => {
                let problem = format!("has {}; name one, as ind.{}", names.join(", "), names[0]);
                Err(fault(folder, "graph", problem))
            }
        }
    }
}

/// The bytes of the files of one data set.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Classes of the training nodes.
    pub y: Vec<u8>,
    /// Features of the test nodes.
    pub tx: Vec<u8>,
    /// Classes of the test nodes.
    pub ty: Vec<u8>,
    /// Features of the first nodes.
    pub allx: Vec<u8>,
    /// Classes of the first nodes.
    pub ally: Vec<u8>,
    /// The neighbours of every node.
    pub graph: Vec<u8>,
    /// The test nodes, as text.
    pub test_index: Vec<u8>,
}

impl Contents {
    /// The graph that the files make. `prefix` is their path up to `ind.NAME`: it gives the graph
    /// its name, and messages the file.
    ///
    /// # Errors
    /// If a file holds anything but what it should, or contradicts another.
    pub fn parse(&self, prefix: &Path) -> Result<Graph> {
        let file = |part: &str| prefix.with_added_extension(part);
        let classes = |part, bytes| unpickle(&file(part), bytes, one_hot_classes);
        let rows = |part, bytes| unpickle(&file(part), bytes, csr_rows);
        let test = parse_test_index(&file("test.index"), &self.test_index)?;
        let n_train = classes("y", &self.y)?.len();
        let labels = Placed {
            first: classes("ally", &self.ally)?,
            test: classes("ty", &self.ty)?,
            files: [file("ally"), file("ty")],
        };
        let (first, n_columns) = rows("allx", &self.allx)?;
        let (last, n_test_columns) = rows("tx", &self.tx)?;
        if n_columns != n_test_columns {
            let problem = format!("{n_test_columns} columns, but allx has {n_columns}");
            return Err(fault(&file("tx"), "_shape", problem));
        }
        let features = Placed { first, test: last, files: [file("allx"), file("tx")] };

        let n_first = labels.first.len();
        let labels = Labels::new(labels.place(n_first, &test)?).map_err(in_file(prefix))?;
        let features = to_features(&features.place(n_first, &test)?, n_columns);
        let n_nodes = labels.n_nodes();
        let edges =
            unpickle(&file("graph"), &self.graph, |pickle| edges(pickle, self.graph.len()))?;
        let adjacency = Adjacency::from_edges(n_nodes, &edges).map_err(in_file(&file("graph")))?;
        let split = public_split(n_train, n_first, n_nodes, test).map_err(in_file(prefix))?;
        let name = prefix.file_name().unwrap_or_default().to_string_lossy();
        Graph::new(name.strip_prefix("ind.").unwrap_or(&name), adjacency, labels)
            .and_then(|graph| graph.with_features(Features::Sparse(features?)))
            .and_then(|graph| graph.with_public_split(split))
            .map_err(in_file(prefix))
    }
}

/// Reads a pickle as something, and names the file in the error.
fn unpickle<T>(
    path: &Path,
    bytes: &[u8],
    convert: impl FnOnce(&Pickle<'_>) -> Result<T, String>,
) -> Result<T> {
    let pickle = Pickle::parse(bytes).map_err(|problem| fault(path, "pickle", problem))?;
    convert(&pickle).map_err(|problem| fault(path, "contents", problem))
}

/// What is known of the first nodes and of the test nodes, on the way into one list.
struct Placed<T> {
    first: Vec<T>,
    test: Vec<T>,
    files: [PathBuf; 2],
}

impl<T: Clone + Default> Placed<T> {
    /// One list: `n_first` nodes, then the test nodes where `test` says; the gaps stay empty.
    fn place(self, n_first: usize, test: &[u32]) -> Result<Vec<T>> {
        let [first_file, test_file] = &self.files;
        if self.first.len() != n_first {
            let problem = format!("{} rows, but ally has {n_first}", self.first.len());
            return Err(fault(first_file, "rows", problem));
        }
        if self.test.len() != test.len() {
            let problem = format!("{} rows for {} test nodes", self.test.len(), test.len());
            return Err(fault(test_file, "rows", problem));
        }
        let least = test.iter().min().map_or(0, |&node| node as usize);
        let n_nodes = test.iter().max().map_or(0, |&node| node as usize + 1);
        // A test node far off would have us make up any number of nodes without a record.
        if least != n_first || n_nodes - n_first > 2 * test.len() {
            let problem = format!(
                "{} test nodes from {least} to {} don't follow on {n_first} others",
                test.len(),
                n_nodes.saturating_sub(1)
            );
            return Err(fault(test_file, "test.index", problem));
        }
        let mut all = self.first;
        all.resize(n_nodes, T::default());
        for (&node, value) in test.iter().zip(self.test) {
            all[node as usize] = value;
        }
        Ok(all)
    }
}

fn parse_test_index(path: &Path, bytes: &[u8]) -> Result<Vec<u32>> {
    let text = String::from_utf8_lossy(bytes);
    let parse = |(idx, line): (usize, &str)| {
        let problem = |_| fault(path, format!("line {}", idx + 1), format!("{line:?} is no node"));
        line.trim().parse().map_err(problem)
    };
    text.lines().enumerate().map(parse).collect()
}

/// The edges of a dictionary from node to neighbours, without self loops. Each neighbour takes a
/// byte of the file at least; more of them means that lists are shared to make up edges.
fn edges(pickle: &Pickle<'_>, n_bytes: usize) -> Result<Vec<(u32, u32)>, String> {
    let mut edges = Vec::new();
    for &(node, neighbours) in pickle.dict(pickle.root(), "the graph")? {
        let node = pickle.node(node)?;
        let neighbours = pickle.list(neighbours, "the neighbours of a node")?;
        if edges.len() + neighbours.len() > n_bytes {
            return Err("has more neighbours than its bytes can say".into());
        }
        for &neighbour in neighbours {
            let neighbour = pickle.node(neighbour)?;
            if neighbour != node {
                edges.push((node, neighbour));
            }
        }
    }
    Ok(edges)
}

fn to_features(rows: &[Row], n_columns: usize) -> Result<SparseFeatures> {
    let (mut offsets, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
    for row in rows {
        columns.extend(row.iter().map(|&(column, _)| column));
        values.extend(row.iter().map(|&(_, value)| value));
        offsets.push(columns.len() as u32);
    }
    SparseFeatures::new(n_columns, offsets, columns, values)
}

fn public_split(n_train: usize, n_first: usize, n_nodes: usize, test: Vec<u32>) -> Result<Split> {
    let end = n_first.min(n_train.saturating_add(N_VALIDATION));
    let range = |from: usize, to: usize| (from as u32..to as u32).collect::<Vec<u32>>();
    Split::new(n_nodes, range(0, n_train), range(n_train, end), test)
}
