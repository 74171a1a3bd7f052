//! Checkpoints: a run that was interrupted goes on with the bits that it would have had.
//!
//! A checkpoint is one file a seed, `seed-3.checkpoint`: a zip of burn's records of parameters and
//! optimiser and of `state.json`. Dropout is a function of seed and epoch, so no generator has a
//! state to keep. The file appears under its name only when it is whole.

use super::protocol::{EarlyStopping, Protocol};
use super::run::{End, Run};
use crate::model::{Architecture, Problem, Settings};
use crate::{Error, Result};
use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use common::files;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// More than the largest model's parameters and optimiser take.
const MAX_PART_BYTES: u64 = 1 << 30;

/// A folder of checkpoints, one a seed.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    /// Epochs from one checkpoint to the next.
    interval: usize,
    what: What,
}

/// What a checkpoint must be of, for it to be gone on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct What {
    graph: String,
    n_nodes: usize,
    n_entries: usize,
    model: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    what: What,
    settings: Settings,
    protocol: Protocol,
    epoch: usize,
    stopping: EarlyStopping,
    best_filter: Option<Vec<f32>>,
    epoch_ms: Vec<f64>,
    has_ended: bool,
    has_diverged: bool,
}

impl Checkpoints {
    /// Checkpoints in `folder`, every `interval` epochs and at the end of a run.
    ///
    /// # Errors
    /// If the folder can't be made.
    pub fn new(
        folder: &Path,
        interval: usize,
        problem: &Problem,
        architecture: Architecture,
    ) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let what = What {
            graph: problem.graph().name().to_owned(),
            n_nodes: problem.n_nodes(),
            n_entries: problem.graph().adjacency().n_entries(),
            model: architecture.name().to_owned(),
        };
        Ok(Self { folder: folder.to_owned(), interval: interval.max(1), what })
    }

    /// Removes all checkpoints of the folder.
    ///
    /// # Errors
    /// If one can't be removed.
    pub fn forget(&self) -> Result<()> {
        let entries = fs::read_dir(&self.folder).map_err(Error::io(&self.folder))?;
        for entry in entries {
            let path = entry.map_err(Error::io(&self.folder))?.path();
            if path.extension().is_some_and(|extension| extension == "checkpoint") {
                fs::remove_file(&path).map_err(Error::io(&path))?;
            }
        }
        Ok(())
    }

    /// Whether a run has gone on since its last checkpoint and is at an interval, or at its end.
    pub(super) fn is_due(&self, run: &Run) -> bool {
        run.epoch != run.saved_epoch
            && (run.end.is_some() || run.epoch.is_multiple_of(self.interval))
    }

    fn path(&self, seed: u64) -> PathBuf {
        self.folder.join(format!("seed-{seed}.checkpoint"))
    }

    /// Writes a run's checkpoint.
    pub(super) fn save(&self, run: &mut Run, protocol: &Protocol) -> Result<()> {
        let path = self.path(run.job.seed);
        let state = State {
            what: self.what.clone(),
            settings: run.job.settings.clone(),
            protocol: *protocol,
            epoch: run.epoch,
            stopping: run.stopping,
            best_filter: run.best_filter.clone(),
            epoch_ms: run.epoch_ms.clone(),
            has_ended: run.end.is_some(),
            has_diverged: run.end == Some(End::Diverged),
        };
        let parameters = run.parameters.clone().into_record().into_bytes();
        let parameters = parameters.map_err(|error| fault(&path, "parameters", error))?;
        let optimizer = run.optimizer.into_bytes();
        let optimizer = optimizer.map_err(|error| fault(&path, "optimizer", error))?;
        let state = serde_json::to_vec(&state).map_err(|error| fault(&path, "state", error))?;
        files::replace(&path, |file| {
            let mut archive = ZipWriter::new(file);
            let parts: [(&str, &[u8]); 3] =
                [("state.json", &state), ("parameters", &parameters), ("optimizer", &optimizer)];
            for (name, bytes) in parts {
                archive.start_file(name, SimpleFileOptions::default())?;
                archive.write_all(bytes)?;
            }
            archive.finish()?;
            Ok(())
        })
        .map_err(Error::io(&path))?;
        run.saved_epoch = run.epoch;
        Ok(())
    }

    /// The run as its checkpoint left it; the run as it is where there is none.
    pub(super) fn restore(&self, mut run: Run, protocol: &Protocol) -> Result<Run> {
        let path = self.path(run.job.seed);
        if !path.exists() {
            return Ok(run);
        }
        let file = File::open(&path).map_err(Error::io(&path))?;
        let mut archive = ZipArchive::new(file).map_err(|error| fault(&path, "zip", error))?;
        let mut part = |name: &str| -> Result<Vec<u8>> {
            let member = archive.by_name(name).map_err(|error| fault(&path, name, error))?;
            let mut bytes = Vec::new();
            let read = member.take(MAX_PART_BYTES).read_to_end(&mut bytes);
            read.map_err(|error| fault(&path, name, error))?;
            Ok(bytes)
        };
        let state: State = serde_json::from_slice(&part("state.json")?)
            .map_err(|error| fault(&path, "state.json", error))?;
        self.check(&path, &state, &run, protocol)?;
        let parameters = ModuleRecord::from_bytes(Bytes::from_bytes_vec(part("parameters")?))
            .and_then(|record| run.parameters.clone().try_load_record(record))
            .map_err(|error| fault(&path, "parameters", error))?;
        let optimizer = OptimizerRecord::from_bytes(Bytes::from_bytes_vec(part("optimizer")?))
            .map_err(|error| fault(&path, "optimizer", error))?;
        run.parameters = parameters;
        run.optimizer = run.optimizer.load_record(optimizer);
        run.epoch = state.epoch;
        run.saved_epoch = state.epoch;
        run.stopping = state.stopping;
        run.best_filter = state.best_filter;
        run.epoch_ms = state.epoch_ms;
        let end = if state.has_diverged { End::Diverged } else { End::Stopped };
        run.end = state.has_ended.then_some(end);
        Ok(run)
    }

    /// A checkpoint of something else is never gone on from, and never overwritten in silence.
    fn check(&self, path: &Path, state: &State, run: &Run, protocol: &Protocol) -> Result<()> {
        let differs = if state.what != self.what {
            format!("of {} on {}", state.what.model, state.what.graph)
        } else if state.settings != run.job.settings {
            "of other settings".to_owned()
        } else if state.protocol != *protocol {
            "of another protocol".to_owned()
        } else {
            return Ok(());
        };
        Err(fault(path, "state.json", format!("is a checkpoint {differs}; choose another folder")))
    }
}

fn fault(path: &Path, part: &str, problem: impl ToString) -> Error {
    Error::File { path: path.to_owned(), part: part.into(), problem: problem.to_string() }
}
