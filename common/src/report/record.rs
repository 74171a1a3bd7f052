//! The JSON record of one experiment: what was run, on what, and what came out.
//!
//! Records are committed, compared over years and rendered into docs. So they carry a schema
//! version, they are written as a whole or not at all, and reading one names the file and the
//! field that is wrong.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Host, Provenance, Timestamp, Versions};
use crate::files;

/// The version of the record's form; a change of meaning raises it.
const SCHEMA: u32 = 1;

/// No record comes near this; it bounds what reading one can allocate.
const LARGEST_BYTES: u64 = 64 << 20;

/// The record of one experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// The version of the record's form.
    schema: u32,
    /// The experiment's name.
    pub experiment: String,
    /// The command line.
    pub command: String,
    /// The configuration that the experiment ran with, defaults included.
    pub configuration: Value,
    /// The seed; `None` where nothing is random.
    pub seed: Option<u64>,
    /// The commit of the source; `None` outside a repository.
    pub commit: Option<String>,
    /// Whether the source had changes that are in no commit.
    pub dirty: bool,
    /// Where it was run.
    pub host: Host,
    /// What it was built from.
    pub versions: Versions,
    /// When it began.
    pub started: Timestamp,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What came out. JSON knows no NaN and no infinity: they become `null`.
    pub metrics: Value,
}

/// Why a record could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file is no JSON.
    #[error("{} is not a record: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A field is missing or wrong.
    #[error("{}: field `{field}`: {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Record {
    /// A record of a run that began at `started` and took `seconds`.
    #[must_use]
    pub fn new(
        experiment: impl Into<String>,
        provenance: Provenance,
        configuration: Value,
        seed: Option<u64>,
        (started, seconds): (Timestamp, f64),
        metrics: Value,
    ) -> Self {
        let Provenance { command, commit, dirty, host, versions } = provenance;
        Self {
            schema: SCHEMA,
            experiment: experiment.into(),
            command,
            configuration,
            seed,
            commit,
            dirty,
            host,
            versions,
            started,
            seconds,
            metrics,
        }
    }

    /// Writes the record as indented JSON; folders are created. The file appears as a whole or
    /// not at all.
    ///
    /// # Errors
    /// [`RecordError::Io`] where the file can't be written.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let io = |source| RecordError::Io { action: "write", path: path.to_owned(), source };
        files::replace(path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            file.write_all(b"\n")
        })
        .map_err(io)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The file can't be read, is no JSON, or a field is missing or wrong.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let io = |source| RecordError::Io { action: "read", path: path.to_owned(), source };
        let syntax = |reason| RecordError::Syntax { path: path.to_owned(), reason };
        let mut text = String::new();
        let file = File::open(path).map_err(io)?;
        file.take(LARGEST_BYTES + 1).read_to_string(&mut text).map_err(io)?;
        if text.len() as u64 > LARGEST_BYTES {
            return Err(syntax(format!("it is larger than {LARGEST_BYTES} bytes")));
        }
        let object = serde_json::from_str(&text).map_err(|error| syntax(error.to_string()))?;
        Self::from_fields(Fields { path, object })
    }

    fn from_fields(mut fields: Fields<'_>) -> Result<Self, RecordError> {
        let schema: u32 = fields.take("schema")?;
        if schema != SCHEMA {
            let reason = format!("version {schema} is not the version {SCHEMA} that is known here");
            return Err(fields.wrong("schema", reason));
        }
        Ok(Self {
            schema,
            experiment: fields.take("experiment")?,
            command: fields.take("command")?,
            configuration: fields.take("configuration")?,
            seed: fields.take("seed")?,
            commit: fields.take("commit")?,
            dirty: fields.take("dirty")?,
            host: fields.take("host")?,
            versions: fields.take("versions")?,
            started: fields.take("started")?,
            seconds: fields.take("seconds")?,
            metrics: fields.take("metrics")?,
        })
    }
}

/// The fields of a record that is being read. serde alone would name a missing field, and for one
/// of the wrong type only its line.
struct Fields<'a> {
    path: &'a Path,
    object: Map<String, Value>,
}

impl Fields<'_> {
    fn take<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<T, RecordError> {
        let value = self.object.remove(field);
        let value = value.ok_or_else(|| self.wrong(field, "it is missing".to_owned()))?;
        serde_json::from_value(value).map_err(|error| self.wrong(field, error.to_string()))
    }

    fn wrong(&self, field: &'static str, reason: String) -> RecordError {
        RecordError::Field { path: self.path.to_owned(), field, reason }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::*;
    use crate::device::discover;
    use std::fs;

    fn record() -> Record {
        let provenance = Provenance {
            command: "kvquant perplexity --plan 1,2".to_owned(),
            commit: Some("0123abcd".to_owned()),
            dirty: false,
            host: Host::new(&discover(), "Linux 6".to_owned()),
            versions: Versions { program: "kvquant 0.1.0".to_owned(), rustc: "1.95".to_owned() },
        };
        let started = Timestamp::from(UNIX_EPOCH + Duration::from_secs(1_740_830_400));
        let (configuration, metrics) = (json!({"bits": [1, 2]}), json!({"ppl": 12.5}));
        Record::new("perplexity", provenance, configuration, Some(7), (started, 1.25), metrics)
    }

    #[test]
    fn a_record_survives_its_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs/host/perplexity.json");
        record().write(&path).unwrap();
        record().write(&path).unwrap();
        assert_eq!(Record::read(&path).unwrap(), record());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("{\n  \"schema\": 1,\n  \"experiment\": \"perplexity\""),
            "{text}"
        );
        assert!(text.contains("\"started\": \"2025-03-01T12:00:00Z\""), "{text}");
    }

    /// The message of reading the example with one field changed.
    fn message(change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut value = serde_json::to_value(record()).unwrap();
        change(value.as_object_mut().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.json");
        fs::write(&path, value.to_string()).unwrap();
        Record::read(&path).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_file_and_the_field() {
        let missing = message(|record| drop(record.remove("commit")));
        assert!(missing.ends_with("broken.json: field `commit`: it is missing"), "{missing}");
        let wrong = message(|record| record["seed"] = json!("seven"));
        assert!(wrong.contains("broken.json: field `seed`: invalid type"), "{wrong}");
        let inner = message(|record| drop(record["host"].as_object_mut().unwrap().remove("os")));
        assert!(inner.contains("field `host`: missing field `os`"), "{inner}");
        let time = message(|record| record["started"] = json!("yesterday"));
        assert!(time.contains("field `started`: \"yesterday\" is no time"), "{time}");
        let newer = message(|record| record["schema"] = json!(2));
        assert!(newer.contains("field `schema`: version 2"), "{newer}");
    }

    #[test]
    fn what_is_no_json_or_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.json");
        let text = Record::read(&path).unwrap_err().to_string();
        assert!(text.starts_with("cannot read ") && text.ends_with("text.json"), "{text}");
        for contents in ["not json", "[1]", "{"] {
            fs::write(&path, contents).unwrap();
            let text = Record::read(&path).unwrap_err().to_string();
            assert!(text.contains("text.json is not a record"), "{text}");
        }
    }
}
