//! Where a result comes from: everything about a run but its question and its answer.
//!
//! Filled in by [`command::provenance`](crate::command::provenance); here it is plain data.

use serde::{Deserialize, Serialize};

use crate::device::Devices;

/// Where an experiment was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// The instruction set, e.g. `x86_64`.
    pub architecture: String,
    /// Vector extensions that our kernels know of.
    pub cpu_features: Vec<String>,
    /// Physical cores, where the operating system tells.
    pub physical_cores: Option<usize>,
    /// Cores that the process may use.
    pub logical_cores: usize,
    /// Main memory, in bytes.
    pub memory_bytes: u64,
    /// The names of the NVIDIA GPUs.
    pub gpus: Vec<String>,
    /// The operating system and its version.
    pub os: String,
}

impl Host {
    /// The host that has these devices and runs `os`.
    #[must_use]
    pub fn new(devices: &Devices, os: String) -> Self {
        let Devices { cpu, gpus } = devices;
        Self {
            cpu: cpu.model.clone(),
            architecture: cpu.architecture.to_owned(),
            cpu_features: cpu.features.names().into_iter().map(str::to_owned).collect(),
            physical_cores: cpu.physical_cores,
            logical_cores: cpu.logical_cores,
            memory_bytes: cpu.memory_bytes,
            gpus: gpus.gpus().iter().map(|gpu| gpu.name.clone()).collect(),
            os,
        }
    }
}

/// What an experiment was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The program, with its version: `kvquant 0.1.0`.
    pub program: String,
    /// The compiler that built it.
    pub rustc: String,
}

/// Where a result comes from: everything about a run but its question and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// The command line, as a shell would take it.
    pub command: String,
    /// The commit of the source; `None` outside a repository.
    pub commit: Option<String>,
    /// Whether the source had changes that are in no commit.
    pub dirty: bool,
    /// Where it was run.
    pub host: Host,
    /// What it was built from.
    pub versions: Versions,
}
