//! What a long run has finished, kept in a file, so that an interrupted run goes on where it was.
//!
//! One line of JSON for what is run, then one for each part that is finished.

use crate::command::{BadInput, InputContext};
use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
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
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(error).bad_input(format!("{} can't be read", path.display()));
            }
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines();
        // The first line itself may have been cut off; anything else without a whole line isn't ours.
        let is_of_run = match lines.next() {
            Some(first) => serde_json::from_str::<Value>(first).is_ok_and(|of| of == *run),
            None => run.to_string().starts_with(&text),
        };
        if !is_of_run {
            anyhow::bail!(BadInput(format!(
                "{} is the journal of another run; remove it, or name another file",
                path.display()
            )));
        }
        for line in lines {
            let line: Line = serde_json::from_str(line)
                .bad_input(format!("{} is no journal: {line}", path.display()))?;
            journal.finished.insert(line.part, line.outcome);
        }
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let mut file = opened.bad_input(format!("{} can't be written", path.display()))?;
        if let Err(std::fs::TryLockError::WouldBlock) = file.try_lock() {
            let path = path.display();
            anyhow::bail!("{path} is in use by another run; wait for it, or name another file");
        }
        // A line that an interruption cut off is not there.
        file.set_len(whole.len() as u64).with_context(|| path.display().to_string())?;
        if whole.is_empty() {
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
        if let Some(outcome) = self.finished.get(part) {
            return serde_json::from_value(outcome.clone())
                .with_context(|| format!("journal, {part}"));
        }
        let outcome = run()?;
        if let Some((path, file)) = &mut self.file {
            let line = Line { part: part.to_owned(), outcome: serde_json::to_value(&outcome)? };
            writeln!(file, "{}", serde_json::to_string(&line)?)
                .with_context(|| path.display().to_string())?;
        }
        Ok(outcome)
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
        let other = Journal::open(Some(&path), &json!({ "plan": "f16" })).unwrap_err().to_string();
        assert!(other.contains("is the journal of another run"), "{other}");
    }
}
