//! Checkpoints on disk: a file per stage, and one that names them.
//!
//! ```text
//! iteration-00000020-epoch-7-stage-0.state    magic, numbers of the state
//! iteration-00000020-epoch-7.json             iteration, seed, files and their SHA-256
//! ```
//! The names carry the epoch of the group that wrote them: a group that was cut off and goes on writing
//! writes other files. What isn't in the second file, and accepted by the coordinator, doesn't count.

use super::adam::State;
use super::hexadecimal;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Begins a state's file.
const MAGIC: [u8; 8] = *b"unicrons";
/// Bytes of the longest file that names the others.
const MOST_MANIFEST: u64 = 1 << 20;

/// The file that names the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The last iteration that is in it.
    pub iteration: u64,
    /// Of the group that wrote it.
    pub epoch: u64,
    /// By stage: a file beside this one.
    pub stages: BTreeMap<u32, StageFile>,
}

/// A stage's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageFile {
    /// Its name.
    pub file: String,
    /// Of its contents, in hexadecimal.
    pub sha256: String,
}

fn stem(iteration: u64, epoch: u64) -> String {
    format!("iteration-{iteration:08}-epoch-{epoch}")
}

/// The iteration and epoch in a name of ours.
fn parse(name: &str) -> Option<(u64, u64)> {
    let (iteration, rest) = name.strip_prefix("iteration-")?.split_once("-epoch-")?;
    let epoch = rest.split(['-', '.']).next()?;
    Some((iteration.parse().ok()?, epoch.parse().ok()?))
}

/// Writes a stage's state.
///
/// # Errors
/// [`Error::Io`] if it can't: a full disk leaves nothing behind.
pub fn write_stage(folder: &Path, epoch: u64, stage: u32, state: &State) -> Result<StageFile> {
    let file = format!("{}-stage-{stage}.state", stem(state.iteration, epoch));
    let path = folder.join(&file);
    let numbers: &[u8] = bytemuck::cast_slice(state.values.as_slice());
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    hash.update(numbers);
    common::files::replace(&path, |file| {
        file.write_all(&MAGIC)?;
        file.write_all(numbers)
    })
    .map_err(Error::io(&path))?;
    Ok(StageFile { file, sha256: hexadecimal(&hash.finalize()) })
}

/// Writes the file that names the others, and returns its path.
///
/// # Errors
/// [`Error::Io`] if it can't.
pub fn write_manifest(folder: &Path, manifest: &Manifest) -> Result<PathBuf> {
    let path = folder.join(format!("{}.json", stem(manifest.iteration, manifest.epoch)));
    let json = serde_json::to_vec_pretty(manifest);
    let written = json
        .map_err(std::io::Error::from)
        .and_then(|json| common::files::replace(&path, |file| file.write_all(&json)));
    written.map_err(Error::io(&path))?;
    Ok(path)
}

/// Reads a stage's state of `numbers` values from the checkpoint that `manifest` names.
///
/// # Errors
/// [`Error::Io`] if a file can't be read or isn't what it was when it was written.
pub fn read_stage(manifest: &Path, iteration: u64, stage: u32, numbers: usize) -> Result<State> {
    let damaged = |path: &Path, what: &str| {
        Error::io(path)(std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned()))
    };
    let named: Manifest = serde_json::from_slice(&read(manifest, MOST_MANIFEST)?)
        .map_err(|error| damaged(manifest, &error.to_string()))?;
    let of_stage = named.stages.get(&stage).filter(|_| named.iteration == iteration);
    let of_stage =
        of_stage.ok_or_else(|| damaged(manifest, "it is of another iteration or other stages"))?;
    if of_stage.file.contains(['/', '\\']) {
        return Err(damaged(manifest, "its files are to be beside it"));
    }
    let path = manifest.with_file_name(&of_stage.file);
    let expected = MAGIC.len() + 4 * numbers;
    let bytes = read(&path, expected as u64)?;
    if bytes.len() != expected || hexadecimal(&Sha256::digest(&bytes)) != of_stage.sha256 {
        return Err(damaged(&path, "it isn't what was written"));
    }
    let mut values = vec![0.0_f32; numbers];
    bytemuck::cast_slice_mut(&mut values).copy_from_slice(&bytes[MAGIC.len()..]);
    Ok(State { iteration, values: Arc::new(values) })
}

/// A file of at most so many bytes.
fn read(path: &Path, most_bytes: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(Error::io(path))?;
    file.take(most_bytes + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > most_bytes {
        let problem = format!("it has more than {most_bytes} bytes");
        let problem = std::io::Error::new(std::io::ErrorKind::InvalidData, problem);
        return Err(Error::io(path)(problem));
    }
    Ok(bytes)
}

/// Deletes what a checkpoint that counts has made useless: files of earlier groups, and of earlier
/// iterations of the same. Files of later groups stay. What can't be deleted is left for the next time.
pub fn clean(folder: &Path, iteration: u64, epoch: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((of_iteration, of_epoch)) = name.to_str().and_then(parse) else { continue };
        if of_epoch < epoch || (of_epoch == epoch && of_iteration < iteration) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(iteration: u64) -> State {
        State { iteration, values: Arc::new((0..9).map(|i| i as f32 / 7.0).collect()) }
    }

    fn written(folder: &Path, iteration: u64, epoch: u64) -> PathBuf {
        let stages = (0..2)
            .map(|stage| (stage, write_stage(folder, epoch, stage, &state(iteration)).unwrap()));
        let manifest = Manifest { iteration, epoch, stages: stages.collect() };
        write_manifest(folder, &manifest).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), 20, 7);
        assert_eq!(read_stage(&path, 20, 1, 9).unwrap(), state(20));
        let refused = |iteration, stage, numbers| {
            read_stage(&path, iteration, stage, numbers).unwrap_err().to_string()
        };
        assert!(refused(21, 1, 9).ends_with("it is of another iteration or other stages"));
        assert!(refused(20, 2, 9).ends_with("it is of another iteration or other stages"));
        assert!(refused(20, 1, 8).ends_with("it has more than 40 bytes"));
        assert!(refused(20, 1, 10).ends_with("it isn't what was written"));
        let file = folder.path().join("iteration-00000020-epoch-7-stage-1.state");
        let mut bytes = fs::read(&file).unwrap();
        bytes[20] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(refused(20, 1, 9).ends_with("it isn't what was written"));
    }

    #[test]
    fn only_what_is_useless_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        for (iteration, epoch) in [(10, 1), (30, 1), (10, 3), (20, 3), (30, 3), (10, 4)] {
            written(folder.path(), iteration, epoch);
        }
        fs::write(folder.path().join("weights.safetensors"), "").unwrap();
        clean(folder.path(), 20, 3);
        let names = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> =
            names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".json"));
        names.sort();
        assert_eq!(
            names,
            [
                "iteration-00000010-epoch-4.json",
                "iteration-00000020-epoch-3.json",
                "iteration-00000030-epoch-3.json"
            ]
        );
        assert!(folder.path().join("weights.safetensors").exists());
    }
}
