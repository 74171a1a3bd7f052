//! A worker's process: its start, its output, its end.

use super::cgroup::Cgroup;
use super::guardian::order;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{self, Sender};

/// How a worker's program is started.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Set beside the agent's own environment.
    pub environment: BTreeMap<String, String>,
}

/// What a process does.
#[derive(Debug, Clone, PartialEq)]
pub enum Occurrence {
    /// It runs.
    Started {
        /// Its number in the system.
        pid: u32,
    },
    /// It has written a line; long ones come in parts.
    Line(String),
    /// Nothing of it is left. The code is as a shell reports it.
    Ended(i32),
    /// It could not be started.
    Failed(String),
}

/// Bytes of a line that are kept together.
pub const MOST_LINE_BYTES: usize = 4096;

/// A process that runs, under a guardian.
#[derive(Debug)]
pub struct Process {
    orders: mpsc::UnboundedSender<&'static str>,
}

impl Process {
    /// Starts one. `guardian` is the program whose hidden command `guard` is the guardian. What happens
    /// goes to `occurrences`, with the worker's number. Where nobody takes it, the worker has to wait: one
    /// that writes without end takes no memory, only its own time.
    #[must_use]
    pub fn start(
        worker: u64,
        guardian: &Path,
        launch: Launch,
        occurrences: Sender<(u64, Occurrence)>,
    ) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let guardian: PathBuf = guardian.to_owned();
        tokio::spawn(async move {
            let group = Cgroup::create(worker);
            let ended = match spawn(&guardian, &launch, group.as_ref()) {
                Ok(child) => follow(worker, child, received, &occurrences).await,
                Err(error) => {
                    let program = launch.command.first().cloned().unwrap_or_default();
                    Occurrence::Failed(format!("{program}: {error}"))
                }
            };
            if let Some(group) = group {
                group.end().await;
            }
            // Nobody listens when the agent ends.
            let _ = occurrences.send((worker, ended)).await;
        });
        Self { orders }
    }

    /// Asks it to end; what doesn't within `grace` is killed.
    pub fn terminate(&self, grace: std::time::Duration) {
        let orders = self.orders.clone();
        // An error means that it has ended.
        let _ = orders.send(order::TERMINATE);
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            let _ = orders.send(order::KILL);
        });
    }

    /// Ends it and everything that it has started, now.
    pub fn kill(&self) {
        // An error means that it has ended.
        let _ = self.orders.send(order::KILL);
    }
}

fn spawn(guardian: &Path, launch: &Launch, group: Option<&Cgroup>) -> std::io::Result<Child> {
    let mut command = Command::new(guardian);
    command.arg("guard");
    if let Some(group) = group {
        command.arg("--cgroup").arg(group.folder());
    }
    command
        .arg("--")
        .args(&launch.command)
        .envs(&launch.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A person's Ctrl-C is the agent's to handle.
        .process_group(0)
        .spawn()
}

/// Stays with a guardian until its end, which it returns.
async fn follow(
    worker: u64,
    mut child: Child,
    mut orders: mpsc::UnboundedReceiver<&'static str>,
    occurrences: &Sender<(u64, Occurrence)>,
) -> Occurrence {
    let (Some(mut stdin), Some(reports), Some(output)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Occurrence::Failed("its guardian has no pipes".to_owned());
    };
    let lines = tokio::spawn(forward_lines(worker, output, occurrences.clone()));
    let mut reports = BufReader::new(reports).lines();
    let mut code = None;
    loop {
        tokio::select! {
            report = reports.next_line() => match report {
                Ok(Some(report)) => match report.split_once(' ') {
                    Some(("pid", pid)) => {
                        if let Ok(pid) = pid.parse() {
                            // Nobody listens when the agent ends.
                            let _ = occurrences.send((worker, Occurrence::Started { pid })).await;
                        }
                    }
                    Some(("exit", text)) => code = text.parse().ok(),
                    _ => {}
                },
                _ => break,
            },
            Some(order) = orders.recv() => {
                // An error means that the guardian is gone.
                let _ = stdin.write_all(format!("{order}\n").as_bytes()).await;
            }
        }
    }
    let status = child.wait().await;
    // What it has written last belongs before its end.
    let _ = lines.await;
    let of_guardian = || {
        use std::os::unix::process::ExitStatusExt;
        let status = status.ok()?;
        status.code().or_else(|| status.signal().map(|signal| 128 + signal))
    };
    // Without a report, the guardian itself has failed: the program could not be started (its output says
    // why), or the guardian was killed.
    Occurrence::Ended(code.unwrap_or_else(|| of_guardian().unwrap_or(137)))
}

async fn forward_lines(
    worker: u64,
    output: impl AsyncRead + Unpin,
    occurrences: Sender<(u64, Occurrence)>,
) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        let (used, is_whole) = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(bytes) => match bytes.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    line.extend_from_slice(&bytes[..end]);
                    (end + 1, true)
                }
                None => {
                    line.extend_from_slice(bytes);
                    (bytes.len(), line.len() >= MOST_LINE_BYTES)
                }
            },
        };
        reader.consume(used);
        if is_whole {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if occurrences.send((worker, Occurrence::Line(text))).await.is_err() {
                return;
            }
        }
    }
    if !line.is_empty() {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let _ = occurrences.send((worker, Occurrence::Line(text))).await;
    }
}

/// The last lines that a worker has written.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    lines: VecDeque<String>,
}

/// How Python begins the report of an exception.
const TRACEBACK: &str = "Traceback (most recent call last)";

/// Lines that go with a failure at most.
const MOST_LINES_OF_A_FAILURE: usize = 100;

/// Lines that are kept of each worker.
const KEPT_LINES: usize = 200;

impl Tail {
    /// One more.
    pub fn push(&mut self, mut line: String) {
        line.truncate(line.floor_char_boundary(MOST_LINE_BYTES));
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The last so many, or more where a traceback begins before them.
    #[must_use]
    pub fn of_failure(&self, count: usize) -> Vec<String> {
        let traceback = self.lines.iter().rposition(|line| line.starts_with(TRACEBACK));
        let lines = traceback.map_or(0, |begin| self.lines.len() - begin);
        self.last(lines.min(MOST_LINES_OF_A_FAILURE).max(count))
    }

    /// The last so many.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<String> {
        self.lines.iter().skip(self.lines.len().saturating_sub(count)).cloned().collect()
    }
}
