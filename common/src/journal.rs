//! What a long run has finished, kept in a file, so that an interrupted run goes on where it was.
//!
//! One line of JSON for what is run, then one for each part that is finished.

use crate::command::{BadInput, InputContext};
use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A journal; without a file it only runs what it is asked for.
#[derive(Debug)]
pub struct Journal {
    file: Option<(PathBuf, File)>,
    finished: BTreeMap<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    part: String,
    outcome: Value,
}

impl Journal {
    /// Opens a journal of a run that `run` describes, or begins it.
    ///
    /// # Errors
    /// If the file can't be read or written, or is that of another run: nothing of it is lost then.
    pub fn open(path: Option<&Path>, run: &Value) -> anyhow::Result<Journal> {
        let mut journal = Journal { file: None, finished: BTreeMap::new() };
        let Some(path) = path else { return Ok(journal) };
        let opened = OpenOptions::new().create(true).read(true).append(true).open(path);
        let mut file = opened.bad_input(format!("{} can't be written", path.display()))?;
        // Before anything is read: what another run adds is not lost.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => anyhow::bail!(BadInput(format!(
                "{} is in use by another run; wait for it, or name another file",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{} can't be locked", path.display()));
            }
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).bad_input(format!("{} can't be read", path.display()))?;
        let is_cut = !bytes.ends_with(b"\n");
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let foreign = || {
            BadInput(format!(
                "{} is the journal of another run; remove it, or name another file",
                path.display()
            ))
        };
        let Ok(whole) = str::from_utf8(&bytes[..end]) else { anyhow::bail!(foreign()) };
        let mut lines = whole.lines();
        // The first line itself may have been cut off; anything else without a whole line isn't ours.
        let is_of_run = match lines.next() {
            Some(first) => serde_json::from_str::<Value>(first).is_ok_and(|of| of == *run),
            None => run.to_string().as_bytes().starts_with(&bytes),
        };
        if !is_of_run {
            anyhow::bail!(foreign());
        }
        for line in lines {
            let line: Line = serde_json::from_str(line)
                .bad_input(format!("{} is no journal: {line}", path.display()))?;
            journal.finished.insert(line.part, line.outcome);
        }
        if is_cut {
            // A line that an interruption cut off is not there.
            file.set_len(end as u64).with_context(|| path.display().to_string())?;
        }
        if end == 0 {
            writeln!(file, "{run}").with_context(|| path.display().to_string())?;
        }
        journal.file = Some((path.to_owned(), file));
        Ok(journal)
    }

    /// The outcome of a part: the one that was found before, or what `run` finds now.
    ///
    /// # Errors
    /// If `run` fails, or the journal can't be written or says something else.
    pub fn outcome<T: Serialize + DeserializeOwned>(
        &mut self,
        part: &str,
        run: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        if let Some(outcome) = self.finished(part)? {
            return Ok(outcome);
        }
        let outcome = run()?;
        self.finish(part, &outcome)?;
        Ok(outcome)
    }

    /// The outcome of a part that was finished before.
    ///
    /// # Errors
    /// If the journal says something else of it.
    pub fn finished<T: DeserializeOwned>(&self, part: &str) -> anyhow::Result<Option<T>> {
        let outcome = self.finished.get(part).cloned();
        let outcome = outcome.map(serde_json::from_value).transpose();
        outcome.with_context(|| format!("journal, {part}"))
    }

    /// Keeps the outcome of a part.
    ///
    /// # Errors
    /// If the journal can't be written.
    pub fn finish<T: Serialize>(&mut self, part: &str, outcome: &T) -> anyhow::Result<()> {
        let line = Line { part: part.to_owned(), outcome: serde_json::to_value(outcome)? };
        if let Some((path, file)) = &mut self.file {
            writeln!(file, "{}", serde_json::to_string(&line)?)
                .with_context(|| path.display().to_string())?;
        }
        self.finished.insert(line.part, line.outcome);
        Ok(())
    }

    /// Removes the file: what it has is in a better place now.
    pub fn remove(self) {
        if let Some((path, _)) = self.file {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_interrupted_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let run = json!({ "plan": "kivi-2" });
        let mut journal = Journal::open(Some(&path), &run).unwrap();
        assert_eq!(journal.outcome::<u32>("a", || Ok(1)).unwrap(), 1);
        assert!(journal.outcome::<u32>("b", || anyhow::bail!("no")).is_err());
        drop(journal);
        // Cut off in the midst of a line.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"part\":\"b\",\"out")).unwrap();
        let mut journal = Journal::open(Some(&path), &run).unwrap();
        assert_eq!(journal.outcome::<u32>("a", || anyhow::bail!("twice")).unwrap(), 1);
        assert_eq!(journal.outcome::<u32>("b", || Ok(2)).unwrap(), 2);
        let other = Journal::open(Some(&path), &run).unwrap_err().to_string();
        assert!(other.contains("in use by another run"), "{other}");
        drop(journal);
        let mut journal = Journal::open(Some(&path), &run).unwrap();
        assert_eq!(journal.outcome::<u32>("b", || anyhow::bail!("twice")).unwrap(), 2);
        drop(journal);
        let other = Journal::open(Some(&path), &json!({ "plan": "f16" })).unwrap_err().to_string();
        assert!(other.contains("is the journal of another run"), "{other}");
        Journal::open(Some(&path), &run).unwrap().remove();
        assert!(!path.exists());
    }

    /// What isn't a journal is left as it is, and a line that was cut off within a character is only that line.
    #[test]
    fn bytes_of_others_and_half_characters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let run = json!({ "plan": "é" });
        for foreign in [&b"\xff\xfe\n"[..], b"a text\n", b"{\"plan\":\"kivi-2\"}\n", b"no line"] {
            std::fs::write(&path, foreign).unwrap();
            let error = Journal::open(Some(&path), &run).unwrap_err().to_string();
            assert!(error.contains("is the journal of another run"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), foreign);
        }
        std::fs::write(&path, "{\"plan\":\"é\"}\n{\"part\":\"é".as_bytes().split_last().unwrap().1)
            .unwrap();
        let mut journal = Journal::open(Some(&path), &run).unwrap();
        journal.finish("é", &1).unwrap();
        drop(journal);
        let journal = Journal::open(Some(&path), &run).unwrap();
        assert_eq!(journal.finished::<u32>("é").unwrap(), Some(1));
    }
}
