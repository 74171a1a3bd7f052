//! Graphs from files, and graphs made up.
//!
//! Whatever a file's bytes, the result is a graph or an error that names the file and the part at
//! fault: sizes are checked against what is there before anything is allocated, and nothing
//! in a file is ever run. [`csbm`] needs no file at all.

pub mod catalogue;
pub mod csbm;
pub mod edge_list;
pub mod images;
pub mod npz;
pub mod planetoid;
mod split;

pub use split::class_balanced;

use crate::graph::Graph;
use crate::{Error, Result};
use std::path::Path;

/// Reads a graph: an `.npz` file, a folder with Planetoid's `ind.NAME.*` or one of these files, or
/// a folder with an edge list.
///
/// # Errors
/// If there is no such file, its form isn't known, or its contents don't make a graph.
pub fn read(path: &Path) -> Result<Graph> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
        return npz::read(path);
    }
    if let Some(files) = planetoid::Files::at(path)? {
        return files.read();
    }
    if path.is_dir() {
        return edge_list::read(path);
    }
    let problem = match path.exists() {
        true => "is neither an .npz file nor a folder with an edge list or Planetoid's files",
        false => "there is no such file or folder",
    };
    Err(fault(path, "graph", problem))
}

/// The error for a part of a file.
fn fault(path: &Path, part: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::File { path: path.to_owned(), part: part.into(), problem: problem.into() }
}

/// For `map_err`: adds the file to an error about its contents.
fn in_file(path: &Path) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Graph { part, problem } => fault(path, part, problem),
        Error::Split { problem } => fault(path, "split", problem),
        other => other,
    }
}

/// A file's bytes. Graphs fit into memory, and a file that doesn't isn't one.
fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    const MAX_FILE_BYTES: u64 = 4 << 30;
    let length = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if length > MAX_FILE_BYTES {
        let problem = format!("has {length} bytes; at most {MAX_FILE_BYTES} are read");
        return Err(fault(path, "size", problem));
    }
    std::fs::read(path).map_err(Error::io(path))
}

/// What a graph is called: the file's or folder's name without its extension.
fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
