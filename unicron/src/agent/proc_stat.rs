//! What the kernel says of a process in `/proc/PID/stat`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The part of it that is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The letter of its state: T is stopped.
    pub state: char,
    /// Its parent.
    pub parent: i32,
    /// The processor's time that it has used, its threads together.
    pub cpu: Duration,
}

/// The kernel counts time in these, on every architecture that Linux is used on today.
const TICKS_OF_A_SECOND: f64 = 100.0;

/// Reads `stat` in a process's folder of `/proc`; `None` if the process is gone.
pub(crate) fn read(folder: &Path) -> Option<Stat> {
    let line = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The name in parentheses may hold anything; state and parent follow.
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let mut times = fields.skip(9).map_while(|field| field.parse::<u64>().ok());
    let ticks = times.next()? + times.next()?;
    Some(Stat { state, parent, cpu: Duration::from_secs_f64(ticks as f64 / TICKS_OF_A_SECOND) })
}

/// The processor's time of a process and of all that descends from it.
pub(crate) fn cpu_of_tree(pid: u32) -> Duration {
    let Ok(root) = i32::try_from(pid) else { return Duration::ZERO };
    let processes = all();
    let descends = |mut pid: i32| {
        // No chain of parents is longer than there are processes.
        for _ in 0..processes.len() {
            match processes.get(&pid) {
                _ if pid == root => return true,
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    };
    processes.iter().filter(|(pid, _)| descends(**pid)).map(|(_, stat)| stat.cpu).sum()
}

/// All processes.
pub(crate) fn all() -> BTreeMap<i32, Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let stat = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, read(&entry.path())?))
    };
    entries.filter_map(stat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let stat = read(Path::new("/proc/self")).unwrap();
        assert!(stat.state.is_ascii_alphabetic() && stat.parent > 0, "{stat:?}");
        assert_eq!(read(Path::new("/proc/none")), None);
        assert!(cpu_of_tree(std::process::id()) >= stat.cpu && cpu_of_tree(u32::MAX).is_zero());
    }
}
