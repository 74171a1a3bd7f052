//! The JSON record of one experiment: what was run, on what, and what came out.
//!
//! Records are committed, compared over years and rendered into docs. So they carry a schema
//! version, they are written as a whole or not at all, and reading one names the file and the
//! field that is wrong.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::device::Devices;

/// The version of the record's form; a change of meaning raises it.
const SCHEMA: u32 = 1;

/// No record comes near this; it bounds what reading one can allocate.
const LARGEST_BYTES: u64 = 64 << 20;

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

/// A moment in UTC, to the second, in the form of RFC 3339: `2025-03-01T12:00:00Z`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Timestamp(String);

impl Timestamp {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }
}

impl From<SystemTime> for Timestamp {
    /// Moments before 1970 become its beginning.
    fn from(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (day, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil_from_days(day);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Self(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
    }
}

impl TryFrom<String> for Timestamp {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const FORM: &[u8] = b"0000-00-00T00:00:00Z";
        let same = |(have, want): (u8, &u8)| match want {
            b'0' => have.is_ascii_digit(),
            want => have == *want,
        };
        if text.len() == FORM.len() && text.bytes().zip(FORM).all(same) {
            Ok(Self(text))
        } else {
            Err(format!("\"{text}\" is no time of the form 2025-03-01T12:00:00Z"))
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Year, month and day of the day that is `days` after 1970-01-01 (H. Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms"): years begin in March, so that the leap day comes last.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

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
    /// What came out.
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
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(io)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".record-");
        // A temporary file is its owner's only; a record is for everybody, as far as umask goes.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder).map_err(io)?;
        serde_json::to_writer_pretty(&mut file, self).map_err(|error| io(error.into()))?;
        file.write_all(b"\n").map_err(io)?;
        file.as_file().sync_all().map_err(io)?;
        file.persist(path).map_err(|error| io(error.error))?;
        Ok(())
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
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::device::discover;

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

    #[test]
    fn known_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Timestamp::from(time).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn the_calendar_goes_on_day_by_day(day in 0u64..200_000) {
            let (year, month, date) = civil_from_days(day);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let length = lengths[month as usize - 1];
            let next = if date < length {
                (year, month, date + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
            prop_assert_eq!(civil_from_days(day + 1), next);
        }
    }
}
