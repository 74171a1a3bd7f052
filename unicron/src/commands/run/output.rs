//! What workers write, as people read it: on stdout with the rank before each line, and in a file for each
//! rank where one is wanted.

use crate::agent::Output;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::UnboundedReceiver;

/// Bytes after which a rank's file is begun anew; the one before is kept. A worker that writes without end
/// fills no disk.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Prints lines until all who send them are gone.
pub async fn print_all(
    mut lines: UnboundedReceiver<Output>,
    folder: Option<PathBuf>,
    to_stderr: bool,
) {
    let mut logs: BTreeMap<usize, Log> = BTreeMap::new();
    let mut has_failed = false;
    while let Some(Output { rank, line, .. }) = lines.recv().await {
        let rank = rank.unwrap_or(0);
        let text = format!("[rank{rank}]: {line}\n");
        // A terminal that is gone ends nobody's training.
        let _ = match to_stderr {
            true => std::io::stderr().write_all(text.as_bytes()),
            false => std::io::stdout().write_all(text.as_bytes()),
        };
        let Some(folder) = &folder else { continue };
        let log = logs.entry(rank).or_default();
        if let Err(error) = log.write(folder, rank, &line)
            && !std::mem::replace(&mut has_failed, true)
        {
            let folder = folder.display();
            // Nor does a disk that is full.
            let _ = writeln!(std::io::stderr(), "run: {folder}: {error}; what follows isn't kept");
        }
    }
}

#[derive(Default)]
struct Log {
    file: Option<File>,
    bytes: u64,
}

impl Log {
    fn write(&mut self, folder: &Path, rank: usize, line: &str) -> std::io::Result<()> {
        let path = folder.join(format!("rank{rank}.log"));
        if self.bytes >= MOST_BYTES {
            self.file = None;
            std::fs::rename(&path, folder.join(format!("rank{rank}.log.1")))?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                std::fs::create_dir_all(folder)?;
                let file = OpenOptions::new().create(true).append(true).open(&path)?;
                self.bytes = file.metadata()?.len();
                none.insert(file)
            }
        };
        self.bytes += line.len() as u64 + 1;
        writeln!(file, "{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_begun_anew_before_it_fills_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::default();
        log.write(folder.path(), 3, "one").unwrap();
        log.bytes = MOST_BYTES;
        log.write(folder.path(), 3, "two").unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((read("rank3.log.1").as_str(), read("rank3.log").as_str()), ("one\n", "two\n"));
    }
}
