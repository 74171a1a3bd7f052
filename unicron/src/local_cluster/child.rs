//! A process of a local cluster: it writes a log, and ends with us.

use super::Options;
use crate::worker::protocol::env;
use crate::{Error, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A process.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    log: PathBuf,
    /// Bytes of the log that were there before.
    log_from: u64,
}

/// Ending takes as long as workers may take to end.
const END_PATIENCE: Duration = Duration::from_secs(15);

impl Child {
    /// Starts `unicron` with these arguments, by way of the program and arguments in `entry` if there are
    /// any.
    pub fn start(
        options: &Options,
        name: &str,
        entry: &[String],
        arguments: &[&str],
    ) -> Result<Self> {
        let log = options.folder.join(format!("{name}.log"));
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&log);
        let file = open.map_err(Error::io(&log))?;
        let log_from = file.metadata().map_err(Error::io(&log))?.len();
        let mut command = match entry.split_first() {
            Some((way, more)) => {
                let mut command = tokio::process::Command::new(way);
                command.args(more).arg(&options.program);
                command
            }
            None => tokio::process::Command::new(&options.program),
        };
        let process = command
            .args(arguments)
            .env(env::RUN_ID, &options.run_id)
            // What a killed agent leaves there goes with the cluster's folder.
            .env("TMPDIR", &options.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            // Ctrl-C is the demonstration's, which ends all in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io(&options.program))?;
        Ok(Self { process, log, log_from })
    }

    /// Its number in the system, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until its log says this; the rest of that line.
    pub async fn says(&self, what: &str, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            let bytes = std::fs::read(&self.log).map_err(Error::io(&self.log))?;
            let from = usize::try_from(self.log_from).unwrap_or(usize::MAX).min(bytes.len());
            let text = String::from_utf8_lossy(&bytes[from..]).into_owned();
            let whole_lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
            let found = whole_lines.lines().find_map(|line| line.split_once(what));
            if let Some((_, rest)) = found {
                return Ok(rest.trim().to_owned());
            }
            let has_ended =
                self.pid().is_none_or(|pid| !Path::new(&format!("/proc/{pid}")).exists());
            if has_ended || Instant::now() > deadline {
                let problem = format!("it didn't say {what:?} but {text:?}");
                return Err(Error::Unreachable { what: self.log.display().to_string(), problem });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            // An error means that it has ended.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Kills it and waits for its end.
    pub async fn kill(&mut self) {
        // An error means that it has ended.
        let _ = self.process.kill().await;
    }

    /// Waits for its end, which was asked for.
    pub async fn wait_or_kill(&mut self) {
        if tokio::time::timeout(END_PATIENCE, self.process.wait()).await.is_err() {
            self.kill().await;
        }
    }
}
