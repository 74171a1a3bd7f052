//! Where a graph comes from: a name, a path, or a recipe.

use crate::data::catalogue::{self, DATA_SETS, DataSet};
use crate::data::{self, csbm::Csbm};
use crate::graph::Graph;
use common::assets::{self, Asset, Store};
use common::command::BadInput;
use common::progress::Progress;
use std::path::{Path, PathBuf};

/// A graph that a user asks for, not yet read.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A known one.
    Known(&'static DataSet),
    /// One made up.
    Csbm(Csbm),
    /// A file or folder.
    Path(PathBuf),
}

impl Source {
    /// What `spec` means. A known name wins over a file of that name.
    ///
    /// # Errors
    /// If it is neither a name nor a path, or a recipe with a wrong option.
    pub fn parse(spec: &str) -> anyhow::Result<Self> {
        if let Some(set) = catalogue::find(spec) {
            return Ok(Self::Known(set));
        }
        if spec == "csbm" || spec.starts_with("csbm:") {
            return Ok(Self::Csbm(spec.parse()?));
        }
        let path = Path::new(spec);
        let is_path = path.exists() || path.components().count() > 1 || path.extension().is_some();
        if is_path {
            return Ok(Self::Path(path.to_owned()));
        }
        let known: Vec<&str> = DATA_SETS.iter().map(|set| set.name).collect();
        let known = known.join(", ");
        let problem =
            format!("unknown graph \"{spec}\": no file or folder, and the names are {known}, csbm");
        Err(BadInput(problem).into())
    }

    /// Finds and reads the graph.
    ///
    /// # Errors
    /// If it isn't there, or no graph; the error says how to get a known one.
    pub fn open(&self, store: &Store) -> anyhow::Result<Graph> {
        match self {
            Source::Known(set) => {
                let path = store.obtain(asset_of(set.asset), &Progress::stderr())?;
                Ok(data::read(&path)?)
            }
            Source::Csbm(csbm) => Ok(csbm.generate()?),
            Source::Path(path) => Ok(data::read(path)?),
        }
    }
}

/// The registered file of a known graph.
pub fn asset_of(id: &str) -> &'static Asset {
    assets::find(id).expect("a test holds every known graph to the registry")
}
