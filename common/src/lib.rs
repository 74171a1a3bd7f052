//! What the three systems share, and no more. In reading order:
//!
//! - [`device`]: the processor's vector extensions, the GPUs
//! - [`tensor`]: aligned memory, saturating half precision, error measures
//! - [`statistics`]: means of repeated measurements and their confidence
//! - [`progress`]: bars on stderr
//! - [`files`]: files that are there as a whole or not at all
//! - [`journal`]: what a long run has finished, so that it goes on after an interruption
//! - [`assets`]: models and data by name, found or fetched, admitted by checksum
//! - [`report`]: the JSON record of an experiment; tables, plots and pages made from records
//! - [`command`]: what the thin binaries share: environment, provenance, exit codes
//! - [`testing`]: for tests: data, models and GPUs behind gates, the NMSE assertion
//!
//! Invariant: no system is a dependency of this crate, and only `command` and `testing` print or
//! read the environment.

pub mod assets;
pub mod command;
pub mod device;
pub mod files;
pub mod journal;
pub mod progress;
pub mod report;
pub mod statistics;
pub mod tensor;
pub mod testing;
