//! A control group for each worker, where the agent may make one: nothing that it has started escapes the end
//! of the group, not even what left its parents and whose guardian was killed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A group. It goes, with all that is in it, by [`Cgroup::end`].
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
}

/// The file that lists a group's processes, and that one writes to to join.
const PROCESSES: &str = "cgroup.procs";

const PREFIX: &str = "unicron-";

impl Cgroup {
    /// A group for a worker below this process's own; nothing where there is no cgroup2, or no right to make
    /// one.
    #[must_use]
    pub fn create(worker: u64) -> Option<Self> {
        let folder = own()?.join(format!("{PREFIX}{}-{worker:x}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        // It may be made, but not be joined, where the parent hands out controllers.
        Some(Self { folder }).filter(|group| group.folder.join(PROCESSES).exists())
    }

    /// Its folder, for [`join`].
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills what is left in it, and removes it.
    pub async fn end(self) {
        end(&self.folder).await;
    }
}

/// Puts this process into a group.
///
/// # Errors
/// The system's.
pub fn join(folder: &Path) -> std::io::Result<()> {
    fs::write(folder.join(PROCESSES), "0")
}

/// Ends the groups of agents that were killed and could not.
pub async fn end_leftovers() {
    let Some(own) = own() else { return };
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        let of = of.and_then(|(pid, _)| pid.parse::<u32>().ok());
        if of.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            end(&entry.path()).await;
        }
    }
}

/// How often it is looked whether the killed have gone, and how long.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: usize = 400;

async fn end(folder: &Path) {
    for _ in 0..LOOKS {
        let processes = fs::read_to_string(folder.join(PROCESSES)).unwrap_or_default();
        for pid in processes.lines().filter_map(|line| line.parse().ok()) {
            // An error means that it is gone already.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // It can't be removed while a process is in it.
        match fs::remove_dir(folder) {
            Err(_) if folder.exists() => tokio::time::sleep(LOOK).await,
            _ => return,
        }
    }
}

/// The folder of this process's group of version 2.
fn own() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, folder, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then_some(folder)
    })?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount).join(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    // Who may make groups depends on the machine, and is said.
    #[allow(clippy::print_stdout)]
    #[tokio::test]
    async fn nothing_escapes_the_end_of_a_group() {
        let Some(group) = Cgroup::create(0x7e57) else {
            return println!("skipped: no control group can be made here");
        };
        let joined = group.folder().join(PROCESSES);
        // The shell joins, and leaves behind a process in a session of its own, with another parent.
        let script = format!("echo 0 > {}; setsid sleep 1000 & exit 0", joined.display());
        let status = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status();
        assert!(status.unwrap().success());
        let processes = fs::read_to_string(&joined).unwrap();
        assert_eq!(processes.lines().count(), 1, "{processes}");
        let folder = group.folder().to_owned();
        group.end().await;
        assert!(!folder.exists());
        let pid = processes.trim();
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(status.is_empty() || status.contains(") Z "), "{status}");
    }
}
