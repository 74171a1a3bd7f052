//! The protocol between a worker and the agent of its node: one JSON object a line, over a Unix socket.
//!
//! It is so plain that a worker in any language needs its standard library only. The socket's path is in
//! the environment ([mod@env]); whoever may open it is trusted, for it lies in a folder of the agent's user.
//! State and gradients never pass here: workers send them to each other.
//!
//! ```text
//! worker → agent                         agent → worker
//! {"type":"hello","protocol":1,…}
//!                                        {"type":"welcome","task":"gpt","lease_s":4.0,…}
//! {"type":"ready","address":"…:41234"}
//!                                        {"type":"group","epoch":7,"members":[…]}
//! {"type":"iteration","epoch":7,…}       {"type":"lease","seconds":4.0}     again and again
//! {"type":"micro-batch","epoch":7,…}
//! {"type":"committed","epoch":7,…}
//!                                        {"type":"group","epoch":8,…}       something has changed
//! {"type":"done","weights_file":"…"}
//! ```
//!
//! **Invariant:** a message that speaks of a group carries its epoch; what carries an older epoch than the
//! last group's is refused.

use crate::detect::{Status, StepKind};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};

/// The version of the protocol. Agents refuse others, by name.
pub const PROTOCOL: u32 = 1;

/// Bytes of the longest line. A traceback is long; nothing that is longer belongs here.
pub const MOST_LINE_BYTES: usize = 256 * 1024;

/// Bytes of the longest address, fingerprint or checksum.
pub const MOST_WORD_BYTES: usize = 256;

/// Bytes of the longest path, as of Linux.
pub const MOST_PATH_BYTES: usize = 4096;

/// Workers that one waits for at a time: more than a group has.
const MOST_WAITED_FOR: usize = 4096;

/// What an agent puts into a worker's environment.
pub mod env {
    /// Path of the agent's socket.
    pub const SOCKET: &str = "UNICRON_SOCKET";
    /// The worker's number, which no other worker of the cluster ever had.
    pub const WORKER: &str = "UNICRON_WORKER";
    /// The task's name.
    pub const TASK: &str = "UNICRON_TASK";
    /// The node's name.
    pub const NODE: &str = "UNICRON_NODE";
    /// The pipeline stage, from 0.
    pub const STAGE: &str = "UNICRON_STAGE";
    /// The address of the node that other workers reach.
    pub const HOST: &str = "UNICRON_HOST";
    /// `host:port` of the task's store on the node, a server of PyTorch's TCPStore: it outlives the worker.
    pub const STORE: &str = "UNICRON_STORE";
    /// A folder for the task's checkpoints, the same on all nodes.
    pub const CHECKPOINTS: &str = "UNICRON_CHECKPOINTS";
    /// The same in every process that one agent or one demonstration has started.
    pub const RUN_ID: &str = "UNICRON_RUN_ID";
}

/// What a worker says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromWorker {
    /// The first line.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// From the environment.
        worker: u64,
        /// Its process.
        pid: u32,
    },
    /// It can be part of a group.
    Ready {
        /// Where other workers reach it: `host:port`.
        address: String,
        /// Of its arithmetic: workers of a group have the same, else their sums would differ in bits.
        fingerprint: String,
    },
    /// An iteration begins.
    Iteration {
        /// The group's.
        epoch: u64,
        /// From 1.
        iteration: u64,
        /// What it does.
        kind: StepKind,
    },
    /// A micro-batch is in the worker's gradients.
    MicroBatch {
        /// The group's.
        epoch: u64,
        /// The iteration that runs.
        iteration: u64,
        /// Which of the iteration's.
        micro_batch: u32,
        /// Whether a worker that died had done it before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_redone: bool,
    },
    /// The group has voted for an iteration: its gradients are whole, its optimiser steps.
    Committed {
        /// The group's.
        epoch: u64,
        /// The iteration.
        iteration: u64,
        /// Its mean loss, where the worker knows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        loss: Option<f64>,
        /// What was done again in it.
        #[serde(default)]
        redone: Redone,
    },
    /// The group goes back to an iteration of which everything can be had.
    RolledBack {
        /// The group's.
        epoch: u64,
        /// The last iteration that counts.
        iteration: u64,
    },
    /// Something was raised.
    Exception {
        /// What it is, where the worker knows; else the agent reads the message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Status>,
        /// One line.
        message: String,
        /// Many.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        traceback: String,
    },
    /// The connection to another worker is gone.
    LostPeer {
        /// The group's.
        epoch: u64,
        /// The other.
        worker: u64,
        /// What the operating system says.
        error: String,
    },
    /// Nothing to do until these send something. Said when that has lasted for a while, and again.
    Waiting {
        /// The group's.
        epoch: u64,
        /// For whom.
        workers: Vec<u64>,
    },
    /// A checkpoint is on disk; it counts when the agent answers.
    Checkpoint {
        /// The group's.
        epoch: u64,
        /// The last iteration that is in it.
        iteration: u64,
        /// Where.
        path: String,
    },
    /// The task has done its work.
    Done {
        /// The group's.
        epoch: u64,
        /// The last iteration.
        iteration: u64,
        /// The weights.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weights_file: Option<String>,
        /// Of that file, in hexadecimal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weights_sha256: Option<String>,
    },
}

impl FromWorker {
    /// Checks the lengths of what goes on to the coordinator, which keeps it.
    ///
    /// # Errors
    /// What is too long.
    pub fn check(&self) -> Result<(), String> {
        let none = String::new();
        let words = match self {
            Self::Ready { address, fingerprint } => [
                ("address", address, MOST_WORD_BYTES),
                ("fingerprint", fingerprint, MOST_WORD_BYTES),
            ],
            Self::Checkpoint { path, .. } => {
                [("path", path, MOST_PATH_BYTES), ("", &none, MOST_WORD_BYTES)]
            }
            Self::LostPeer { error, .. } => {
                [("error", error, MOST_PATH_BYTES), ("", &none, MOST_WORD_BYTES)]
            }
            Self::Waiting { workers, .. } if workers.len() > MOST_WAITED_FOR => {
                return Err(format!("it waits for {} workers", workers.len()));
            }
            Self::Done { weights_file, weights_sha256, .. } => [
                ("weights_file", weights_file.as_ref().unwrap_or(&none), MOST_PATH_BYTES),
                ("weights_sha256", weights_sha256.as_ref().unwrap_or(&none), MOST_WORD_BYTES),
            ],
            _ => return Ok(()),
        };
        match words.into_iter().find(|(_, word, most)| word.len() > *most) {
            Some((what, word, most)) => {
                Err(format!("{what} has {} bytes; at most {most}", word.len()))
            }
            None => Ok(()),
        }
    }
}

/// Work that was done a second time, because who had done it died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Redone {
    /// Micro-batches of which at least one stage was computed again.
    pub micro_batches: u64,
    /// Forward and backward passes of one stage over one micro-batch.
    pub stage_passes: u64,
}

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum ToWorker {
    /// The answer to [`FromWorker::Hello`].
    Welcome {
        /// [`PROTOCOL`].
        protocol: u32,
        /// The task's name.
        task: String,
        /// How long a lease lasts.
        lease_s: f64,
    },
    /// Who works together from now on. What is done of the iteration stays.
    Group(Group),
    /// Work on for so long; then, without another lease, stop: others may have your work.
    Lease {
        /// Seconds from now; `null` while no coordinator leads, and nobody could have it.
        seconds: Option<f64>,
    },
    /// A checkpoint counts.
    CheckpointCommitted {
        /// Its iteration.
        iteration: u64,
    },
    /// Something does not count.
    Refused {
        /// The type of the message.
        what: String,
        /// Why.
        reason: String,
    },
    /// End, with exit code 0.
    Stop {
        /// Why.
        reason: String,
    },
}

/// Workers that work together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Group {
    /// Greater than that of any group before.
    pub epoch: u64,
    /// How many groups the task had, this one included.
    #[serde(default)]
    pub attempt: u64,
    /// By worker. The rank of a worker is its place.
    pub members: Vec<Member>,
    /// The newest checkpoint on disk that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
}

/// A worker of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its number.
    pub worker: u64,
    /// Its pipeline stage.
    pub stage: u32,
    /// Its node's name.
    pub node: String,
    /// Where it is reached.
    pub address: String,
}

/// A checkpoint on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last iteration that is in it.
    pub iteration: u64,
    /// Where.
    pub path: String,
}

/// Reads the next message; `None` at the end of the stream.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a line that is too long or is no message, saying which; after it
/// the stream is of no use. What else reading says.
pub fn read<M: for<'de> Deserialize<'de>>(stream: &mut impl BufRead) -> io::Result<Option<M>> {
    let mut line = Vec::new();
    let bytes = stream.take(MOST_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    if bytes == 0 {
        return Ok(None);
    }
    parse(&line).map(Some)
}

/// A line as a message.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for a line that is too long or is no message, saying which.
pub fn parse<M: for<'de> Deserialize<'de>>(line: &[u8]) -> io::Result<M> {
    let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    if line.len() > MOST_LINE_BYTES {
        return Err(invalid(format!("a line has more than {MOST_LINE_BYTES} bytes")));
    }
    serde_json::from_slice(line).map_err(|error| {
        let start = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        invalid(format!("{start:?} is no message: {error}"))
    })
}

/// Writes a message as one line, at once.
///
/// # Errors
/// What writing says.
pub fn write<M: Serialize>(stream: &mut impl Write, message: &M) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_what_another_language_would_write() {
        let group = r#"{"type":"group","epoch":7,"attempt":2,"members":[{"worker":3,"stage":0,"node":"a","address":"127.0.0.1:9"}]}"#;
        let member =
            Member { worker: 3, stage: 0, node: "a".to_owned(), address: "127.0.0.1:9".to_owned() };
        let expected = ToWorker::Group(Group {
            epoch: 7,
            attempt: 2,
            members: vec![member],
            checkpoint: None,
        });
        assert_eq!(parse::<ToWorker>(group.as_bytes()).unwrap(), expected);
        assert_eq!(serde_json::to_string(&expected).unwrap(), group);
        let committed = r#"{"type":"committed","epoch":7,"iteration":12,"loss":2.5}"#;
        let expected = FromWorker::Committed {
            epoch: 7,
            iteration: 12,
            loss: Some(2.5),
            redone: Redone::default(),
        };
        assert_eq!(parse::<FromWorker>(committed.as_bytes()).unwrap(), expected);
        let exception = r#"{"type":"exception","status":"ecc-error","message":"dead"}"#;
        assert!(matches!(
            parse::<FromWorker>(exception.as_bytes()).unwrap(),
            FromWorker::Exception { status: Some(Status::EccError), .. }
        ));
    }

    #[test]
    fn lines_are_read_one_by_one() {
        let mut stream = Vec::new();
        let message = ToWorker::Lease { seconds: Some(4.0) };
        write(&mut stream, &message).unwrap();
        write(&mut stream, &message).unwrap();
        let mut reader = stream.as_slice();
        assert_eq!(read::<ToWorker>(&mut reader).unwrap(), Some(message.clone()));
        assert_eq!(read::<ToWorker>(&mut reader).unwrap(), Some(message));
        assert_eq!(read::<ToWorker>(&mut reader).unwrap(), None);
    }

    #[test]
    fn what_is_no_message_is_named() {
        let error = parse::<FromWorker>(b"{\"type\":\"helo\"}").unwrap_err().to_string();
        assert!(error.starts_with("\"{\\\"type\\\":\\\"helo\\\"}\" is no message: "), "{error}");
        let long = vec![b' '; MOST_LINE_BYTES + 9];
        let error = read::<FromWorker>(&mut long.as_slice()).unwrap_err().to_string();
        assert_eq!(error, "a line has more than 262144 bytes");
    }

    #[test]
    fn what_is_too_long_to_be_passed_on_is_named() {
        let path = "x".repeat(MOST_PATH_BYTES + 1);
        let written = FromWorker::Checkpoint { epoch: 1, iteration: 1, path };
        assert_eq!(written.check().unwrap_err(), "path has 4097 bytes; at most 4096");
        let workers = (0..5000).collect();
        let waiting = FromWorker::Waiting { epoch: 1, workers };
        assert_eq!(waiting.check().unwrap_err(), "it waits for 5000 workers");
        assert_eq!(FromWorker::RolledBack { epoch: 1, iteration: 2 }.check(), Ok(()));
    }

    proptest! {
        #[test]
        fn garbage_is_borne(garbage in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = garbage.as_slice();
            while let Ok(Some(_)) = read::<FromWorker>(&mut reader) {}
        }
    }
}
