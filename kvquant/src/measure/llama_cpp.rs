//! llama.cpp's own benchmark, on the same file and with as many threads.

use super::memory::peak_resident_bytes;
use common::statistics::median;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PROGRAM: &str = "llama-batched-bench";
/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A folder with llama.cpp's programs.
#[derive(Debug, Clone)]
pub struct LlamaCpp {
    program: PathBuf,
}

/// Speeds of one run.
#[derive(Debug, Clone, Copy)]
pub struct PeerTime {
    /// Tokens decoded in a second.
    pub tokens_per_s: f64,
    /// Tokens read in a second.
    pub prefill_tokens_per_s: f64,
    /// The most memory that the program held; nothing where the system doesn't say.
    pub peak_resident_bytes: Option<u64>,
}

/// A line that the program prints.
#[derive(Debug, Deserialize)]
struct Line {
    speed_pp: f64,
    speed_tg: f64,
}

impl LlamaCpp {
    /// The program in `folder`, or in its folder `bin`.
    ///
    /// # Errors
    /// If it is in neither.
    pub fn find(folder: &Path) -> io::Result<LlamaCpp> {
        let places = [folder.join(PROGRAM), folder.join("bin").join(PROGRAM)];
        let program = places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
            io::Error::other(format!(
                "{} has no {PROGRAM}: build that target of llama.cpp and name the folder it is in",
                folder.display()
            ))
        })?;
        Ok(LlamaCpp { program })
    }

    /// Reads `context` tokens, one at least, and decodes `n_steps` after them, with flash attention and a cache of the
    /// type that llama.cpp calls `kv`.
    ///
    /// # Errors
    /// If the program fails, or prints something else than its speeds.
    pub fn time(
        &self,
        model: &Path,
        kv: &str,
        context: usize,
        n_steps: usize,
        n_threads: usize,
    ) -> io::Result<PeerTime> {
        let n_prompt = context.max(1);
        let numbers = [n_prompt + n_steps, n_prompt, n_steps, n_threads].map(|n| n.to_string());
        let [capacity, prompt, steps, threads] = &numbers;
        let (keys, values) = kv.split_once('/').unwrap_or((kv, kv));
        let child = Command::new(&self.program)
            .arg("-m")
            .arg(model)
            .args(["-c", capacity, "-npp", prompt, "-ntg", steps, "-npl", "1"])
            .args(["-t", threads, "-tb", threads, "-fa", "-ctk", keys, "-ctv", values])
            .args(["--output-format", "jsonl"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (process, is_over) = (child.id(), AtomicBool::new(false));
        let (output, peak) = std::thread::scope(|scope| {
            let peak = scope.spawn(|| {
                let mut peak = None;
                while !is_over.load(Ordering::Relaxed) {
                    peak = peak_resident_bytes(process).max(peak);
                    std::thread::sleep(LOOK);
                }
                peak
            });
            let output = child.wait_with_output();
            is_over.store(true, Ordering::Relaxed);
            (output, peak.join().unwrap_or(None))
        });
        let output = output?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| serde_json::from_str::<Line>(line).ok());
        let line = line.filter(|_| output.status.success()).ok_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("");
            io::Error::other(format!(
                "{} gave no speeds ({}): {last}",
                self.program.display(),
                output.status
            ))
        })?;
        Ok(PeerTime {
            tokens_per_s: line.speed_tg,
            prefill_tokens_per_s: line.speed_pp,
            peak_resident_bytes: peak,
        })
    }
}

/// Each speed's median, and the most memory.
pub fn medians(times: &[PeerTime]) -> Option<PeerTime> {
    let of = |speed: fn(&PeerTime) -> f64| median(&times.iter().map(speed).collect::<Vec<f64>>());
    Some(PeerTime {
        tokens_per_s: of(|time| time.tokens_per_s)?,
        prefill_tokens_per_s: of(|time| time.prefill_tokens_per_s)?,
        peak_resident_bytes: times.iter().filter_map(|time| time.peak_resident_bytes).max(),
    })
}
