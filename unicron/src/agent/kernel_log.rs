//! The kernel's log, for what the driver of a GPU says in it and no process hears of.

use crate::detect::{Finding, KernelLog, classify, grade_xids};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Where the kernel's log is.
pub const KERNEL_LOG: &str = "/dev/kmsg";

/// A log in a file has no way to say that it has grown.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads what is written to the log from now on, on a thread of its own, until nobody listens: reading
/// it waits. Whether the log can be read.
pub fn follow(path: &Path, findings: UnboundedSender<(Finding, String)>) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    if file.seek(SeekFrom::End(0)).is_err() {
        return false;
    }
    std::thread::spawn(move || read_all(BufReader::new(file), &findings));
    true
}

fn read_all(mut log: BufReader<File>, findings: &UnboundedSender<(Finding, String)>) {
    let (began, mut kernel_log, mut line) = (Instant::now(), KernelLog::new(), String::new());
    while !findings.is_closed() {
        match log.read_line(&mut line) {
            Ok(read) if read > 0 && line.ends_with('\n') => {}
            // A line that isn't whole yet is read on.
            Ok(_) => {
                std::thread::sleep(PAUSE);
                continue;
            }
            // Records that were overwritten before they were read, or that are no text.
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::InvalidData) =>
            {
                line.clear();
                continue;
            }
            Err(_) => return,
        }
        // A record is `priority,number,time,flags;text`.
        let text = line.split_once(';').map_or(&*line, |(_, text)| text).trim_end();
        if let Some(finding) = meaning(&mut kernel_log, began.elapsed().as_secs_f64(), text)
            && findings.send((finding, text.to_owned())).is_err()
        {
            return;
        }
        line.clear();
    }
}

/// What a line means; repetitions of an Xid mean nothing more.
fn meaning(log: &mut KernelLog, now_s: f64, text: &str) -> Option<Finding> {
    match log.read(now_s, text) {
        Some(event) => grade_xids(&[event], |_| 0).pop(),
        None if text.contains("NVRM") => None,
        None => classify(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Severity, Status};
    use std::io::Write;

    #[tokio::test]
    async fn an_xid_is_read_once_as_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kmsg");
        std::fs::write(&path, "6,1,1,-;NVRM: Xid (PCI:0000:05:00): 48, long ago\n").unwrap();
        let (sender, mut findings) = tokio::sync::mpsc::unbounded_channel();
        assert!(follow(&path, sender));
        let mut log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        let xid = "NVRM: Xid (PCI:0000:05:00): 79, pid=1, GPU has fallen off the bus.";
        write!(log, "6,2,2,-;usb 1-1: new device\n6,3,3,-;{xid}\n6,4,4,-;{xid}\n").unwrap();
        let (finding, text) = findings.recv().await.unwrap();
        assert_eq!((finding.severity, text.as_str()), (Some(Severity::Sev1), xid));
        writeln!(log, "6,5,5,-;Out of memory: Killed process 77 (python3)").unwrap();
        assert_eq!(findings.recv().await.unwrap().0.status, Status::OutOfHostMemory);
        assert!(!follow(&folder.path().join("none"), tokio::sync::mpsc::unbounded_channel().0));
    }
}
