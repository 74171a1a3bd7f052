//! What the kernel says of a process in `/proc/PID/stat`.

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
