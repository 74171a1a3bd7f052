//! What the kernel says of a process in `/proc/PID/stat`.

use std::path::Path;

/// The part of it that is used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// The letter of its state: T is stopped.
    pub state: char,
    /// Its parent.
    pub parent: i32,
}

/// Reads `stat` in a process's folder of `/proc`; `None` if the process is gone.
pub(super) fn read(folder: &Path) -> Option<Stat> {
    let line = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The name in parentheses may hold anything; state and parent follow.
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Stat { state, parent: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let stat = read(Path::new("/proc/self")).unwrap();
        assert!(stat.state.is_ascii_alphabetic() && stat.parent > 0, "{stat:?}");
        assert_eq!(read(Path::new("/proc/none")), None);
    }
}
